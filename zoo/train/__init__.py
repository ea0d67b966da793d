"""Training: the loop, what it tells, and what goes on when a run goes on."""
