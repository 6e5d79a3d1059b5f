"""geoseg.score."""
