"""What the training scripts of the bundled models share. The product imports none of it; it needs the `train` extra."""
