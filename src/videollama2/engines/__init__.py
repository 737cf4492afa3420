"""Other engines that answer with our checkpoints; each in a folder of its name."""
