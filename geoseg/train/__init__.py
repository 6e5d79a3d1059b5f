"""geoseg.train."""
