"""Straight walls fitted to outlines, each polygon on its own.

Begin with ``fit.fit_walls``: ``rings`` are curves to integrate along, ``segments`` finds where a ring turns
from wall to wall, ``lines`` fits the walls and their corners. ``align`` corrects directions by the
neighbors'. Knows nothing of scenes and strips. Nearly all of it is compiled.
"""
