"""Regions of equal class and their outlines, strip by strip.

Begin with ``exact.trace_regions``: ``runs`` of pixels become ``components``; ``edges`` between them, each
linked to the one that follows it and with where the scores cross on it, become ``rings``. Uses nothing else
of ``polygons``.
"""
