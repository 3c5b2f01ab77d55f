"""Error measures, and the protocols that say how they are taken."""
