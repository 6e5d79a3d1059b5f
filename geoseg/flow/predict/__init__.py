"""Predict an array in memory, lazily where it is lazy."""
