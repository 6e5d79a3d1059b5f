"""Scores as values, reports and comparisons."""
