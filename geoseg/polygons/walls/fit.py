"""Buildings with straight walls and square corners, from contours that have neither.

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
4. A circle competes at a price of its own. What fits none of this keeps its contour, simplified, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import shapely

from geoseg.arrays import Float64, Int64, Objects
from geoseg.errors import GridError
from geoseg.polygons.walls.rings import AREA_CHANGE, FREE, RECTANGLE, fit_rings
from geoseg.polygons.walls.simplify import collapse_rings

__all__ = ["KINDS", "Fits", "WallOptions", "fit_rectangles", "fit_walls"]


KINDS = ("rectangle", "rectilinear", "diagonal", "circle", "free")
"""What a fitted polygon can be; ``free``: no walls fit, the contour was simplified."""
_NONE = 1e-9


@dataclass(frozen=True, slots=True)
class WallOptions:
    """What counts as a wall; lengths in pixels."""

    tolerance: float = 2.2
    """Root mean square distance of a contour to its walls above which they are not its walls. The price of a
    wall follows it."""
    min_wall: float = 5.0
    """Length of the shortest wall."""
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
        """Check the values."""
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
    o = options
    numbers = np.array([o.tolerance, o.min_wall, o.min_diagonal, o.circle_cv, o.min_radius])
    known = np.full(len(polygons), np.nan) if direction is None else direction.astype(np.float64)
    if known.shape != polygons.shape:
        raise GridError(f"each of {len(polygons)} polygons needs a direction or NaN, got {known.shape}")
    points, offsets, kinds, direction = fit_rings(coordinates, rings, parts, numbers, known)
    fitted = shapely.orient_polygons(_polygons(points, offsets, parts))
    iou = np.zeros(len(polygons))
    sound = (kinds != FREE) & shapely.is_valid(fitted)
    iou[sound] = _iou(fitted[sound], polygons[sound])
    area = shapely.area(polygons)
    sound &= (iou >= options.min_iou) & (abs(shapely.area(fitted) - area) <= AREA_CHANGE * area)
    free = np.flatnonzero(~sound)
    fitted[free] = _simplified(polygons[free], options.free_area)
    iou[free] = _iou(fitted[free], polygons[free])
    kinds[free] = FREE
    direction[free] = np.nan
    return Fits(fitted, np.array(KINDS, np.object_)[kinds], iou, direction)


def fit_rectangles(polygons: Objects) -> Fits:
    """The smallest rectangle round each polygon, at any angle: simple, and larger than the polygon.

    Args:
        polygons: as for :func:`fit_walls`.

    Raises:
        GridError: as :func:`fit_walls`.
    """
    _check(polygons)
    boxes: Objects = shapely.orient_polygons(shapely.minimum_rotated_rectangle(polygons))
    edges = np.diff(shapely.get_coordinates(boxes).reshape(-1, 5, 2)[:, :3], axis=1)
    longer = edges[np.arange(len(boxes)), np.hypot(*edges.T).argmax(axis=0)]
    kind = np.full(len(boxes), KINDS[RECTANGLE], np.object_)
    return Fits(boxes, kind, _iou(boxes, polygons), np.arctan2(longer[:, 1], longer[:, 0]) % np.pi)


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


def _iou(one: Objects, other: Objects) -> Float64:
    both = shapely.area(shapely.intersection(one, other))
    out: Float64 = both / (shapely.area(one) + shapely.area(other) - both)
    return out


def _simplified(polygons: Objects, most: float) -> Objects:
    """Contours with fewer vertices and the same area; where that crosses itself, with fewer less."""
    out = polygons.copy()
    todo = np.arange(len(polygons))
    for allowed in _falling(most):
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


def _falling(most: float) -> Iterable[float]:
    """Ever smaller areas; the last one only takes vertices off straight lines."""
    return (most, most / 8, most / 64, _NONE)
