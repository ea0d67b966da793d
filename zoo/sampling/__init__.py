"""Drawing: latents from a backbone, and images from a run or a file in a folder, with what they are asked to be of."""
