"""Reference labels: vector layers and rasters, on the grid of a scene."""
