"""Outlines through the iso-lines of the scores: exact polygons whose sides are moved to where classes change.

A contour along pixels is up to half a pixel off everywhere; between pixel centers the scores say where it is
(marching squares; of many classes at once where three meet). Here the exact polygons are *deformed*: every
unit side becomes the crossing between its two pixels' centers, lattice points vanish except where three
regions meet, and along missing data nothing moves.

Laws (held by tests): rings and regions are those of the exact polygons; polygons are valid; every pixel
center stays on its side; of two regions with a common outline both have the same vertices, bit for bit.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.polygons.trace.regions import Regions
from geoseg.polygons.trace.rings import Rings
from geoseg.polygons.trace.sides import CORNER, NODE, STAYS, STEPS, side_key

__all__ = ["edge_contrast", "outline", "polygons_of"]


def outline(regions: Regions, width: int) -> tuple[Rings, NDArray[np.int64]]:
    """Sub-pixel rings of complete regions.

    Args:
        regions: as :func:`geoseg.polygons.trace.exact.trace_regions` yields them, with their detail.
        width: columns of the scene.

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
    key = side_key(upper_left[:, 1], upper_left[:, 0], horizontal, second, width)

    sides = regions.detail.sides
    order = np.argsort(sides.key)
    found = order[np.searchsorted(sides.key[order], key)]
    assert np.array_equal(sides.key[found], key), "every unit of an outline is a side of its region"

    crossing = sides.crossing[found]
    along = np.where(horizontal[:, None], [[0.5, 0.0]], [[0.0, 0.5]])
    across = (crossing / STEPS - 0.5)[:, None] * np.where(horizontal[:, None], [[0, 1]], [[1, 0]])
    turn = sides.turn[found]
    steps = np.stack([sides.turn_x[found], sides.turn_y[found]], axis=1)
    vertices = np.stack([upper_left + along + across, after + steps / STEPS], axis=1).reshape(-1, 2)
    kept = np.stack([crossing != STAYS, turn != 0], axis=1).reshape(-1)
    kinds = np.stack([np.zeros_like(turn), turn], axis=1).reshape(-1)[kept]
    # A ring of n corners has n - 1 edges, those of its units.
    units = np.concatenate([[0], np.cumsum(length)])[ring_start - np.arange(ring_start.size)]
    starts = np.concatenate([[0], np.cumsum(kept)])[2 * units]
    return Rings(vertices[kept], starts, kinds == NODE, kinds == CORNER), region_start.astype(np.int64)


def polygons_of(rings: Rings, region_start: NDArray[np.int64]) -> NDArray[np.object_]:
    """Polygons of rings.

    Args:
        rings: the rings, in pixel coordinates.
        region_start: as :func:`outline` returns it.

    Returns:
        Shapely Polygons, shape (len(region_start) - 1,).
    """
    count = np.diff(rings.start)
    closed = np.arange(len(rings.xy) + len(rings))
    closed -= np.repeat(np.arange(len(rings)), count + 1)
    last = np.cumsum(count + 1) - 1
    closed[last] = rings.start[:-1]
    polygons: NDArray[np.object_] = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON,
        rings.xy[closed],
        (np.concatenate([[0], last + 1]), region_start),
    )
    return polygons


def edge_contrast(regions: Regions) -> NDArray[np.float64]:
    """How clearly each region ends.

    It is twice the mean distance of its probability from one half, over the pixels beside its outline.

    Args:
        regions: with their detail.

    Returns:
        float64, shape (n,), 0 (one half everywhere) to 1; NaN where a region borders on missing data only.
    """
    assert regions.detail is not None
    sides = regions.detail.sides
    told = sides.contrast != STAYS
    total = np.bincount(sides.region[told], sides.contrast[told], minlength=len(regions))
    count = np.bincount(sides.region[told], minlength=len(regions))
    clear = np.full(len(regions), np.nan)
    np.divide(total, 100.0 * count, out=clear, where=count > 0)
    return clear
