"""Fewer vertices on outlines that two regions share: no gap, no overlap, no pixel on the wrong side.

An *arc* is what lies between two vertices that stay (nodes, and vertices on missing data), or a whole ring
that has none. Each of its vertices is the crossing of a *gate*: the line between the centres of two
neighbouring pixels, one on either side. A chord from one vertex to a later one is admissible if it passes
every gate between them inside that gate's *window*: within the tolerance of the crossing, and 5/256 px clear
of both centres. Of all chains of admissible chords the cheapest is taken: it costs the squares of the
crossings' distances from their chords, and half the squared tolerance for each vertex. (A shortest path; the
chords from one vertex are found by narrowing the cone of directions that pass all windows so far.) A chain
through points of a curve lies on its inner side, so the chain's vertices then slide along their gates, inside
their windows, to where the sum of squares is least; what makes a chord inadmissible slides back.

Why this is safe. Call the square between four neighbouring pixel centres a *quad*; gates are sides of quads.

1. A chain passes the arc's gates in the arc's order. Consecutive gates are two sides of one quad. A straight
   line that enters a quad through one side leaves it through one other point of its border; so if it passes
   the next gate at all, it does so next, and is then in the next quad.
2. Pixel centres keep their side. Within each quad the chain joins the same two sides (or a side and the node)
   as the arc did, so what lies between both is parts of quads without any of their corners.
3. Arcs meet at nodes only. A gate lies between one pair of pixels, so it belongs to one arc. A quad with two
   gates holds one piece of one arc. A quad with three or four holds a node, inside it or on the border of its
   part with data; the pieces there are straight, within one convex shape, from one point to different points
   of its border, so they part for good. Where outlines are cut off before a saddle instead, the two pieces
   join the sides at opposite corners of the quad, and straight pieces that do so do not cross.
4. Both neighbours get the same vertices: an arc is taken in one direction, from the end with the smaller
   coordinates, whichever ring it is met in, and nothing else is looked at. So strips do not matter, either.

Vertices are multiples of 1/256 px, and so are the ends of windows: tests on them are exact in float64.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.errors import GridError
from geoseg.polygons.chains import cheapest_chain, settle, windows
from geoseg.polygons.rings import Rings

__all__ = ["simplify_rings"]

_STEPS: Final = 256
"""Coordinates are multiples of one pixel over this."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def simplify_rings(rings: Rings, tolerance: float) -> Rings:
    """The same rings with fewer vertices.

    Args:
        rings: outlines of regions; the regions on both sides of an arc may be in different calls.
        tolerance: how far an outline may move, px, measured along the line between two pixel centres; above 1
            nothing more changes, as the outline stays between the same centres.

    Returns:
        As many rings, in the same order. Nodes stay, and fixed vertices unless their neighbours are in line.
        No arc is further than the tolerance from what it was, anywhere along it.

    Raises:
        GridError: the tolerance is negative or no number.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise GridError(f"the tolerance came as {tolerance} px; needed 0 or more")
    keep = np.zeros(rings.node.size, np.bool_)
    xy = rings.xy.copy()
    stays = rings.node | rings.fixed
    _simplify(rings.xy, rings.start, stays, math.floor(tolerance * _STEPS) / _STEPS, xy, keep)
    _drop_straight(rings.xy, rings.start, rings.fixed & ~rings.node, keep)
    number = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep)])
    return Rings(xy[keep], number[rings.start], rings.node[keep], rings.fixed[keep])


@njit(cache=True)
def _simplify(xy: Floats, start: Ints, stays: Flags, tolerance: float, moved: Floats, keep: Flags) -> None:
    """Mark the vertices of all rings that are kept, and write where they move."""
    most = 2
    for r in range(start.size - 1):
        most = max(most, start[r + 1] - start[r] + 1)
    of = np.empty(most, np.int64)
    for r in range(start.size - 1):
        first, size = start[r], start[r + 1] - start[r]
        begin = 0
        while begin < size and not stays[first + begin]:
            begin += 1
        if begin == size:
            _closed_arc(xy, first, size, tolerance, moved, keep)
            continue
        done = 0
        while done < size:
            n = 0
            while n < 2 or not stays[of[n - 1]]:  # noqa: PLR2004 - an arc has two ends
                of[n] = first + (begin + done + n) % size
                n += 1
            keep[of[0]] = True
            if n > 2:  # noqa: PLR2004 - and something between
                _open_arc(xy, of[:n], tolerance, moved, keep)
            done += n - 1


@njit(cache=True)
def _open_arc(xy: Floats, of: Ints, tolerance: float, moved: Floats, keep: Flags) -> None:
    """An arc between two vertices that stay, which may be the same one."""
    one, other = (of[0], of[-1]) if of[0] != of[-1] else (of[1], of[-2])
    along = of.copy() if _before(xy, one, other) else of[::-1].copy()
    path = xy[along]
    window = windows(path, tolerance, closed=False)
    chain = cheapest_chain(path, window, tolerance)
    at = settle(path, window, chain, closed=False)
    for q in range(1, chain.size - 1):
        keep[along[chain[q]]] = True
        moved[along[chain[q]]] = at[q]


@njit(cache=True)
def _closed_arc(xy: Floats, first: int, size: int, tolerance: float, moved: Floats, keep: Flags) -> None:
    """A ring without any vertex that stays."""
    begin = 0
    for k in range(1, size):
        if _before(xy, first + k, first + begin):
            begin = k
    onward = _before(xy, first + (begin + 1) % size, first + (begin - 1) % size)
    steps = np.arange(size + 1) if onward else -np.arange(size + 1)
    # A chain has to begin somewhere, though no vertex is known to be a good one. Half way round it has
    # forgotten where it began; the second one begins there.
    along = first + (begin + steps) % size
    path = xy[along]
    chain = cheapest_chain(path, windows(path, tolerance, closed=True), tolerance)
    middle = chain[np.argmin(np.abs(2 * chain - size))]
    along = first + (begin + steps[middle] + steps) % size
    path = xy[along]
    window = windows(path, tolerance, closed=True)
    chain = cheapest_chain(path, window, tolerance)
    at = settle(path, window, chain, closed=True)
    for q in range(chain.size - 1):
        keep[along[chain[q]]] = True
        moved[along[chain[q]]] = at[q]


@njit(cache=True)
def _before(xy: Floats, one: int, other: int) -> bool:
    """Whether a vertex has the smaller coordinates, x first."""
    return bool(xy[one, 0] < xy[other, 0] or (xy[one, 0] == xy[other, 0] and xy[one, 1] < xy[other, 1]))


def _drop_straight(xy: Floats, start: Ints, loose: Flags, keep: Flags) -> None:
    """Drop vertices on missing data in line with their neighbours, which lie there, too."""
    n = np.arange(xy.shape[0])
    ring = np.repeat(np.arange(start.size - 1), np.diff(start))
    after = np.where(n + 1 == start[ring + 1], start[ring], n + 1)
    before = np.where(n == start[ring], start[ring + 1] - 1, n - 1)
    into, out = xy - xy[before], xy[after] - xy
    keep[loose & (into[:, 0] * out[:, 1] == into[:, 1] * out[:, 0])] = False
