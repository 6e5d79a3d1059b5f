"""Polygons without gaps or overlaps."""
