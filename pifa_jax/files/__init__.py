"""File formats: arrays, images, boxes, landmarks, Matlab files, meshes."""
