"""What the programs share: flags, data, weights, scores, figures, files."""
