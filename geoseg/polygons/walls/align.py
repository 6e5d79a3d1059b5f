"""Buildings of a block stand parallel: directions of walls, corrected by those of the neighbors.

A noisy contour of a small building tells its direction to a few degrees only, and a wrong direction moves
every corner. Where enough neighbors agree on a direction, the mean of both, weighted by how well each is
known, is nearer to the truth; where they do not agree, a building keeps its own.

Measured on 400 generated buildings within 1.5 degrees of one street's direction, seed 5: with noise of 1.2 px
the IoU with the truth rises from 0.926 to 0.929, the PoLiS distance falls from 0.20 to 0.19 m and the tangent
error from 20 to 16 degrees; where directions are random, nothing changes.
"""

from __future__ import annotations

import numpy as np
import shapely

from geoseg.arrays import Float64, Int64, Objects
from geoseg.errors import GridError
from geoseg.polygons.walls.fit import Fits

__all__ = ["align_directions"]

_RIGHT = np.pi / 2
_NOISE_LENGTH = 13.0  # px of wall that tell one independent offset; makes errors as large as they turn out
_ROUNDING = 0.1  # px between a contour and its walls that rounded corners explain
_WIDTH = np.radians(4)  # how far apart neighbors may seem to stand and still be one block
_SPREAD = np.radians(1.5)  # how far apart they do
_SURE = np.radians(0.3)  # no direction of a block is better known
_ROUNDS = 8


def align_directions(fits: Fits, contours: Objects, *, reach: float, least: int = 6) -> Float64:
    """Directions to fit walls with, radians, shape (n,); NaN where a polygon keeps its own.

    ``fits`` are of :func:`~geoseg.polygons.walls.fit.fit_walls`, which takes the directions, and ``contours``
    the polygons that were given to it. Neighbors have their centers within ``reach`` px; ``least`` of them
    must agree.

    Raises:
        GridError: fewer or more contours than fits, or a reach that is not above zero.
    """
    if len(contours) != len(fits.polygons) or not reach > 0:
        raise GridError(
            f"directions are aligned within a reach above 0 for as many contours as fits, got reach {reach},"
            f" {len(contours)} contours and {len(fits.polygons)} fits"
        )
    out = np.full(len(contours), np.nan)
    known = np.flatnonzero(~np.isnan(fits.direction))
    if known.size:
        error = _errors(fits, contours)[known]
        centers = shapely.centroid(fits.polygons[known])
        pairs = shapely.STRtree(centers).query(centers, predicate="dwithin", distance=reach)
        pairs = pairs[:, np.lexsort(pairs[::-1])]  # sums in the order given, whatever else the tree holds
        out[known] = _aligned(fits.direction[known], error, pairs[:, pairs[0] != pairs[1]], least)
    return out


def _errors(fits: Fits, contours: Objects) -> Float64:
    """Standard error of each direction, radians.

    That of a line through points of independent noise along each wall; the noise is the mean distance of the
    contour to the walls, the area between them over their length.
    """
    both = shapely.area(contours) + shapely.area(fits.polygons)
    between = both * (1 - fits.iou) / (1 + fits.iou)
    distance = np.maximum(between / shapely.length(fits.polygons) - _ROUNDING, 0.0)
    variance = np.pi / 2 * distance**2  # of a normal distribution, from its mean absolute value
    rings, polygon = shapely.get_rings(fits.polygons, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    length = np.hypot(*np.diff(points, axis=0).T)
    length[ring[1:] != ring[:-1]] = 0.0  # from the end of a ring to the start of the next
    leverage = np.bincount(polygon[ring[1:]], length**3 / 12, minlength=len(contours))
    error: Float64 = np.sqrt(variance * _NOISE_LENGTH / leverage)
    return error


def _aligned(direction: Float64, error: Float64, pairs: Int64, least: int) -> Float64:
    """Directions of those whose neighbors agree with them, else NaN; ``pairs``: building and neighbor."""
    one, other = pairs
    weight = 1 / (error[other] ** 2 + _SURE**2)
    block = direction.copy()
    # The weighted mean of those neighbors that stand near it, from one's own direction on.
    for _ in range(_ROUNDS):
        off = _between(direction[other], block[one])
        near = weight * np.exp(-(off**2) / 2 / (_WIDTH**2 + error[one] ** 2))
        block += _sums(one, near * off, block.size) / np.maximum(_sums(one, near, block.size), 1e-300)
    off = _between(direction[other], block[one])
    agree = np.abs(off) < 2 * np.hypot(error[other], _SPREAD)
    total = np.maximum(_sums(one, agree * weight, block.size), 1e-300)
    found = _sums(one, agree * weight * off**2, block.size) / total
    chance = _sums(one, agree * weight * error[other] ** 2, block.size) / total
    spread = np.maximum(found - chance, _SURE**2) + 1 / total
    own = _between(block, direction)
    joins = _sums(one, agree.astype(np.float64), block.size) >= least
    joins &= np.abs(own) < 3 * np.sqrt(error**2 + spread)
    aligned: Float64 = np.where(joins, direction + own * error**2 / (error**2 + spread), np.nan)
    return aligned


def _between(there: Float64, here: Float64) -> Float64:
    """How far to turn from one direction to another, modulo a right angle."""
    out: Float64 = (there - here + _RIGHT / 2) % _RIGHT - _RIGHT / 2
    return out


def _sums(group: Int64, values: Float64, groups: int) -> Float64:
    return np.bincount(group, values, minlength=groups).astype(np.float64)
