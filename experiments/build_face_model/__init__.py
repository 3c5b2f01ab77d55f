"""Builds the built-in face model from the public sources it is made of."""
