"""Arithmetic of pixels on the ground: windows, grids, tiling, blending, stitching, encoding."""
