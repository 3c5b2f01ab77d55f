"""Times the layer, the network and training steps; and what others time."""
