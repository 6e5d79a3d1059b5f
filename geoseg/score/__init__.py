"""Scores as sums over cells of ground."""
