"""What experiments.align writes of the faces that it finds."""
