"""Scores of pixels: confusion, boundary, calibration."""
