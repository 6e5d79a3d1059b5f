"""The things of a neighborhood before they are painted: meters, x to the right and y down."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import shapely

from geoseg.arrays import Float64

__all__ = [
    "Box",
    "Building",
    "Car",
    "Color",
    "Frame",
    "Lot",
    "Plan",
    "Pool",
    "Slab",
    "Street",
    "Tree",
    "Wing",
    "chance",
]

Color = tuple[float, float, float]


def chance(rng: np.random.Generator, probability: float) -> bool:
    """Whether an event of this probability happens."""
    return bool(rng.random() < probability)


@dataclass(frozen=True, slots=True)
class Frame:
    """A local grid: ``a`` along ``angle`` (radians, clockwise as the image lies), ``b`` to its right."""

    x: float
    y: float
    angle: float

    def world(self, a: float, b: float) -> tuple[float, float]:
        """The place of local (a, b)."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        return self.x + a * c - b * s, self.y + a * s + b * c

    def at(self, a: float, b: float, turn: float = 0.0) -> Frame:
        """The frame moved to local (a, b) and turned."""
        x, y = self.world(a, b)
        return Frame(x, y, self.angle + turn)


@dataclass(frozen=True, slots=True)
class Street:
    """A street along one family of curves of the warped plan."""

    along_v: bool
    """Runs along v at u = ``at`` (else along u at v = ``at``)."""
    at: float
    start: float
    stop: float
    half: float
    """Half the width between kerbs."""
    main: bool
    """Has lane markings."""
    tone: float
    """Reflectance of its asphalt."""
    walks: tuple[bool, bool]
    """Has a sidewalk on the side of lower and of higher coordinates."""


@dataclass(frozen=True, slots=True)
class Lot:
    """A parcel; its frame starts in the middle of the front, ``b`` into the lot, ``a`` along the street."""

    frame: Frame
    width: float
    depth: float
    kerb: float
    """Distance from the front line out to the kerb."""
    corners: Float64
    """The four corners, (4, 2)."""
    kind: str
    """``home``, ``row``, ``civic``, ``wood``, ``meadow``."""
    lawn: float
    """Watered (1) to neglected (0)."""


@dataclass(frozen=True, slots=True)
class Wing:
    """A rectangle of roof in its building's frame."""

    a: float
    b: float
    half_a: float
    half_b: float
    ridge_a: bool
    """The ridge runs along a."""
    hip: bool
    pitch: float
    """Rise over run; 0 is flat."""
    eave: float
    """Height of the eaves, meters."""


@dataclass(frozen=True, slots=True)
class Box:
    """An upright block: a chimney, a fence, a pole. Its class is that of what it stands on."""

    frame: Frame
    half_a: float
    half_b: float
    height: float
    """Above what it stands on; 0 paints only."""
    color: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Building:
    """A roof, its outline and what stands on it."""

    outline: shapely.Polygon
    """In canvas pixels, rounded to 1/256."""
    frame: Frame
    wings: tuple[Wing, ...]
    material: str
    seed: int
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Slab:
    """A paved rectangle on the ground."""

    frame: Frame
    half_a: float
    half_b: float
    tone: float
    tint: tuple[float, float, float] = (1.0, 0.98, 0.93)
    bare: bool = False
    """A track of soil rather than a paved one."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A swimming pool: a rounded rectangle of water in a paved rim."""

    frame: Frame
    half_a: float
    half_b: float


@dataclass(frozen=True, slots=True)
class Car:
    """A car, its frame's ``a`` pointing ahead."""

    frame: Frame
    length: float
    color: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree: crown radius and top height in meters."""

    x: float
    y: float
    radius: float
    height: float
    species: str
    """``oak``, ``juniper``, ``leaf`` or ``bare``."""
    tone: float


@dataclass(slots=True)
class Plan:
    """All that stands or lies in a neighborhood."""

    streets: list[Street] = field(default_factory=list)
    lots: list[Lot] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)
    slabs: list[Slab] = field(default_factory=list)
    pools: list[Pool] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    cars: list[Car] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
