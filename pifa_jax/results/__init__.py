"""What is made of a fitted face: files of other programs, maps, pictures."""
