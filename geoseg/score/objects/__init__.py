"""Scores of objects: matching and outlines."""
