"""Polygons of a raster of probabilities or classes."""
