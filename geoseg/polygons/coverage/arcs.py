"""Fewer vertices on outlines that two regions share: no gap, no overlap, no pixel on the wrong side.

An *arc* is what lies between two vertices that stay (nodes, and vertices on missing data), or a whole ring
that has none. Each of its vertices is the crossing of a *gate*: the line between the centers of two
neighboring pixels, one on either side. A chord from one vertex to a later one is admissible if it passes
every gate between them inside that gate's *window*: within the tolerance of the crossing, and 5/256 px clear
of both centers. Of all chains of admissible chords the cheapest is taken: it costs the squares of the
crossings' distances from their chords, and half the squared tolerance for each vertex. (A shortest path; the
chords from one vertex are found by narrowing the cone of directions that pass all windows so far.) A chain
through points of a curve lies on its inner side, so the chain's vertices then slide along their gates, inside
their windows, to where the sum of squares is least; what makes a chord inadmissible slides back.

Why this is safe. Call the square between four neighboring pixel centers a *quad*; gates are sides of quads.

1. A chain passes the arc's gates in the arc's order. Consecutive gates are two sides of one quad. A straight
   line that enters a quad through one side leaves it through one other point of its border; so if it passes
   the next gate at all, it does so next, and is then in the next quad.
2. Pixel centers keep their side. Within each quad the chain joins the same two sides (or a side and the node)
   as the arc did, so what lies between both is parts of quads without any of their corners.
3. Arcs meet at nodes only. A gate lies between one pair of pixels, so it belongs to one arc. A quad with two
   gates holds one piece of one arc. A quad with three or four holds a node, inside it or on the border of its
   part with data; the pieces there are straight, within one convex shape, from one point to different points
   of its border, so they part for good. Where outlines are cut off before a saddle instead, the two pieces
   join the sides at opposite corners of the quad, and straight pieces that do so do not cross.
4. Both neighbors get the same vertices: an arc is taken in one direction, from the end with the smaller
   coordinates, whichever ring it is met in, and nothing else is looked at. So strips do not matter, either.

Vertices are multiples of 1/256 px, and so are the ends of windows: tests on them are exact in float64.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from geoseg.arrays import Bool, Float64, Int64
from geoseg.errors import GridError
from geoseg.polygons.coverage.chains import simplify_arcs
from geoseg.polygons.trace.rings import Rings

__all__ = ["simplify_rings"]

_STEPS: Final = 256
"""Coordinates are multiples of one pixel over this."""


def simplify_rings(rings: Rings, tolerance: float) -> Rings:
    """The same rings with fewer vertices.

    Args:
        rings: outlines of regions; the regions on both sides of an arc may be in different calls.
        tolerance: how far an outline may move, px, measured along the line between two pixel centers; above 1
            nothing more changes, as the outline stays between the same centers.

    Returns:
        As many rings, in the same order. Nodes stay, and fixed vertices unless their neighbors are in line.
        No arc is further than the tolerance from what it was, anywhere along it.

    Raises:
        GridError: the tolerance is negative or no number.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise GridError(f"the tolerance came as {tolerance} px; needed 0 or more")
    keep = np.zeros(rings.node.size, np.bool_)
    xy = rings.xy.copy()
    stays = rings.node | rings.fixed
    simplify_arcs(rings.xy, rings.start, stays, math.floor(tolerance * _STEPS) / _STEPS, xy, keep)
    _drop_straight(rings.xy, rings.start, rings.fixed & ~rings.node, keep)
    number = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep)])
    return Rings(xy[keep], number[rings.start], rings.node[keep], rings.fixed[keep])


def _drop_straight(xy: Float64, start: Int64, loose: Bool, keep: Bool) -> None:
    """Drop vertices on missing data in line with their neighbors, which lie there, too."""
    n = np.arange(xy.shape[0])
    ring = np.repeat(np.arange(start.size - 1), np.diff(start))
    after = np.where(n + 1 == start[ring + 1], start[ring], n + 1)
    before = np.where(n == start[ring], start[ring + 1] - 1, n - 1)
    into, out = xy - xy[before], xy[after] - xy
    keep[loose & (into[:, 0] * out[:, 1] == into[:, 1] * out[:, 0])] = False
