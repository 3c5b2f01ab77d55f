"""What drawn faces are made of: people, skin, hair, light, things, photographs."""
