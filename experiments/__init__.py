"""Programs: `python -m experiments.NAME`."""
