"""Training: the loop, its state and checkpoints, run folders, and the pictures that a run draws."""
