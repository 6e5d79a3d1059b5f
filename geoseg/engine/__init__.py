"""geoseg.engine."""
