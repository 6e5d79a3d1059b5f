"""Corners of pixel regions, and the rings that they make.

A region's outline on the pixel lattice turns at its corners only, and at a corner one horizontal and one
vertical edge meet. So corners pair up, sorted along rows to horizontal edges and along columns to vertical
ones, and following both in turn walks round the rings:

    1━━━━━━━━━2        along rows:      1-2  4-3  5-6
    ┃ # # # # ┃        along columns:   1-5  4-6  2-3
    ┃ # # 4━━━3        in turn:         1-2-3-4-6-5-1
    ┃ # # ┃
    5━━━━━6

No search and no geometry library; whatever order the corners were found in, the rings are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from geoseg.arrays import Bool, Int64, Objects, UInt8
from geoseg.polygons.trace.table import RegionTable

__all__ = ["Corners", "find_corners", "trace"]


@dataclass(frozen=True, slots=True, eq=False)
class Corners(RegionTable):
    """Corners of regions, as equal-length arrays.

    At a lattice point where two diagonal pixels, and only these, are of the same class, each of them has a
    corner of its own; whether both are of the same region is known when the region is complete.
    """

    row: Int64
    """Lattice row: the upper edge of the pixel row of the same number."""
    col: Int64
    """Lattice column: the left edge of the pixel column of the same number."""
    right: Bool
    """Whether the outline's horizontal piece goes right from here (else left)."""
    down: Bool
    """Whether the outline's vertical piece goes down from here (else up)."""
    below: Bool
    """Whether the region lies below the horizontal piece (else above)."""


def find_corners(strip: UInt8, is_class: Bool) -> tuple[Corners, Int64]:
    """Corners of all regions at the lattice points inside an array.

    ``strip`` holds the class of each pixel, uint8, shape (rows, columns), C-contiguous; ``is_class`` says
    which of the 256 values are classes.

    Returns:
        The corners, with ``region`` 0 and lattice rows and columns counted from pixel (0, 0) of the array,
        and for each the flat index of a pixel of its region beside it.
    """
    across = strip[:, 1:] != strip[:, :-1]
    down = strip[1:] != strip[:-1]
    # The outline turns where it runs both up or down and left or right; anything else is straight or nothing.
    turns = (across[1:] | across[:-1]) & (down[:, 1:] | down[:, :-1])
    point = np.flatnonzero(turns)
    columns = strip.shape[1]
    row, col = np.divmod(point, columns - 1)
    upper_left = row * columns + col
    pixels = (upper_left, upper_left + 1, upper_left + columns, upper_left + columns + 1)
    classes = tuple(strip.reshape(-1)[pixel] for pixel in pixels)

    found: list[Corners] = []
    beside: list[Int64] = []
    # The pixels around a point x, seen from each of them in turn. Convex: the region turns round own alone.
    # Concave: it turns round all but own, which is of another class.         own │ flank
    #                                                                      ───────x─────────
    #                                                               above_or_below │ opposite
    for quarter in range(4):
        right, lower = bool(quarter & 1), bool(quarter & 2)
        own, flank, above_or_below, opposite = (classes[quarter ^ step] for step in (0, 1, 2, 3))
        convex = (own != flank) & (own != above_or_below) & is_class[own]
        concave = (flank == opposite) & (above_or_below == opposite) & (own != opposite) & is_class[opposite]
        for chosen, pixel, below in (
            (convex, pixels[quarter], lower),
            (concave, pixels[quarter ^ 3], not lower),
        ):
            count = int(np.count_nonzero(chosen))
            flags = (np.full(count, flag) for flag in (right, lower, below))
            found.append(Corners(np.zeros(count, np.int64), row[chosen] + 1, col[chosen] + 1, *flags))
            beside.append(pixel[chosen])
    return Corners.join(found), np.concatenate(beside)


def trace(corners: Corners) -> Objects:
    """The polygons of n complete regions with consecutive numbers, from all their corners, in any order.

    Returns:
        n shapely Polygons in pixel coordinates (x: column, y: row), in order of region. Each is valid, has
        the region's whole area and no vertex that is not a corner. In the plane of x and y, y upwards, the
        exterior is counter-clockwise and starts at the top-most, then left-most vertex; holes are clockwise,
        in the order of their top-most, then left-most edges.
    """
    if not len(corners):
        return np.zeros(0, np.object_)
    along_rows = np.lexsort((corners.right, corners.col, corners.row, corners.region))
    down = _keep_rings_apart(corners, along_rows)
    along_cols = np.lexsort((down, corners.row, corners.col, corners.region))
    above, under = along_cols[0::2], along_cols[1::2]
    vertical = np.empty(len(corners), np.int64)
    vertical[above], vertical[under] = under, above

    west, east = along_rows[0::2], along_rows[1::2]
    below = corners.below[west]
    tail, head = np.where(below, west, east), np.where(below, east, west)
    edge_from = np.empty(len(corners), np.int64)
    edge_from[tail] = np.arange(tail.size)
    order, ring_edges = _walk(edge_from[vertical[head]])

    ends = np.stack([tail[order], head[order]], axis=1).reshape(-1)
    vertex_rings = np.cumsum(2 * ring_edges)
    starts = vertex_rings - 2 * ring_edges
    closed = np.insert(ends, vertex_rings, ends[starts])
    coordinates = np.stack([corners.col[closed], corners.row[closed]], axis=1).astype(np.float64)
    ring_offsets = np.concatenate([[0], np.cumsum(2 * ring_edges + 1)])
    region = corners.region[ends[starts]]
    polygon_offsets = np.searchsorted(region, np.arange(int(region[0]), int(region[-1]) + 2))
    polygons: Objects = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, coordinates, (ring_offsets, polygon_offsets)
    )
    return polygons


def _keep_rings_apart(corners: Corners, along_rows: Int64) -> Bool:
    """``down`` with the vertical edges exchanged at the points where a region touches itself.

     # │ .      The pixels (#) on both sides of the point are of one region, connected elsewhere. Each has a
    ───x───     corner there; as found, they lead to one ring that touches itself, which is not valid. With
     . │ #      the vertical edges exchanged, each ring stays on its side of the point.
    """
    first, second = along_rows[:-1], along_rows[1:]
    same = (
        (corners.region[first] == corners.region[second])
        & (corners.row[first] == corners.row[second])
        & (corners.col[first] == corners.col[second])
    )
    one, other = first[same], second[same]
    down = corners.down.copy()
    down[one], down[other] = corners.down[other], corners.down[one]
    return down


def _walk(following: Int64) -> tuple[Int64, Int64]:
    """The cycles of a permutation, in the order of their first members; and the length of each cycle."""
    follow = following.tolist()
    seen = bytearray(len(follow))
    order: list[int] = []
    lengths: list[int] = []
    for first in range(len(follow)):
        if seen[first]:
            continue
        before = len(order)
        edge = first
        while not seen[edge]:
            seen[edge] = 1
            order.append(edge)
            edge = follow[edge]
        lengths.append(len(order) - before)
    return np.array(order, np.int64), np.array(lengths, np.int64)
