"""Sun, sky and shadow on the painted canvas."""

from __future__ import annotations

import math

import numpy as np

from geoseg.arrays import Float32
from synthetic.neighborhood.canvas import Canvas, blur
from synthetic.neighborhood.classes import TREE
from synthetic.neighborhood.style import Style

__all__ = ["shadow_of_a_meter", "shine", "sunlit"]

TALLEST = 24.0
"""Meters: the highest thing that casts a shadow."""
NEIGHBORS = 1.6
"""Standard deviation, meters, of the surroundings that hide part of the sky."""
STEEP, THROUGH = np.float32(1.6), 0.25
"""The steepest leaf, and the share of sunlight that crowns scatter whatever their slope."""
SKY, SUN = (0.86, 0.97, 1.22), (1.03, 1.0, 0.94)


def toward_sun(style: Style) -> tuple[float, float, float]:
    """The unit vector to the sun: right, down, up."""
    azimuth, elevation = math.radians(style.sun_azimuth), math.radians(style.sun_elevation)
    flat = math.cos(elevation)
    return math.sin(azimuth) * flat, -math.cos(azimuth) * flat, math.sin(elevation)


def shadow_of_a_meter(style: Style) -> tuple[float, float]:
    """Where a thing 1 m high casts the shadow of its top, meters (x, y)."""
    x, y, z = toward_sun(style)
    return -x / z, -y / z


def _shifted_maximum(field: Float32, down: int, right: int, drop: float) -> None:
    """``field = max(field, field moved by (-down, -right) - drop)``, in place."""
    h, w = field.shape
    if abs(down) >= h or abs(right) >= w:
        return
    target = field[max(0, -down) : h - max(0, down), max(0, -right) : w - max(0, right)]
    source = field[max(0, down) : h - max(0, -down), max(0, right) : w - max(0, -right)]
    np.maximum(target, source - np.float32(drop), out=target)


def sunlit(canvas: Canvas, style: Style) -> Float32:
    """1 where the sun reaches a cell, 0 in the shadow of something, float32.

    The horizon is the highest line of sight over all distances k: max over k of height(x + k d) - k t. It is
    found in log2 steps, since the maximum over 2n distances is that over n joined with itself moved by n.
    """
    x, y, z = toward_sun(style)
    flat = math.hypot(x, y)
    dx, dy, rise = x / flat, y / flat, z / flat * canvas.cell
    steps = max(1, math.ceil(math.log2(max(2.0, TALLEST / rise))))
    line = np.full_like(canvas.height, -np.inf)
    h, w = canvas.height.shape
    down, right = round(dy), round(dx)
    rows, columns = slice(max(0, -down), h - max(0, down)), slice(max(0, -right), w - max(0, right))
    line[rows, columns] = canvas.height[
        max(0, down) : h - max(0, -down), max(0, right) : w - max(0, -right)
    ] - np.float32(rise)
    for step in range(steps):
        reach = 1 << step
        _shifted_maximum(line, round(dy * reach), round(dx * reach), rise * reach)
    return (line <= canvas.height + np.float32(0.12)).astype(np.float32)


def shine(canvas: Canvas, style: Style, shade: Float32) -> Float32:
    """Light that leaves the ground toward the camera, float32 (H, W, 3) on pixels.

    Sunlit, flat, open, white ground is near 1.

    Args:
        canvas: painted and with crowns; the slopes of crowns are taken from the height.
        style: sun and sky.
        shade: share of sunlight that leafless branches take, on pixels.
    """
    x, y, z = (np.float32(part) for part in toward_sun(style))
    slope_x, slope_y = canvas.slope[0].copy(), canvas.slope[1].copy()
    leafy = canvas.kind == TREE
    for slope, axis in ((slope_x, 1), (slope_y, 0)):
        rise: Float32 = np.asarray(np.gradient(canvas.height, np.float32(canvas.cell), axis=axis), np.float32)
        slope[leafy] = np.clip(rise[leafy], -STEEP, STEEP)
    steep = z * np.sqrt(1 + slope_x**2 + slope_y**2)
    facing: Float32 = (slope_x * -x - slope_y * y + z) / steep
    np.maximum(facing, 0, out=facing)
    facing[leafy] = np.float32(1 - THROUGH) * facing[leafy] + np.float32(THROUGH)
    facing *= sunlit(canvas, style)
    facing *= canvas.enlarge(1 - shade)
    around = canvas.enlarge(blur(canvas.reduce(canvas.height), NEIGHBORS / canvas.resolution))
    sky = np.float32(style.ambient) / (1 + np.float32(0.16) * np.maximum(around - canvas.height, 0))
    facing *= np.float32(1 - style.ambient)
    out = np.empty((*canvas.shape, 3), np.float32)
    for band in range(3):
        light = np.float32(SKY[band]) * sky + np.float32(SUN[band]) * facing
        out[..., band] = canvas.reduce(canvas.albedo[..., band] * light)
    return out
