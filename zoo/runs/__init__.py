"""What a run keeps: its folder, checkpoints with all that training changes, and weights made of them."""
