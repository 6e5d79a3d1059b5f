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

     o     o     o     o      o  pixel centers, of the region above and of the one below
     │     │     │     │      │  gates, each between two centers
     x─ ─ ─┃─ ─ ─┃─ ─ ─x      x  crossings: the arc; ┃ the window of a gate, around its crossing
     │ `~~.x~~~~~x.~~' │      ─  a chord is admissible if it passes all windows between its ends
     │     ┃     ┃     │
     o     o     o     o

Why this is safe. Call the square between four neighboring pixel centers a *quad*; gates are sides of quads.

1. A chain passes the arc's gates in the arc's order. Consecutive gates are two sides of one quad. A straight
   line that enters a quad through one side leaves it through one other point of its border; so if it passes
   the next gate at all, it does so next, and is then in the next quad.
2. Pixel centers keep their side. Within each quad the chain joins the same two sides (or a side and the node)
   as the arc did, so what lies between both is parts of quads without any of their corners.
3. Arcs meet at nodes only. A gate lies between one pair of pixels, so it belongs to one arc. A quad with two
   gates holds one piece of one arc. A quad with three or four holds a node, inside it or on the border of its
   part with data; the pieces there are straight, within one convex shape, from one point to different points
   of its border, so they never meet again. Where outlines are cut off before a saddle instead, both pieces
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
from geoseg.compiled import compiled
from geoseg.errors import GridError
from geoseg.polygons.trace.edges import STEPS
from geoseg.polygons.trace.rings import Rings

__all__ = ["simplify_rings"]

_CLEAR: Final = 5 / STEPS
"""Chords keep this far (0.02 px) from pixel centers, in px."""
_REACH: Final = 512
"""Most vertices that a chord passes, but for those inside straight pieces: work may grow with it."""
_NEAR: Final = 8
"""Vertices this near to the end of a straight piece may be where chords meet best."""
_SWEEPS: Final = 40
"""Most rounds of settling; each divides what is missing by about four."""
_SETTLED: Final = 1e-9
"""Change, in px, below which settling ends."""


def simplify_rings(rings: Rings, tolerance: float) -> Rings:
    """As many rings, in the same order, with fewer vertices.

    ``tolerance`` is how far an outline may move, px, anywhere along it, measured along the line between two
    pixel centers; above 1 nothing more changes, as the outline stays between the same centers. Nodes stay,
    and fixed vertices unless their neighbors are in line. The regions on both sides of an arc may be in
    different calls.

    Raises:
        GridError: the tolerance is negative or no number.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise GridError(f"the tolerance came as {tolerance} px; needed 0 or more")
    keep = np.zeros(rings.node.size, np.bool_)
    xy = rings.xy.copy()
    stays = rings.node | rings.fixed
    _simplify_arcs(rings.xy, rings.start, stays, math.floor(tolerance * STEPS) / STEPS, xy, keep)
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


@compiled
def _simplify_arcs(
    xy: Float64, start: Int64, stays: Bool, tolerance: float, moved: Float64, keep: Bool
) -> None:
    """Mark the vertices of rings that are kept, and write where they move.

    Args:
        xy: vertices of all rings, shape (n, 2).
        start: where each ring starts, and n.
        stays: vertices at which arcs end, shape (n,).
        tolerance: px, a multiple of 1/256.
        moved: a copy of ``xy``, changed in place.
        keep: False for all, changed in place.
    """
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


@compiled
def _open_arc(xy: Float64, of: Int64, tolerance: float, moved: Float64, keep: Bool) -> None:
    """An arc between two vertices that stay, which may be the same one."""
    one, other = (of[0], of[-1]) if of[0] != of[-1] else (of[1], of[-2])
    along = of.copy() if _before(xy, one, other) else of[::-1].copy()
    _thin(xy, along, tolerance, moved, keep, closed=False)


@compiled
def _closed_arc(xy: Float64, first: int, size: int, tolerance: float, moved: Float64, keep: Bool) -> None:
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
    chain = _cheapest_chain(path, _windows(path, tolerance, closed=True), tolerance)
    middle = chain[np.argmin(np.abs(2 * chain - size))]
    along = first + (begin + steps[middle] + steps) % size
    _thin(xy, along, tolerance, moved, keep, closed=True)


@compiled
def _thin(xy: Float64, along: Int64, tolerance: float, moved: Float64, keep: Bool, closed: bool) -> None:
    """Keep the cheapest chain of vertices of a path, given by number, where they settle."""
    path = xy[along]
    window = _windows(path, tolerance, closed)
    chain = _cheapest_chain(path, window, tolerance)
    at = _settle(path, window, chain, closed)
    for q in range(0 if closed else 1, chain.size - 1):
        keep[along[chain[q]]] = True
        moved[along[chain[q]]] = at[q]


@compiled
def _before(xy: Float64, one: int, other: int) -> bool:
    """Whether a vertex has the smaller coordinates, x first."""
    return bool(xy[one, 0] < xy[other, 0] or (xy[one, 0] == xy[other, 0] and xy[one, 1] < xy[other, 1]))


@compiled
def _windows(path: Float64, tolerance: float, closed: bool) -> Float64:
    """Left and right end (x, y, x, y) of each vertex's window, seen along the path.

    A closed path is a ring with its first vertex repeated; the ends of others stay and have no window.
    """
    n = path.shape[0]
    window = np.empty((n, 4))
    for k in range(0 if closed else 1, n if closed else n - 1):
        before = path[k - 1] if k > 0 else path[n - 2]
        along = 0 if path[k, 1] % 1 == 0.5 else 1  # noqa: PLR2004 - the half-pixel coordinate is the gate's own
        center = math.floor(path[k, along] - 0.5) + 0.5
        low = max(center + _CLEAR, path[k, along] - tolerance)
        high = min(center + 1 - _CLEAR, path[k, along] + tolerance)
        # Going down (y grows), the left side is that of larger x; going right, that of smaller y.
        onward = path[k, 1 - along] > before[1 - along]
        left, right = (high, low) if onward == (along == 0) else (low, high)
        window[k, 1 - along] = window[k, 3 - along] = path[k, 1 - along]
        window[k, along], window[k, 2 + along] = left, right
    return window


@compiled
def _cheapest_chain(path: Float64, window: Float64, tolerance: float) -> Int64:
    """Vertices, by number, of the cheapest chain of admissible chords from a path's first to its last.

    A chord from vertex i to j is admissible if its direction lies in the cone that all windows between leave.
    The cone narrows from window to window; once it is empty, no later vertex can follow i:

                   window of i + 1    of i + 2
                         │               ┃  left end
             i ──────────┃───────────────┃──────────── j
                         ┃               │  right end
    """
    n = path.shape[0]
    vertex_cost = max(tolerance, 1 / STEPS) ** 2 / 2
    cost = np.full(n, np.inf)
    before = np.zeros(n, np.int64)
    cost[0] = 0.0
    useful = _useful(path)
    for i in np.flatnonzero(useful)[:-1]:
        x, y = path[i, 0], path[i, 1]
        xx = xy = yy = 0.0  # second moments, about vertex i, of the vertices between
        left_x = left_y = right_x = right_y = 0.0
        passed = 0
        for j in range(i + 1, n):
            dx, dy = path[j, 0] - x, path[j, 1] - y
            if useful[j] and (j == i + 1 or (left_x * dy >= left_y * dx and right_x * dy <= right_y * dx)):
                off = max(dx * dx * yy - 2 * dx * dy * xy + dy * dy * xx, 0.0)
                # A chord of two neighboring vertices has nothing between, wherever they are.
                total = cost[i] + vertex_cost + (off / (dx * dx + dy * dy) if off > 0 else 0.0)
                if total < cost[j]:
                    cost[j], before[j] = total, i
            passed += useful[j]
            if j == n - 1 or passed == _REACH:
                break
            xx, xy, yy = xx + dx * dx, xy + dx * dy, yy + dy * dy
            ax, ay, bx, by = window[j, 0] - x, window[j, 1] - y, window[j, 2] - x, window[j, 3] - y
            if j == i + 1 or left_x * ay > left_y * ax:
                left_x, left_y = ax, ay
            if j == i + 1 or right_x * by < right_y * bx:
                right_x, right_y = bx, by
            if right_x * left_y > right_y * left_x:
                break
    chain = np.empty(n, np.int64)
    q = n - 1
    chain[q] = n - 1
    while chain[q] > 0:
        chain[q - 1] = before[chain[q]]
        q -= 1
    return chain[q:].copy()


@compiled
def _useful(path: Float64) -> Bool:
    """Which vertices a chord may begin or end at: not those far inside a straight piece of the path."""
    n = path.shape[0]
    useful = np.zeros(n, np.bool_)
    for k in range(n):
        is_end = k in (0, n - 1)
        if not is_end:
            into_x, into_y = path[k, 0] - path[k - 1, 0], path[k, 1] - path[k - 1, 1]
            out_x, out_y = path[k + 1, 0] - path[k, 0], path[k + 1, 1] - path[k, 1]
            is_end = into_x * out_y != into_y * out_x
        if is_end:
            useful[max(k - _NEAR, 0) : k + _NEAR + 1] = True
    return useful


@compiled
def _settle(path: Float64, window: Float64, chain: Int64, closed: bool) -> Float64:
    """Where a chain's vertices come to lie: each in its window, all chords admissible; shape (m, 2)."""
    m = chain.size
    along = np.zeros(m, np.int64)
    low, high, slid = np.zeros(m), np.zeros(m), np.zeros(m)
    for q in range(0 if closed else 1, m - 1):
        k = chain[q]
        along[q] = 0 if window[k, 1] == window[k, 3] else 1
        ends = window[k, along[q]] - path[k, along[q]], window[k, along[q] + 2] - path[k, along[q]]
        low[q], high[q] = min(ends), max(ends)
    if closed:
        along[-1] = along[0]
    at = path[chain]
    for _ in range(2):  # the second time, distances are from the chords that the first has found
        _relax(*_normal_equations(path, chain, at, slid, along), low, high, slid, closed)
        for q in range(m):
            at[q, along[q]] = path[chain[q], along[q]] + slid[q]
    for q in range(m):
        at[q, along[q]] = path[chain[q], along[q]] + np.rint(slid[q] * STEPS) / STEPS
    # What leads a chord out of a window between its ends goes back; the chain as it was chosen is admissible.
    q = 0
    while q < m - 1:
        if _passes(at[q], at[q + 1], window[chain[q] + 1 : chain[q + 1]]):
            q += 1
            continue
        at[q], at[q + 1] = path[chain[q]], path[chain[q + 1]]
        if closed and q == 0:
            at[-1] = at[0]
        if closed and q == m - 2:
            at[0] = at[-1]
        q = 0 if closed else max(q - 1, 0)
    return at


@compiled
def _normal_equations(
    path: Float64, chain: Int64, at: Float64, slid: Float64, along: Int64
) -> tuple[Float64, Float64, Float64]:
    """Least squares for how far the vertices slide: diagonal, what couples each with the next, right side."""
    diagonal, coupling, right = np.zeros(chain.size), np.zeros(chain.size), np.zeros(chain.size)
    for q in range(chain.size - 1):
        dx, dy = at[q + 1, 0] - at[q, 0], at[q + 1, 1] - at[q, 1]
        length = math.hypot(dx, dy)
        across = -dy / length, dx / length
        first, second = across[along[q]], across[along[q + 1]]
        for k in range(chain[q], chain[q + 1] + 1):
            weight = 1.0 if chain[q] < k < chain[q + 1] else 0.5
            x, y = path[k, 0] - at[q, 0], path[k, 1] - at[q, 1]
            share = (x * dx + y * dy) / length**2
            one, other = (1 - share) * first, share * second
            off = x * across[0] + y * across[1] + one * slid[q] + other * slid[q + 1]
            diagonal[q] += weight * one * one
            diagonal[q + 1] += weight * other * other
            coupling[q] += weight * one * other
            right[q] += weight * one * off
            right[q + 1] += weight * other * off
    return diagonal, coupling, right


@compiled
def _relax(
    diagonal: Float64,
    coupling: Float64,
    right: Float64,
    low: Float64,
    high: Float64,
    slid: Float64,
    closed: bool,
) -> None:
    """Solve for ``slid`` between its bounds, vertex by vertex (projected Gauss-Seidel)."""
    m = slid.size
    if closed:  # the last vertex is the first
        diagonal[0] += diagonal[-1]
        right[0] += right[-1]
    for _ in range(_SWEEPS):
        change = 0.0
        for q in range(0 if closed else 1, m - 1):
            before = coupling[q - 1] * slid[q - 1] if q > 0 else coupling[m - 2] * slid[m - 2]
            # Along a gate that lies along the chord, the vertex may be anywhere.
            if diagonal[q] > _CLEAR**2:
                value = (right[q] - before - coupling[q] * slid[q + 1]) / diagonal[q]
                value = min(max(value, low[q]), high[q])
                change = max(change, abs(value - slid[q]))
                slid[q] = value
            if q == 0:
                slid[-1] = slid[0]
        if change < _SETTLED:
            break


@compiled
def _passes(one: Float64, other: Float64, window: Float64) -> bool:
    """Whether a chord between two points passes all windows between them."""
    dx, dy = other[0] - one[0], other[1] - one[1]
    for k in range(window.shape[0]):
        if dx * (window[k, 1] - one[1]) > dy * (window[k, 0] - one[0]):
            return False
        if dx * (window[k, 3] - one[1]) < dy * (window[k, 2] - one[0]):
            return False
    return True
