"""geoseg.flow."""
