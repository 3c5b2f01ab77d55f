"""experiments.align: from photos to landmarks, visibility, pose and meshes."""
