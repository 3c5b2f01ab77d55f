"""What synthetic faces are made of: people, skin, hair, light, things, photos."""
