"""Outlines through the iso-lines of the scores: exact polygons whose edges are moved to where classes change.

A contour along pixels is up to half a pixel off everywhere; between pixel centers the scores tell where it is
(marching squares; of many classes at once where three meet). Here the exact polygons are *deformed*. Their
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

from dataclasses import dataclass
from typing import Self

import numpy as np
import shapely

from geoseg.arrays import Bool, Float64, Int64, Objects
from geoseg.grid.encoding import NODATA
from geoseg.polygons.trace.edges import CORNER, NODE, STAYS, STEPS, edge_key
from geoseg.polygons.trace.regions import Regions

__all__ = ["Rings", "edge_contrast", "outline", "polygons_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """Closed rings in pixel coordinates, one after the other; a ring does not repeat its first vertex.

    A vertex that is neither ``node`` nor ``fixed`` is a *crossing*: it lies between the centers of two
    neighboring pixels, one inside the ring and one outside, on the straight line between them (its *gate*).
    So exactly one of its coordinates is a whole number and a half, which tells the gate.
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

    def choose(self, chosen: Bool) -> Self:
        """The rings of a mask."""
        size = np.diff(self.start)
        of_chosen = np.repeat(chosen, size)
        start = np.concatenate([[0], np.cumsum(size[chosen])])
        return type(self)(self.xy[of_chosen], start, self.node[of_chosen], self.fixed[of_chosen])


def outline(regions: Regions, width: int) -> tuple[Rings, Int64]:
    """Sub-pixel rings of complete regions with their detail, in a scene of so many columns.

    Returns:
        The rings, those of a region one after the other, exterior first, winding as those of the exact
        polygons; and where each region's rings start, with their number at the end, int64 (n + 1,).
    """
    assert regions.detail is not None
    _, corners, (ring_start, region_start) = shapely.to_ragged_array(regions.polygons)
    ends = corners.astype(np.int64)
    way = np.diff(ends, axis=0)
    is_edge = np.ones(len(ends), np.bool_)
    is_edge[ring_start[1:] - 1] = False  # from the last vertex of a ring leads no edge
    start, way = ends[is_edge], way[is_edge[:-1]]
    length = np.abs(way).sum(axis=1)
    edge = np.repeat(np.arange(length.size), length)
    nth = np.arange(edge.size) - np.repeat(np.cumsum(length) - length, length)
    step = np.sign(way)[edge]
    lattice = start[edge] + step * nth[:, None]
    after = lattice + step
    upper_left = np.minimum(lattice, after)
    horizontal = step[:, 0] != 0
    # The region lies on the left of the walk, columns to the right and rows upwards.
    second = np.where(horizontal, step[:, 0] > 0, step[:, 1] < 0)
    key = edge_key(upper_left[:, 1], upper_left[:, 0], horizontal, second, width)

    edges = regions.detail.edges
    order = np.argsort(edges.key)
    found = order[np.searchsorted(edges.key[order], key)]
    assert np.array_equal(edges.key[found], key), "every unit of an outline is an edge of its region"

    crossing = edges.crossing[found]
    along = np.where(horizontal[:, None], [[0.5, 0.0]], [[0.0, 0.5]])
    across = (crossing / STEPS - 0.5)[:, None] * np.where(horizontal[:, None], [[0, 1]], [[1, 0]])
    turn = edges.turn[found]
    steps = np.stack([edges.turn_x[found], edges.turn_y[found]], axis=1)
    vertices = np.stack([upper_left + along + across, after + steps / STEPS], axis=1).reshape(-1, 2)
    kept = np.stack([crossing != STAYS, turn != 0], axis=1).reshape(-1)
    kinds = np.stack([np.zeros_like(turn), turn], axis=1).reshape(-1)[kept]
    # A ring of n corners has n - 1 edges, those of its units.
    units = np.concatenate([[0], np.cumsum(length)])[ring_start - np.arange(ring_start.size)]
    starts = np.concatenate([[0], np.cumsum(kept)])[2 * units]
    return Rings(vertices[kept], starts, kinds == NODE, kinds == CORNER), region_start.astype(np.int64)


def polygons_of(rings: Rings, region_start: Int64) -> Objects:
    """Shapely Polygons, shape (n,), of rings and their regions as :func:`outline` returns them."""
    count = np.diff(rings.start)
    closed = np.arange(len(rings.xy) + len(rings))
    closed -= np.repeat(np.arange(len(rings)), count + 1)
    last = np.cumsum(count + 1) - 1
    closed[last] = rings.start[:-1]
    polygons: Objects = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, rings.xy[closed], (np.concatenate([[0], last + 1]), region_start)
    )
    return polygons


def edge_contrast(regions: Regions) -> Float64:
    """How clearly each region ends: twice the mean distance from one half of its probability at its outline.

    float64, shape (n,), 0 (one half everywhere) to 1; NaN where a region borders on missing data only.
    """
    assert regions.detail is not None
    edges = regions.detail.edges
    known = edges.contrast != NODATA
    total = np.bincount(edges.region[known], edges.contrast[known], minlength=len(regions))
    count = np.bincount(edges.region[known], minlength=len(regions))
    clear = np.full(len(regions), np.nan)
    np.divide(total, 100.0 * count, out=clear, where=count > 0)
    return clear
