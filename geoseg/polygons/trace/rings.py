"""Rings of complete regions, walked along their unit edges: along the pixels, or through the crossings.

A contour along pixels is up to half a pixel off everywhere; between pixel centers the scores tell where it is
(marching squares; of many classes at once where three meet). So the exact outlines are *deformed*. Their
edges are walked in units, from lattice point to lattice point (+). Each unit becomes the crossing (x) between
the centers of its two pixels; lattice points vanish, except where three regions meet (●), and along missing
data nothing moves:

      +─────+─────●                .──x─────x──●
      │  #  │  #  │       ->       x  #     #  x
      +─────+─────+                `──x─────x──´

Laws (held by tests): rings and regions are those of the exact polygons; polygons are valid; every pixel
center stays on its side; of two regions with a common outline both have the same vertices, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import shapely

from geoseg.arrays import Bool, Float64, Int64, Objects, UInt8
from geoseg.compiled import compiled
from geoseg.polygons.trace.edges import (
    CORNER,
    DOWN,
    LEFT,
    MEETS,
    NODE,
    OFFSET,
    RIGHT,
    STAYS,
    STEPS,
    UP,
    Edges,
)

__all__ = ["Rings", "polygons_of", "walk_rings"]

_BATCH: Final = 1 << 16
"""Most regions walked at a time: rings take more memory than the edges that they are made of."""


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """Closed rings in pixel coordinates, one after the other; a ring does not repeat its first vertex.

    A vertex of a deformed ring that is neither ``node`` nor ``fixed`` is a *crossing*: it lies between the
    centers of two neighboring pixels, one inside the ring and one outside, on the straight line between them
    (its *gate*). So exactly one of its coordinates is a whole number and a half, which tells the gate.
    """

    xy: Float64
    """Vertices, x (column) and y (row), multiples of 1/256 pixel, shape (n, 2)."""
    start: Int64
    """Where each ring starts in ``xy``, and n at the end, shape (rings + 1,)."""
    node: Bool
    """Vertices where three or more regions meet, or four pieces of outline: arcs end there, shape (n,)."""
    fixed: Bool
    """Vertices on an edge of missing data or of the scene: the outline is exact there, shape (n,)."""

    def __len__(self) -> int:
        return self.start.size - 1

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The rings of several, one after the other."""
        return cls(
            np.concatenate([np.zeros((0, 2)), *(part.xy for part in parts)]),
            joined_starts([part.start for part in parts]),
            np.concatenate([np.zeros(0, np.bool_), *(part.node for part in parts)]),
            np.concatenate([np.zeros(0, np.bool_), *(part.fixed for part in parts)]),
        )

    def choose(self, chosen: Bool) -> Self:
        """The rings of a mask."""
        size = np.diff(self.start)
        of_chosen = np.repeat(chosen, size)
        start = np.concatenate([[0], np.cumsum(size[chosen])])
        return type(self)(self.xy[of_chosen], start, self.node[of_chosen], self.fixed[of_chosen])


def joined_starts(starts: Sequence[Int64]) -> Int64:
    """Where things start, with the end, from where they do in several parts, each with its end."""
    before = np.cumsum([0, *(start[-1] for start in starts)])
    return np.concatenate([*(start[:-1] + n for start, n in zip(starts, before, strict=False)), before[-1:]])


def polygons_of(rings: Rings, region_start: Int64) -> Objects:
    """Shapely Polygons, shape (n,), of rings and where those of each region start, with the end."""
    closed, start = np.empty((len(rings.xy) + len(rings), 2)), rings.start + np.arange(len(rings) + 1)
    _close(rings.xy, rings.start, closed)
    polygons: Objects = shapely.from_ragged_array(shapely.GeometryType.POLYGON, closed, (start, region_start))
    return polygons


@compiled
def _close(xy: Float64, start: Int64, closed: Float64) -> None:
    """Write rings one after the other, each with its first vertex again at its end."""
    for ring in range(start.shape[0] - 1):
        for n in range(start[ring], start[ring + 1] + 1):
            vertex = n if n < start[ring + 1] else start[ring]
            closed[n + ring, 0], closed[n + ring, 1] = xy[vertex, 0], xy[vertex, 1]


def walk_rings(
    edges: Edges, place: Int64, count: int, width: int, *, deformed: bool
) -> Iterator[tuple[Rings, Int64]]:
    """The rings of some regions in a scene of so many columns, up to 65,536 regions at a time.

    In the plane of x and y, y upwards, a region's exterior is counter-clockwise and comes first; holes are
    clockwise, in the order of their top-most, then left-most edges. A ring along the pixels starts at its
    top-most, then left-most edge and has no vertex that is not a corner; where a region touches itself at a
    point, each ring stays on its side of it, so that polygons are valid.

    Args:
        edges: all edges of these regions, and others.
        place: of each region among those, -1: not one of them.
        count: how many they are.
        width: columns of the scene.
        deformed: through the crossings; else along the pixels.

    Yields:
        Rings, those of a region one after the other, and where each region's rings start, with their number
        at the end.
    """
    order, ends, following = _by_region(edges.region, edges.end, edges.mark, edges.following, place, count)
    seen = np.zeros(len(edges), np.bool_)
    for first in range(0, count, _BATCH):
        last = min(first + _BATCH, count)
        of_batch = order[ends[first] : ends[last]]
        room = of_batch.size + (np.count_nonzero(edges.mark[of_batch] >> 11) if deformed else 0)
        xy, kind = np.empty((room, 2)), np.zeros(room, np.uint8)
        start, region_start = np.empty(of_batch.size // 4 + 2, np.int64), np.empty(last - first + 1, np.int64)
        links = order, ends[first : last + 1], following, edges.mark, edges.end
        size, rings = _walk(links, deformed, width + 1, seen, xy, kind, start, region_start)
        yield Rings(xy[:size], start[: rings + 1], kind[:size] == NODE, kind[:size] == CORNER), region_start


_Links = tuple[Int64, Int64, Int64, Int64, Int64]
"""Edges by region and where each region's end among them; of each edge the next one, its mark and its end."""


@compiled
def _by_region(
    region: Int64, end: Int64, mark: Int64, following: Int64, place: Int64, count: int
) -> tuple[Int64, Int64, Int64]:
    """Edges in the order of the places of their regions; where those of each place start, and the end.

    And the edge that follows each of them where a region that touches itself at a point has rings on both
    sides of it: those that come in from opposite sides exchange what follows.

     # │ .
    ───x───     The pixels (#) on both sides of the point are of one region, connected elsewhere.
     . │ #
    """
    ends = np.zeros(count + 1, np.int64)
    follows = following.copy()
    for edge in range(region.shape[0]):
        if place[region[edge]] >= 0:
            ends[place[region[edge]] + 1] += 1
    for n in range(count):
        ends[n + 1] += ends[n]
    at = ends.copy()
    order = np.empty(ends[count], np.int64)
    for edge in range(region.shape[0]):
        to = place[region[edge]]
        if to < 0:
            continue
        order[at[to]] = edge
        at[to] += 1
        after = min(edge + 1, region.shape[0] - 1)
        if mark[edge] & MEETS and region[after] == region[edge] and end[after] == end[edge]:
            follows[edge], follows[after] = following[after], following[edge]
    return order, ends, follows


@compiled
def _walk(
    links: _Links,
    deformed: bool,
    columns: int,
    seen: Bool,
    xy: Float64,
    kind: UInt8,
    start: Int64,
    region_start: Int64,
) -> tuple[int, int]:
    """Write the rings of regions of which none was seen before; returns how many vertices and rings."""
    order, ends, following, mark, end = links
    size = rings = 0
    for n in range(region_start.shape[0] - 1):
        region_start[n] = rings
        for k in range(ends[n], ends[n + 1]):
            # The first edge along a row that was not seen yet is the left-most of a ring's top-most ones.
            edge = order[k]
            if seen[edge] or not mark[edge] & 1:
                continue
            if mark[edge] & 3 == LEFT:
                edge = _first_of_piece(edge, following, mark)
            begin = start[rings] = size
            rings += 1
            while not seen[edge]:
                seen[edge] = True
                after = following[edge]
                if deformed:
                    size += _add_crossing(mark[edge], end[edge], columns, xy, kind, size)
                elif mark[edge] & 3 != mark[after] & 3:
                    # Where the first edge begins is known last, and comes first.
                    at = begin if seen[after] else size + 1
                    xy[at, 0], xy[at, 1] = end[edge] % columns, end[edge] // columns
                    size += 1
                edge = after
    region_start[-1] = rings
    start[rings] = size
    return size, rings


@compiled
def _first_of_piece(edge: int, following: Int64, mark: Int64) -> int:
    """The first edge of a ring's straight piece, walked left, of which an edge is the last."""
    first, at = edge, following[edge]
    while at != edge:
        if mark[at] & 3 != LEFT:
            first = following[at]
        at = following[at]
    return first


@compiled
def _back(way: int, forth: int, back: int) -> int:
    """The step back along one axis, of which two ways are given: 0 for an edge along the other."""
    return -1 if way == forth else 1 if way == back else 0


@compiled
def _add_crossing(mark: int, end: int, columns: int, xy: Float64, kind: UInt8, at: int) -> int:
    """Write the vertices of an edge: its crossing, and what is at its end; returns their number."""
    way, crossing, turn = mark & 3, mark >> 3 & 255, mark >> 11 & 3
    x, y = end % columns, end // columns
    count = 0
    if crossing != STAYS:
        off = crossing / STEPS - 0.5
        xy[at, 0] = x + (_back(way, RIGHT, LEFT) / 2 if way & 1 else off)
        xy[at, 1] = y + (off if way & 1 else _back(way, DOWN, UP) / 2)
        count = 1
    if turn:
        xy[at + count, 0] = x + ((mark >> 13 & 2047) - OFFSET) / STEPS
        xy[at + count, 1] = y + ((mark >> 24) - OFFSET) / STEPS
        kind[at + count] = turn
        count += 1
    return count
