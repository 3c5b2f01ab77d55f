"""Synthetic faces: shape and pose, skin, hair, things, light, background, camera."""
