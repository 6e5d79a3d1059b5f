"""geoseg.polygons."""
