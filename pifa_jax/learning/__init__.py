"""Network, losses, training, checkpoints and weights."""
