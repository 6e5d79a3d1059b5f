"""geoseg.recipe."""
