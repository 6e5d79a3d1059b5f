"""Rings that consist of walls already: what is fitted is not fitted again."""

from __future__ import annotations

import numpy as np

from geoseg.arrays import Float64, Int64
from geoseg.compiled import compiled
from geoseg.polygons.walls.segments import ACROSS, ALONG, DIAGONAL

__all__ = ["FLAT", "given_classes", "given_walls", "leans"]


FLAT = np.sin(np.radians(15.0))
"""Sine of the least angle by which a ring turns from wall to wall."""
_ON_AXIS = np.radians(1e-3)


@compiled
def leans(sine: float, length: float, least: float) -> bool:
    """Whether a wall has a direction of its own: clearly, or because it is long.

    Args:
        sine: of its angle to the direction that it would have else.
        length: of it, px.
        least: what it has to gain, px³: how much nearer it is to the contour in squared distance, integrated
            over its length, than the wall of the other direction through its middle.
    """
    return bool(sine > FLAT or length**3 / 12 * sine * sine > least)


@compiled
def given_classes(ring: Float64, direction: float, shortest: float, lean: float) -> Int64:
    """Classes of a ring's edges where they are walls already, long and clear of each other; else none."""
    count = ring.shape[0]
    c, s = np.cos(direction), np.sin(direction)
    out = np.empty(count, np.int64)
    for k in range(count):
        dx, dy = ring[(k + 1) % count, 0] - ring[k, 0], ring[(k + 1) % count, 1] - ring[k, 1]
        length = np.hypot(dx, dy)
        if length < shortest - 1e-6:
            return out[:0]
        u, v = abs(c * dx + s * dy) / length, abs(c * dy - s * dx) / length
        if v < _ON_AXIS:
            out[k] = ALONG
        elif u < _ON_AXIS:
            out[k] = ACROSS
        elif leans(min(u, v), length, lean):
            out[k] = DIAGONAL
        else:
            return out[:0]
    for k in range(count):
        ax, ay = ring[k, 0] - ring[k - 1, 0], ring[k, 1] - ring[k - 1, 1]
        bx, by = ring[(k + 1) % count, 0] - ring[k, 0], ring[(k + 1) % count, 1] - ring[k, 1]
        if abs(ax * by - ay * bx) < 0.99 * FLAT * np.hypot(ax, ay) * np.hypot(bx, by):
            return out[:0]
    return out


@compiled
def given_walls(ring: Float64, shortest: float, lean: float) -> tuple[Int64, float]:
    """Classes and direction of a ring that consists of walls: what is fitted is not fitted again."""
    count = ring.shape[0]
    found, direction, most = np.empty(0, np.int64), 0.0, -1.0
    for k in range(count):
        dx, dy = ring[(k + 1) % count, 0] - ring[k, 0], ring[(k + 1) % count, 1] - ring[k, 1]
        if np.hypot(dx, dy) < shortest - 1e-6:
            return found[:0], direction
    for k in range(count):
        dx, dy = ring[(k + 1) % count, 0] - ring[k, 0], ring[(k + 1) % count, 1] - ring[k, 1]
        angle = np.arctan2(dy, dx)
        classes = given_classes(ring, angle, shortest, lean)
        straight = 0.0 + np.sum(classes != DIAGONAL)
        if classes.shape[0] and straight > most:
            found, direction, most = classes, angle, straight
    return found, direction
