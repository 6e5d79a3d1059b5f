"""Small shapes of rings: areas, circles, boxes."""

from __future__ import annotations

import numpy as np

from geoseg.arrays import Float64
from geoseg.compiled import compiled

__all__ = ["SIDES", "about", "box", "circle", "of_area", "roundness", "signed_area"]

SIDES = 64
"""Vertices of a circle."""
_REPEATED = 1e-9  # px between vertices that are one


@compiled
def about(ring: Float64, x: float, y: float) -> Float64:
    """A closed ring about (x, y) without its last vertex and repeated ones."""
    out = np.empty((ring.shape[0], 2))
    count = 0
    for k in range(ring.shape[0] - 1):
        px, py = ring[k, 0] - x, ring[k, 1] - y
        if count == 0 or abs(px - out[count - 1, 0]) + abs(py - out[count - 1, 1]) > _REPEATED:
            out[count] = px, py
            count += 1
    while count > 1 and abs(out[0, 0] - out[count - 1, 0]) + abs(out[0, 1] - out[count - 1, 1]) <= _REPEATED:
        count -= 1
    return out[:count]


@compiled
def signed_area(ring: Float64) -> float:
    """Signed area of a ring that is not closed."""
    area = 0.0
    for k in range(ring.shape[0]):
        area += ring[k - 1, 0] * ring[k, 1] - ring[k, 0] * ring[k - 1, 1]
    return area / 2


@compiled
def of_area(ring: Float64, least: float, most: float) -> Float64:
    """A ring with its edges moved out or in together until its area lies between two bounds."""
    for _ in range(4):
        area = signed_area(ring)
        missing = min(max(abs(area), least), most) - abs(area)
        if missing == 0:
            break
        count = ring.shape[0]
        edges = np.empty((count, 2))
        length = 0.0
        for k in range(count):
            dx, dy = ring[(k + 1) % count, 0] - ring[k, 0], ring[(k + 1) % count, 1] - ring[k, 1]
            edge = np.hypot(dx, dy)
            edges[k] = dx / edge, dy / edge
            length += edge
        out = np.sign(area) * missing / length
        moved = np.empty((count, 2))
        for k in range(count):
            ax, ay = edges[k - 1]
            bx, by = edges[k]
            share = out / (1 + ax * bx + ay * by)
            moved[k] = ring[k, 0] + share * (ay + by), ring[k, 1] - share * (ax + bx)
        ring = moved
    return ring


@compiled
def roundness(points: Float64) -> tuple[float, float]:
    """Mean distance of points to their center, and its variance."""
    count = points.shape[0] - 1
    x, y = np.mean(points[:count, 0]), np.mean(points[:count, 1])
    radius = np.hypot(points[:count, 0] - x, points[:count, 1] - y)
    return float(np.mean(radius)), float(np.var(radius))


@compiled
def circle(ring: Float64) -> Float64:
    """The regular polygon of a ring's area and center."""
    area = signed_area(ring)
    x = y = 0.0
    for k in range(ring.shape[0]):
        cross = ring[k - 1, 0] * ring[k, 1] - ring[k, 0] * ring[k - 1, 1]
        x += cross * (ring[k - 1, 0] + ring[k, 0]) / (6 * area)
        y += cross * (ring[k - 1, 1] + ring[k, 1]) / (6 * area)
    radius = np.sqrt(abs(area) / (SIDES / 2 * np.sin(2 * np.pi / SIDES)))
    out = np.empty((SIDES, 2))
    for k in range(SIDES):
        angle = 2 * np.pi * k / SIDES
        out[k] = x + radius * np.cos(angle), y + radius * np.sin(angle)
    return out


@compiled
def box(ring: Float64, direction: float) -> Float64:
    """A rectangle of a ring's area and proportions."""
    c, s = np.cos(direction), np.sin(direction)
    u, v = c * ring[:, 0] + s * ring[:, 1], c * ring[:, 1] - s * ring[:, 0]
    wide, high = np.max(u) - np.min(u), np.max(v) - np.min(v)
    middle_u, middle_v = (np.max(u) + np.min(u)) / 2, (np.max(v) + np.min(v)) / 2
    half = np.sqrt(abs(signed_area(ring)) / (wide * high)) / 2
    out = np.empty((4, 2))
    for k, (right, up) in enumerate(((-1, -1), (1, -1), (1, 1), (-1, 1))):
        p, q = middle_u + right * half * wide, middle_v + up * half * high
        out[k] = c * p - s * q, s * p + c * q
    return out
