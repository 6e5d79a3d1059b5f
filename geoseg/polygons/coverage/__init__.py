"""Polygons of land cover without gaps or overlaps.

Begin with ``coverage.find_coverage``: ``sieve`` gives small regions to their neighbors, ``arcs`` drops
vertices of outlines that two regions share. ``shared_borders`` stands for scores where a map has classes
alone. Uses ``trace``.
"""
