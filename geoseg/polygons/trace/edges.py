"""Unit edges of pixel regions, and where the score fields cross on each of them.

A region's outline on the pixel lattice is made of unit edges. Each separates a pixel of the region from one
that is not of it; between their two centers lies the point where the scores of both classes are equal, the
crossing (x). Moving every edge there turns the outline along the pixels into the iso-line of the scores:
topology comes from the pixels, geometry from the probabilities (marching squares, of many classes at once).

      A     │     B                 o  pixel center: A, B, C are classes
      o─────┼──x──o                 ┼  unit edge, between two centers
    ────────●────────               ●  lattice point: a node, as three regions meet; its vertex is the mean of
      o─────┼─x───o                    the crossings around it
      A     │     C

A crossing is rounded to 1/256 of the way before any coordinate is added, so both regions of an edge and every
way of cutting a scene into strips get the same bits. Beside missing data, and at the scene's edge, nothing
moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Bool, Int64, UInt8
from geoseg.compiled import compiled
from geoseg.grid.encoding import NODATA
from geoseg.polygons.trace.table import RegionTable

__all__ = ["CORNER", "NODE", "STAYS", "STEPS", "Edges", "edge_key", "find_edges"]

STEPS: Final = 256
"""Coordinates are multiples of one pixel over this."""
STAYS: Final = 255
"""Crossing of an edge that does not move: it lies beside missing data."""
NODE: Final = 1
"""An edge's end at which three regions or more meet, or two of them twice."""
CORNER: Final = 2
"""An edge's end at which the outline of missing data turns."""

_NEAREST: Final = 5
"""Crossings keep this many steps (0.02 px) from the centers, so that these stay inside."""


@dataclass(frozen=True, slots=True, eq=False)
class Edges(RegionTable):
    """Unit edges of regions, as equal-length arrays; an edge between two regions is there twice."""

    key: Int64
    """Which edge of the lattice this is, and from which of its pixels it is seen (:func:`edge_key`)."""
    crossing: UInt8
    """Where the scores cross, in steps from the left or upper pixel's center to the other's; or ``STAYS``."""
    contrast: UInt8
    """Distance of the region's score from one half, mean of both pixels, 0 to 100; 255 beside nodata."""
    turn: UInt8
    """What is at its end, the region being on its left (columns to the right, rows upwards): 0, ``NODE`` or
    ``CORNER``."""
    turn_x: NDArray[np.int16]
    """Steps from the lattice point at its end to that vertex, along the columns."""
    turn_y: NDArray[np.int16]
    """The same along the rows."""


def edge_key(row: Int64, col: Int64, horizontal: Bool, second: Bool, width: int) -> Int64:
    """A number for each edge of the lattice and each of its two pixels.

    ``row`` and ``col`` are the lattice point at its upper or left end; ``second``: it is seen from its right
    or lower pixel; ``width``: columns of the scene.
    """
    return ((row * (width + 1) + col) * 2 + horizontal) * 2 + second


def find_edges(
    classes: UInt8, stored: UInt8, row: int, is_class: Bool, level: float | None, *, touching: bool
) -> tuple[Edges, Int64]:
    """Edges that end at the lattice points inside a strip.

    Args:
        classes: uint8 (rows, columns), a column without data on both sides.
        stored: uint8 (bands, rows, columns) of the same pixels: one band per class; or one band alone, the
            foreground's, of a model with one class and a background.
        row: the scene's row of the first row.
        is_class: which values are classes, shape (256,).
        level: the stored value that separates foreground from background in that one band; None where there
            is a band per class.
        touching: whether regions that meet at a point only share that point, as is needed where nothing may
            be left between polygons; else each of them is cut off before it.

    Returns:
        The edges, with ``region`` 0, and for each the flat index of its pixel.
    """
    capacity = _count(classes, is_class)
    key = np.empty(capacity, np.int64)
    pixel = np.empty(capacity, np.int64)
    marks = np.empty((3, capacity), np.uint8)
    steps = np.empty((2, capacity), np.int16)
    _fill(
        classes, stored, row, is_class, -1.0 if level is None else level, touching, key, pixel, marks, steps
    )
    return Edges(np.zeros(capacity, np.int64), key, *marks, *steps), pixel


# The four edges that meet at a lattice point, and the pixels around it as (row, column) offsets from nw:
#
#     nw │ ne     0: above, walked down      Each is walked toward the point with its region on the left when
#    ────┼────    1: below, walked up        rows run upwards (here: on the right). _OWN: that region's
#     sw │ se     2: left, walked right      pixel; _OTHER: the one across; _FIRST: the left or upper of both;
#                 3: right, walked left      _KEY: lattice row and column of the edge, last bits of its key.
_OWN = np.array([[0, 0], [1, 1], [1, 0], [0, 1]])
_OTHER = np.array([[0, 1], [1, 0], [0, 0], [1, 1]])
_FIRST = np.array([[0, 0], [1, 0], [0, 0], [0, 1]])
_KEY = np.array([[0, 0, 0], [1, 0, 1], [1, -1, 3], [1, 0, 2]])


@compiled
def _count(classes: UInt8, is_class: Bool) -> int:
    """How many edges end at the lattice points inside."""
    total = 0
    for i in range(classes.shape[0] - 1):
        for j in range(classes.shape[1] - 1):
            nw, ne, sw, se = classes[i, j], classes[i, j + 1], classes[i + 1, j], classes[i + 1, j + 1]
            if nw == ne and sw == se and nw == sw:
                continue
            total += is_class[nw] and nw != ne
            total += is_class[se] and sw != se
            total += is_class[sw] and nw != sw
            total += is_class[ne] and ne != se
    return total


@compiled
def _above(stored: UInt8, level: float, own: int, other: int, i: int, j: int) -> float:
    """By how much a pixel's class is above another one there."""
    if level >= 0:
        return max(abs(float(stored[0, i, j]) - level), 0.5)
    return max(float(stored[own, i, j]) - float(stored[other, i, j]), 0.5)


@compiled
def _crossing(classes: UInt8, stored: UInt8, level: float, i: int, j: int, down: int) -> int:
    """Steps from a pixel's center toward the one right of it, or below it."""
    k, m = i + down, j + 1 - down
    first, second = classes[i, j], classes[k, m]
    if NODATA in (first, second):
        return STAYS
    here = _above(stored, level, first, second, i, j)
    there = _above(stored, level, second, first, k, m)
    return min(max(int(np.rint(STEPS * here / (here + there))), _NEAREST), STEPS - _NEAREST)


@compiled
def _contrast(stored: UInt8, band: int, i: int, j: int, k: int, m: int) -> int:
    """Distance of a class's probability from one half, mean of two pixels, in steps of 1/200."""
    here, there = int(stored[band, i, j]), int(stored[band, k, m])
    if NODATA in (here, there):
        return NODATA
    return (abs(here - 100) + abs(there - 100)) // 2


@compiled
def _straight_edge(crossing: Int64, differs: Bool) -> tuple[int, int]:
    """Where two classes meet on a straight edge of missing data: opposite the missing one."""
    half = STEPS // 2
    if not differs[0]:
        return crossing[1] - half, 0
    if not differs[1]:
        return crossing[0] - half, 0
    if not differs[2]:
        return 0, crossing[3] - half
    return 0, crossing[2] - half


@compiled
def _middle(crossing: Int64, differs: Bool) -> tuple[int, int]:
    """Mean of the crossings around a lattice point, in steps from it."""
    half = STEPS // 2
    x = y = count = 0
    for edge in range(4):
        if differs[edge]:
            along, away = crossing[edge] - half, half if edge & 1 else -half
            x += along if edge < 2 else away  # noqa: PLR2004 - the first two are vertical
            y += away if edge < 2 else along  # noqa: PLR2004 - as above
            count += 1
    return int(np.rint(x / count)), int(np.rint(y / count))


@compiled
def _vertex(around: UInt8, differs: Bool, crossing: Int64, touching: bool) -> tuple[int, int, int]:
    """What the outlines have at a lattice point: nothing, a node or a corner, and where."""
    count, blank = 0, 0
    for edge in range(4):
        count += differs[edge]
        blank += around[edge] == NODATA
    if count == 2:  # noqa: PLR2004 - one outline passes; it turns unless it goes straight on
        straight = (differs[0] and differs[1]) or (differs[2] and differs[3])
        return (CORNER if blank and not straight else 0), 0, 0
    if not blank:
        if not touching and around[0] == around[3] and around[1] == around[2]:
            return 0, 0, 0
        x, y = _middle(crossing, differs)
        return NODE, x, y
    if blank == 2 and count == 3:  # noqa: PLR2004 - two pixels beside each other
        x, y = _straight_edge(crossing, differs)
        return NODE, x, y
    return NODE, 0, 0


@compiled
def _fill(
    classes: UInt8,
    stored: UInt8,
    row: int,
    is_class: Bool,
    level: float,
    touching: bool,
    key: Int64,
    pixel: Int64,
    marks: UInt8,
    steps: NDArray[np.int16],
) -> None:
    """Write the edges of all lattice points."""
    columns = classes.shape[1]
    around, differs, crossing = np.empty(4, np.uint8), np.empty(4, np.bool_), np.empty(4, np.int64)
    n = 0
    for i in range(classes.shape[0] - 1):
        for j in range(columns - 1):
            nw, ne, sw, se = classes[i, j], classes[i, j + 1], classes[i + 1, j], classes[i + 1, j + 1]
            if nw == ne and sw == se and nw == sw:
                continue
            around[0], around[1], around[2], around[3] = nw, ne, sw, se
            for edge in range(4):
                own, other, first = _OWN[edge], _OTHER[edge], _FIRST[edge]
                differs[edge] = classes[i + own[0], j + own[1]] != classes[i + other[0], j + other[1]]
                crossing[edge] = STAYS
                if differs[edge]:
                    down = 1 if edge > 1 else 0
                    crossing[edge] = _crossing(classes, stored, level, i + first[0], j + first[1], down)
            turn, x, y = _vertex(around, differs, crossing, touching)
            for edge in range(4):
                a, b = i + _OWN[edge, 0], j + _OWN[edge, 1]
                if not differs[edge] or not is_class[classes[a, b]]:
                    continue
                lattice = (row + i + _KEY[edge, 0]) * (columns - 1) + j + _KEY[edge, 1]
                key[n], pixel[n] = lattice * 4 + _KEY[edge, 2], a * columns + b
                band = 0 if level >= 0 else classes[a, b]
                marks[0, n] = crossing[edge]
                marks[1, n] = _contrast(stored, band, a, b, i + _OTHER[edge, 0], j + _OTHER[edge, 1])
                marks[2, n] = turn
                steps[0, n], steps[1, n] = x, y
                n += 1
