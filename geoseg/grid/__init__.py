"""Integers and affine transforms: windows, grids on the ground, tiling, blend weights. No file, no tensor."""
