"""Readers of data sets, caches of their crops, and generated faces."""
