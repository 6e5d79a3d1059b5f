"""Regions of equal class and their outlines, strip by strip."""
