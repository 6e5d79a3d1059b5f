"""Regions of equal class and their outlines, strip by strip.

Begin with ``exact.trace_regions``: ``runs`` of pixels become ``components``, ``corners`` become rings along
the pixels. ``edges`` keeps where the scores cross on each unit of an outline, and ``subpixel`` moves the
outline there. Uses nothing else of ``polygons``.
"""
