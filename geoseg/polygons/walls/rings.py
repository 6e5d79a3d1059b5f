"""Walls of many polygons at once: from ragged rings to ragged rings, one polygon after the other."""

from __future__ import annotations

import numpy as np

from geoseg.arrays import Float64, Int64
from geoseg.compiled import compiled
from geoseg.polygons.walls.arc_length import close_ring
from geoseg.polygons.walls.given import given_classes, given_walls
from geoseg.polygons.walls.lines import draw, refine_direction
from geoseg.polygons.walls.ring_shapes import SIDES, about, box, circle, of_area, roundness, signed_area
from geoseg.polygons.walls.segments import DIAGONAL, main_direction, roughness, sample, split

__all__ = ["AREA_CHANGE", "CIRCLE", "DIAGONALS", "FREE", "RECTANGLE", "RECTILINEAR", "fit_rings"]


RECTANGLE, RECTILINEAR, DIAGONALS, CIRCLE, FREE = 0, 1, 2, 3, 4
AREA_CHANGE = 0.02
"""Largest change of a fitted polygon's area, as a share of it."""
_STEP = 1.5  # px: distance of the points where a wall may begin
_CHORD = 4  # steps that a chord spans
_ROUNDING = 2.0  # px beside a corner where a blurred contour leaves its wall
# The price of a wall is the contour's noise, a variance (px²), times a length (px), three of those over which
# noise is correlated, so that chance makes few walls. Noise is how far the contour lies from the walls of the
# split before, as long as it is that rough on short pieces, too: else these are not its walls, and dear walls
# would hide it. Walls that a price hid count as noise, so where the price falls it is asked again. Where the
# cheapest walls leave hardly any noise there is none, as no walls fit noise so well. Chosen on 400 generated
# buildings, seed 7; roughness and diagonals on the benchmark's, generated and real, and networks' contours.
_PRICE = 8.0  # px: first price in squares of the tolerance
_LOWEST, _HIGHEST = 0.2, 1.5  # of later prices, in first prices
_NOISE = 28.0  # px
_ROUGH = 25.0  # variance of noise in roughnesses: of generated contours 22 to 27, of networks' 25 to 34
_CLEAN = 0.6  # what the cheapest walls leave of a clean contour, at most, in the price that it would earn
_ROUNDS = 3
_SAME = 0.7  # a price that falls by less is the same
_DIAGONAL = 4.0  # price of a diagonal wall in prices of a wall
_LEANS = 6.0  # of one that leans, less than 20 degrees off the others, likewise
_CIRCLE = 3.0  # price of a circle, likewise
_HIDES = 1.5  # per px²: noise hides the rounding, and what is near a corner is worth more than it costs
_SLACK = 0.8  # a wall may be this much shorter before its corners are fitted
_RIGHT = np.pi / 2
_TIE = 1e-9
_ENOUGH = 3  # vertices of a ring


@compiled
def _joined(begins: Float64, classes: Int64) -> tuple[Float64, Int64]:
    """The walls of a ring; one that the start of the ring cuts in two is one.

    Two diagonal ones may be two: where they are not, they hardly turn, and are joined when they are drawn.
    """
    if begins.shape[0] > 1 and classes[0] == classes[-1] != DIAGONAL:
        return begins[1:].copy(), classes[1:].copy()
    return begins, classes


@compiled
def _exterior(ring: Float64, lone: bool, options: Float64, known: float) -> tuple[Float64, int, float, float]:
    """Walls of an exterior ring: corners, kind, direction, and the price that was paid for a wall."""
    tolerance, min_wall, min_diagonal, circle_cv, min_radius = options
    highest = _PRICE * tolerance * tolerance
    nothing = np.empty((0, 2)), FREE, 0.0, highest
    lowest = _LOWEST * highest
    lean = (_LEANS - 1) * lowest
    classes, direction = given_walls(ring, _SLACK * min_wall, lean / 2)
    if classes.shape[0]:
        return ring, _kind(classes, lone), direction, highest
    arc = close_ring(ring)
    length = arc[1][-1]
    points, sums = sample(arc, _STEP)
    step = length / (points.shape[0] - 1)
    turns = np.isnan(known)
    direction = main_direction(points, _CHORD)[0] if turns else known
    diagonal, leaning = (_DIAGONAL, _LEANS) if min_diagonal > 0 else (np.inf, np.inf)
    shortest = _SLACK * min_wall
    most = max(_NOISE * _ROUGH * roughness(sums, length), lowest)
    price = lowest
    begins, classes, off, cost = split(
        points, sums, length, direction, price, diagonal * price, leaning * price, shortest, min_diagonal
    )
    if _NOISE * np.sum(off) / length > _CLEAN * lowest:
        price = min(highest, most)
        begins, classes, off, cost = split(
            points, sums, length, direction, price, diagonal * price, leaning * price, shortest, min_diagonal
        )
    for turn in range(_ROUNDS):
        if not begins.shape[0]:
            break
        for _ in range(2 if turns else 0):
            direction = refine_direction(arc, begins * step, classes, direction, _ROUNDING / 2)
        earned = min(max(_NOISE * np.sum(off) / length, lowest), _HIGHEST * highest, most)
        if turn > 0 and earned > _SAME * price:
            break
        price = earned
        begins, classes, off, cost = split(
            points, sums, length, direction, price, diagonal * price, leaning * price, shortest, min_diagonal
        )
    radius, variance = roundness(points)
    closed = begins.shape[0] >= _ENOUGH
    cheaper = variance * length + _CIRCLE * price < cost or not closed
    if lone and cheaper and radius >= min_radius and np.sqrt(variance) <= circle_cv * radius:
        return circle(ring), CIRCLE, 0.0, price
    if not closed or np.sum(off) > tolerance * tolerance * length:
        return nothing
    # Without its spikes a ring may be off by what a wall costs, or it is not one of walls.
    bound = min((np.sum(off) + price) / length, tolerance * tolerance)
    places, classes = _joined(begins * step, classes)
    trim = _ROUNDING / (1 + _HIDES * np.sum(off) / length)
    corners, classes, direction = draw(arc, places, classes, direction, turns, min_wall, trim, lean, bound)
    if not corners.shape[0]:
        return nothing
    return corners, _kind(classes, lone), direction, price


@compiled
def _kind(classes: Int64, lone: bool) -> int:
    if np.any(classes == DIAGONAL):
        return DIAGONALS
    return RECTANGLE if lone and classes.shape[0] == 4 else RECTILINEAR  # noqa: PLR2004 - four walls


@compiled
def _hole(ring: Float64, direction: float, price: float, min_wall: float) -> Float64:
    """Walls of a hole, parallel to those of the exterior; a rectangle where it is too small for walls."""
    # A small hole was made a rectangle, however short its walls.
    classes = given_classes(ring, direction, 0.0 if ring.shape[0] == 4 else _SLACK * min_wall, np.inf)  # noqa: PLR2004 - four walls
    if classes.shape[0] and not np.any(classes == DIAGONAL):
        return ring
    arc = close_ring(ring)
    points, sums = sample(arc, _STEP)
    length = arc[1][-1]
    begins, classes, off, _ = split(
        points, sums, length, direction, price, np.inf, np.inf, _SLACK * min_wall, 0.0
    )
    if not begins.shape[0]:
        return box(ring, direction)
    places, classes = _joined(begins * (length / (points.shape[0] - 1)), classes)
    trim = _ROUNDING / (1 + _HIDES * np.sum(off) / length)
    corners, _, _ = draw(arc, places, classes, direction, False, min_wall, trim, 0.0, np.inf)
    return corners if corners.shape[0] else box(ring, direction)


@compiled
def _area_bound(coordinates: Float64, offsets: Int64) -> float:
    """Share of its area by which each ring may change, so that the polygon's changes by AREA_CHANGE."""
    total = every = 0.0
    for r in range(offsets.shape[0] - 1):
        start = coordinates[offsets[r]]
        area = abs(signed_area(coordinates[offsets[r] : offsets[r + 1] - 1] - start))
        total += area if r == 0 else -area
        every += area
    return 0.999 * AREA_CHANGE * total / every


@compiled
def _longer(ring: Float64, direction: float) -> float:
    """Of the directions along and across, the one of the longer walls, in [0, π)."""
    c, s = np.cos(direction), np.sin(direction)
    along = across = 0.0
    for k in range(ring.shape[0]):
        dx, dy = ring[k, 0] - ring[k - 1, 0], ring[k, 1] - ring[k - 1, 1]
        along, across = along + abs(c * dx + s * dy), across + abs(c * dy - s * dx)
    # What is below 0 by a rounding error is 0, not π.
    angle = (direction + (_RIGHT if across > along + _TIE else 0.0)) % np.pi
    return 0.0 if np.pi - angle < _TIE else angle


@compiled
def fit_rings(
    coordinates: Float64, ring_offsets: Int64, polygon_offsets: Int64, options: Float64, known: Float64
) -> tuple[Float64, Int64, Int64, Float64]:
    """Walls of the rings of polygons.

    Args:
        coordinates: of closed rings, float64, shape (vertices, 2).
        ring_offsets: where each ring begins among them, and the end, shape (rings + 1,).
        polygon_offsets: where each polygon's rings begin, exterior first, and the end, shape (polygons + 1,).
        options: tolerance, shortest wall, shortest diagonal wall (0: there are none), largest coefficient of
            variation of a circle's radius.
        known: direction of each polygon's walls, radians, NaN where it is to be found, shape (polygons,).

    Returns:
        Coordinates of closed rings; where each begins and the end, in the order of the rings that were given;
        the kind of each polygon, one without walls keeping its rings as :data:`FREE`; and its direction, NaN
        where it has none.
    """
    polygons = polygon_offsets.shape[0] - 1
    out, used = np.empty((coordinates.shape[0] + SIDES, 2)), 0
    offsets = np.zeros(ring_offsets.shape[0], np.int64)
    kinds, directions = np.full(polygons, FREE), np.full(polygons, np.nan)
    for p in range(polygons):
        first, end = polygon_offsets[p], polygon_offsets[p + 1]
        x, y = coordinates[ring_offsets[first]]
        direction = price = 0.0
        bound = _area_bound(coordinates, ring_offsets[first : end + 1])
        for r in range(first, end):
            given = coordinates[ring_offsets[r] : ring_offsets[r + 1]]
            ring = about(given, x, y)
            if r == first and ring.shape[0] >= _ENOUGH:
                ring, kinds[p], direction, price = _exterior(ring, end == first + 1, options, known[p])
            elif kinds[p] != FREE and ring.shape[0] >= _ENOUGH:
                ring = _hole(ring, direction, price, options[1])
            if kinds[p] != FREE:
                area = abs(signed_area(given[:-1] - given[0]))
                ring = of_area(ring, area * (1 - bound), area * (1 + bound))
            count = given.shape[0] if kinds[p] == FREE else ring.shape[0] + 1
            if used + count > out.shape[0]:
                grown = np.empty((2 * out.shape[0] + count, 2))
                grown[:used] = out[:used]
                out = grown
            if kinds[p] == FREE:
                out[used : used + count] = given
            else:
                for k in range(count):
                    out[used + k] = ring[k % (count - 1), 0] + x, ring[k % (count - 1), 1] + y
            used += count
            offsets[r + 1] = used
            if r == first and kinds[p] < CIRCLE:
                directions[p] = _longer(ring, direction)
    return out[:used], offsets, kinds, directions
