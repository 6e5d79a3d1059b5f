"""geoseg.testing."""
