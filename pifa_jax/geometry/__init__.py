"""The paper's geometry: shape, camera, visibility, visualization, boxes."""
