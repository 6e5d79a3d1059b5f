"""What the generated land cover says: the one table of classes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BARE", "BUILDING", "GRASS", "LANDCOVER_CLASSES", "PAVED", "TREE", "WATER", "LandcoverClass"]


@dataclass(frozen=True, slots=True)
class LandcoverClass:
    """One class of the generated land cover."""

    id: int
    """The value in the raster; contiguous from 0."""
    name: str
    """Short, lower case, fit for a column or a key."""
    title: str
    """For people."""
    color: str
    """``#rrggbb``."""


BUILDING, PAVED, TREE, GRASS, BARE, WATER = range(6)

LANDCOVER_CLASSES: tuple[LandcoverClass, ...] = (
    LandcoverClass(BUILDING, "building", "Building", "#d7301f"),
    LandcoverClass(PAVED, "paved", "Paved ground", "#8d8d8d"),
    LandcoverClass(TREE, "tree", "Tree", "#1b7837"),
    LandcoverClass(GRASS, "grass", "Grass", "#a6d96a"),
    LandcoverClass(BARE, "bare", "Bare soil", "#cfa871"),
    LandcoverClass(WATER, "water", "Water", "#3182bd"),
)
"""The classes of `Neighborhood.landcover`, by id. Every pixel has one; there is no background.

The class of a pixel is that of the topmost surface at its center. A crown in leaf hides what is below it.
Through a leafless crown one still sees: over a roof or pavement it changes nothing, over lawn and soil it is
``tree``. Cars, fences and other small things take the class of what they stand on. Paved is streets,
sidewalks, driveways, parking and patios; water is creeks, ponds and swimming pools.
"""
