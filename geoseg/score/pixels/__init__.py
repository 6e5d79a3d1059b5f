"""Measures of pixels: confusion matrix and IoU, boundary IoU, calibration of probabilities.

Each module counts blocks as whole numbers and measures the counts; ``sums`` holds the counts of many cells
and takes every measure of all of them at once. Uses grid alone. Begin with
:mod:`geoseg.score.pixels.confusion`.
"""
