r"""Buildings with straight walls and square corners, from contours that have neither.

     .-~~-._.-~-.               +-----------+
    (            \              |           |
     )     ._.-~-'       ->     |     +-----+
    (     /                     |     |
     `-~-'                      +-----+

The method, for a contour whose vertices lie where a network's probability crosses 0.5:

1. The direction of the walls is the mean of the contour's chords modulo a right angle.
2. The contour is split into walls along and across that direction, and dearer ones with a direction of their
   own, by dynamic programming: the squared distance of the contour to its walls, plus a price per wall. The
   contour's noise sets the price: a clean contour keeps small steps and walls that lean, noise makes none.
   Noise is what the walls of a first split leave, as long as the contour is that rough on short pieces, too;
   what is smooth and lies far off has other walls.
3. Lines are fitted to the contour between corners (not to its vertices, and not where a blur rounded it), the
   direction to all walls at once, and lines meet in corners; not in spikes, though, that the contour does not
   fill.
4. A circle competes at a price of its own. What fits none of this keeps its contour, simplified: ``free``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from geoseg.arrays import Float64, Int64, Objects
from geoseg.compiled import compiled, inner
from geoseg.errors import GridError
from geoseg.polygons.shared_area import iou_of_pairs
from geoseg.polygons.simplify import collapse_rings
from geoseg.polygons.walls.lines import draw, given_classes, given_walls, refine_direction
from geoseg.polygons.walls.rings import (
    CIRCLE_VERTICES,
    box,
    circle,
    close_ring,
    of_area,
    open_ring,
    roundness,
    signed_area,
)
from geoseg.polygons.walls.segments import DIAGONAL, LEANS, main_direction, roughness, sample, split

__all__ = ["KINDS", "Fits", "WallOptions", "fit_rectangles", "fit_walls"]

KINDS = ("rectangle", "rectilinear", "diagonal", "circle", "free")
"""What a fitted polygon can be; ``free``: no walls fit, the contour was simplified."""
_NONE = 1e-9
_RECTANGLE, _RECTILINEAR, _DIAGONALS, _CIRCLE, _FREE = 0, 1, 2, 3, 4
_AREA_CHANGE = 0.02
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
_CIRCLE_PRICE = 3.0  # in prices of a wall
_HIDES = 1.5  # per px²: noise hides the rounding, and what is near a corner is worth more than it costs
_SLACK = 0.8  # a wall may be this much shorter before its corners are fitted
_RIGHT = np.pi / 2
_TIE = 1e-9
_ENOUGH = 3  # vertices of a ring


@dataclass(frozen=True, slots=True)
class WallOptions:
    """What counts as a wall; lengths in pixels."""

    tolerance: float = 2.2
    """Root mean square distance of a contour to its walls above which they are not its walls. The price of a
    wall follows it."""
    min_wall: float = 5.0
    min_diagonal: float = 9.0
    """Length of the shortest wall that is neither along nor across the others, whether diagonal or leaning by
    a few degrees; 0: there are none."""
    min_iou: float = 0.8
    """Least intersection over union with the contour."""
    circle_cv: float = 0.1
    """Largest standard deviation of a circle's radius, as a share of the radius; 0: there are no circles."""
    min_radius: float = 8.0
    """Radius of the smallest circle: a blur makes a small square as round."""
    free_area: float = 1.0
    """Area, px², that one vertex less may displace where no walls fit."""

    def __post_init__(self) -> None:
        wrong = [
            f"{name} {value}"
            for name, value, low, high in (
                ("tolerance", self.tolerance, _NONE, np.inf),
                ("min_wall", self.min_wall, _NONE, np.inf),
                ("min_diagonal", self.min_diagonal, 0, np.inf),
                ("min_iou", self.min_iou, 0, 1),
                ("circle_cv", self.circle_cv, 0, 1),
                ("min_radius", self.min_radius, 0, np.inf),
                ("free_area", self.free_area, 0, np.inf),
            )
            if not low <= value <= high
        ]
        if wrong:
            raise GridError(
                f"walls cannot have {', '.join(wrong)}: lengths and areas are not negative, tolerance and"
                " min_wall are above 0, min_iou and circle_cv lie between 0 and 1"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Fits:
    """Fitted polygons, as equal-length arrays."""

    polygons: Objects
    """Valid shapely Polygons, exteriors counter-clockwise in the plane of x and y, holes clockwise."""
    kind: Objects
    """One of :data:`KINDS`."""
    iou: Float64
    """Intersection over union with the polygon that was given."""
    direction: Float64
    """Direction of the longer walls, radians from the x axis toward the y axis, in [0, π); NaN for
    ``circle`` and ``free``."""


def fit_walls(
    polygons: Objects, options: WallOptions | None = None, direction: Float64 | None = None
) -> Fits:
    """Fit walls to polygons, each on its own.

    Args:
        polygons: valid shapely Polygons, shape (N,), in a frame where a unit is a pixel both ways. Their
            rings are contours with a vertex wherever a line between neighboring pixel centers is crossed.
        options: by default those of :class:`WallOptions`.
        direction: of each polygon's walls, radians, where it is known better than its contour tells it
            (:func:`~geoseg.polygons.walls.align.align_directions`), else NaN; shape (N,).

    Returns:
        For each polygon the fit. Angles of ``rectangle`` and ``rectilinear`` are right angles. The area
        changes by at most 2 %, that of ``free`` not at all. No angle of a fit is below 40 degrees unless the
        contour reaches into it.

    Raises:
        GridError: a geometry that is not a valid Polygon with an area, or fewer or more directions.

    >>> import math
    >>> contour = shapely.segmentize(shapely.affinity.rotate(shapely.box(0, 0, 40, 25), 33), 0.7)
    >>> fits = fit_walls(np.array([contour]))
    >>> fits.kind.item(), round(math.degrees(fits.direction.item()), 3)
    ('rectangle', 33.0)
    >>> len(contour.exterior.coords) - 1, len(fits.polygons[0].exterior.coords) - 1
    (188, 4)
    """
    options = WallOptions() if options is None else options
    _check(polygons)
    coordinates, (rings, parts) = _ragged(polygons)
    numbers = np.array(
        [options.tolerance, options.min_wall, options.min_diagonal, options.circle_cv, options.min_radius]
    )
    known = np.full(len(polygons), np.nan) if direction is None else direction.astype(np.float64)
    if known.shape != polygons.shape:
        raise GridError(f"each of {len(polygons)} polygons needs a direction or NaN, got {known.shape}")
    points, offsets, kinds, direction = _fit_rings(coordinates, rings, parts, numbers, known)
    fitted = shapely.orient_polygons(_polygons(points, offsets, parts))
    iou = np.zeros(len(polygons))
    sound = (kinds != _FREE) & shapely.is_valid(fitted)
    iou[sound] = iou_of_pairs(fitted[sound], polygons[sound])
    area = shapely.area(polygons)
    sound &= (iou >= options.min_iou) & (abs(shapely.area(fitted) - area) <= _AREA_CHANGE * area)
    free = np.flatnonzero(~sound)
    fitted[free] = _simplified(polygons[free], options.free_area)
    iou[free] = iou_of_pairs(fitted[free], polygons[free])
    kinds[free] = _FREE
    direction[free] = np.nan
    return Fits(fitted, np.array(KINDS, np.object_)[kinds], iou, direction)


def fit_rectangles(polygons: Objects) -> Fits:
    """The smallest rectangle round each polygon, at any angle: simple, and larger than the polygon.

    Polygons and errors are those of :func:`fit_walls`.
    """
    _check(polygons)
    boxes: Objects = shapely.orient_polygons(shapely.minimum_rotated_rectangle(polygons))
    edges = np.diff(shapely.get_coordinates(boxes).reshape(-1, 5, 2)[:, :3], axis=1)
    longer = edges[np.arange(len(boxes)), np.hypot(*edges.T).argmax(axis=0)]
    kind = np.full(len(boxes), KINDS[_RECTANGLE], np.object_)
    return Fits(boxes, kind, iou_of_pairs(boxes, polygons), np.arctan2(longer[:, 1], longer[:, 0]) % np.pi)


def _check(polygons: Objects) -> None:
    wrong = shapely.get_type_id(polygons) != shapely.GeometryType.POLYGON
    wrong |= ~shapely.is_valid(polygons) | ~(shapely.area(polygons) > 0)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise GridError(
            f"walls are fitted to valid polygons with an area; {np.count_nonzero(wrong)} of {len(polygons)}"
            f" are not, first number {first}: {polygons[first]!r:.60}. Repair them (shapely.make_valid)"
        )


def _ragged(polygons: Objects) -> tuple[Float64, tuple[Int64, Int64]]:
    """Coordinates (x, y), where rings begin among them and where polygons begin among rings."""
    if not len(polygons):
        return np.zeros((0, 2)), (np.zeros(1, np.int64), np.zeros(1, np.int64))
    _, coordinates, (rings, parts) = shapely.to_ragged_array(polygons, include_z=False)
    return coordinates, (rings.astype(np.int64), parts.astype(np.int64))


def _polygons(coordinates: Float64, rings: Int64, parts: Int64) -> Objects:
    if parts.size == 1:
        return np.zeros(0, np.object_)
    out: Objects = shapely.from_ragged_array(shapely.GeometryType.POLYGON, coordinates, (rings, parts))
    return out


def _simplified(polygons: Objects, most: float) -> Objects:
    """Contours with fewer vertices and the same area; where that crosses itself, with fewer less."""
    out = polygons.copy()
    todo = np.arange(len(polygons))
    # Ever smaller areas; the last one only takes vertices off straight lines.
    for allowed in (most, most / 8, most / 64, _NONE):
        coordinates, (rings, parts) = _ragged(polygons[todo])
        points, offsets = collapse_rings(coordinates, rings, np.full(rings.size - 1, allowed))
        simple = _polygons(points, offsets, parts)
        sound = shapely.is_valid(simple)
        out[todo[sound]] = simple[sound]
        todo = todo[~sound]
        if not todo.size:
            break
    oriented: Objects = shapely.orient_polygons(out)
    return oriented


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
    nothing = np.empty((0, 2)), _FREE, 0.0, highest
    lowest = _LOWEST * highest
    lean = (LEANS - 1) * lowest
    # A ring that consists of walls stays: what was fitted is not fitted again.
    classes, direction = given_walls(ring, _SLACK * min_wall, lean / 2)
    if classes.shape[0]:
        return ring, _kind(classes, lone), direction, highest
    curve = close_ring(ring)
    length = curve[1][-1]
    points, sums = sample(curve, _STEP)
    step = length / (points.shape[0] - 1)
    turns = np.isnan(known)
    direction = main_direction(points, _CHORD)[0] if turns else known
    shortest = _SLACK * min_wall
    most = max(_NOISE * _ROUGH * roughness(sums, length), lowest)
    # The cheapest walls show whether there is noise at all.
    price = lowest
    begins, classes, off, cost = split(points, sums, length, direction, price, shortest, min_diagonal)
    if _NOISE * np.sum(off) / length > _CLEAN * lowest:
        price = min(highest, most)
        begins, classes, off, cost = split(points, sums, length, direction, price, shortest, min_diagonal)
    # Direction and price follow from the walls, and walls from both, until the price stays.
    for turn in range(_ROUNDS):
        if not begins.shape[0]:
            break
        for _ in range(2 if turns else 0):
            direction = refine_direction(curve, begins * step, classes, direction, _ROUNDING / 2)
        earned = min(max(_NOISE * np.sum(off) / length, lowest), _HIGHEST * highest, most)
        if turn > 0 and earned > _SAME * price:
            break
        price = earned
        begins, classes, off, cost = split(points, sums, length, direction, price, shortest, min_diagonal)
    radius, variance = roundness(points)
    closed = begins.shape[0] >= _ENOUGH
    cheaper = variance * length + _CIRCLE_PRICE * price < cost or not closed
    if lone and cheaper and radius >= min_radius and np.sqrt(variance) <= circle_cv * radius:
        return circle(ring), _CIRCLE, 0.0, price
    if not closed or np.sum(off) > tolerance * tolerance * length:
        return nothing
    # Without its spikes a ring may be off by what a wall costs, or it is not one of walls.
    bound = min((np.sum(off) + price) / length, tolerance * tolerance)
    places, classes = _joined(begins * step, classes)
    trim = _ROUNDING / (1 + _HIDES * np.sum(off) / length)
    corners, classes, direction = draw(curve, places, classes, direction, turns, min_wall, trim, lean, bound)
    if not corners.shape[0]:
        return nothing
    return corners, _kind(classes, lone), direction, price


@compiled
def _kind(classes: Int64, lone: bool) -> int:
    if np.any(classes == DIAGONAL):
        return _DIAGONALS
    return _RECTANGLE if lone and classes.shape[0] == 4 else _RECTILINEAR  # noqa: PLR2004 - four walls


@compiled
def _hole(ring: Float64, direction: float, price: float, min_wall: float) -> Float64:
    """Walls of a hole, parallel to those of the exterior; a rectangle where it is too small for walls."""
    # A small hole was made a rectangle, however short its walls.
    classes = given_classes(ring, direction, 0.0 if ring.shape[0] == 4 else _SLACK * min_wall, np.inf)  # noqa: PLR2004 - four walls
    if classes.shape[0] and not np.any(classes == DIAGONAL):
        return ring
    curve = close_ring(ring)
    points, sums = sample(curve, _STEP)
    length = curve[1][-1]
    begins, classes, off, _ = split(points, sums, length, direction, price, _SLACK * min_wall, 0.0)
    if not begins.shape[0]:
        return box(ring, direction)
    places, classes = _joined(begins * (length / (points.shape[0] - 1)), classes)
    trim = _ROUNDING / (1 + _HIDES * np.sum(off) / length)
    corners, _, _ = draw(curve, places, classes, direction, False, min_wall, trim, 0.0, np.inf)
    return corners if corners.shape[0] else box(ring, direction)


@compiled
def _area_bound(coordinates: Float64, offsets: Int64) -> float:
    """Share of its area by which each ring may change, so that the polygon's changes by `_AREA_CHANGE`."""
    total = every = 0.0
    for r in range(offsets.shape[0] - 1):
        start = coordinates[offsets[r]]
        area = abs(signed_area(coordinates[offsets[r] : offsets[r + 1] - 1] - start))
        total += area if r == 0 else -area
        every += area
    return 0.999 * _AREA_CHANGE * total / every


@inner
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
def _fit_rings(
    coordinates: Float64, ring_offsets: Int64, polygon_offsets: Int64, options: Float64, known: Float64
) -> tuple[Float64, Int64, Int64, Float64]:
    """Walls of the rings of polygons.

    ``coordinates`` are of closed rings, float64, shape (vertices, 2); ``ring_offsets`` say where each ring
    begins among them, ``polygon_offsets`` where each polygon's rings begin, exterior first; both have the
    end, too. ``options``: tolerance, min_wall, min_diagonal, circle_cv and min_radius of
    :class:`WallOptions`; ``known``: direction of each polygon's walls, radians, NaN where it is to be found,
    shape (polygons,).

    Returns:
        Coordinates of closed rings; where each begins and the end, in the order of the rings that were given;
        the kind of each polygon, one without walls keeping its rings; its direction, NaN where it has none.
    """
    polygons = polygon_offsets.shape[0] - 1
    out, used = np.empty((coordinates.shape[0] + CIRCLE_VERTICES, 2)), 0
    offsets = np.zeros(ring_offsets.shape[0], np.int64)
    kinds, directions = np.full(polygons, _FREE), np.full(polygons, np.nan)
    for p in range(polygons):
        first, end = polygon_offsets[p], polygon_offsets[p + 1]
        x, y = coordinates[ring_offsets[first]]
        direction = price = 0.0
        bound = _area_bound(coordinates, ring_offsets[first : end + 1])
        for r in range(first, end):
            given = coordinates[ring_offsets[r] : ring_offsets[r + 1]]
            ring = open_ring(given, x, y)
            if r == first and ring.shape[0] >= _ENOUGH:
                ring, kinds[p], direction, price = _exterior(ring, end == first + 1, options, known[p])
            elif kinds[p] != _FREE and ring.shape[0] >= _ENOUGH:
                ring = _hole(ring, direction, price, options[1])
            if kinds[p] != _FREE:
                area = abs(signed_area(given[:-1] - given[0]))
                ring = of_area(ring, area * (1 - bound), area * (1 + bound))
            count = given.shape[0] if kinds[p] == _FREE else ring.shape[0] + 1
            if used + count > out.shape[0]:
                grown = np.empty((2 * out.shape[0] + count, 2))
                grown[:used] = out[:used]
                out = grown
            if kinds[p] == _FREE:
                out[used : used + count] = given
            else:
                for k in range(count):
                    out[used + k] = ring[k % (count - 1), 0] + x, ring[k % (count - 1), 1] + y
            used += count
            offsets[r + 1] = used
            if r == first and kinds[p] < _CIRCLE:
                directions[p] = _longer(ring, direction)
    return out[:used], offsets, kinds, directions
