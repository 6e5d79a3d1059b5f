"""Painting roofs, and the small things that stand about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geoseg.testing.neighbourhood.canvas import F32, Canvas, Fields
from geoseg.testing.neighbourhood.classes import BUILDING
from geoseg.testing.neighbourhood.plan import Box, Building, Car, Wing

__all__ = ["MATERIALS", "paint_boxes", "paint_buildings", "paint_cars"]

MATERIALS: dict[str, tuple[tuple[float, float, float], float, float]] = {
    "white": ((0.62, 0.64, 0.66), 0.12, 0.03),
    "galvanised": ((0.40, 0.43, 0.46), 0.20, 0.05),
    "grey": ((0.19, 0.19, 0.185), 0.30, 0.09),
    "charcoal": ((0.085, 0.085, 0.085), 0.25, 0.10),
    "brown": ((0.145, 0.115, 0.088), 0.25, 0.09),
    "tan": ((0.29, 0.24, 0.175), 0.20, 0.08),
    "red": ((0.24, 0.095, 0.065), 0.25, 0.08),
    "rust": ((0.26, 0.15, 0.10), 0.25, 0.20),
    "green": ((0.10, 0.16, 0.12), 0.25, 0.06),
    "blue": ((0.10, 0.16, 0.26), 0.25, 0.06),
    "membrane": ((0.60, 0.60, 0.57), 0.18, 0.04),
    "gravel": ((0.26, 0.25, 0.225), 0.20, 0.08),
}
"""Linear reflectance, how much it varies between roofs, and how rough one roof is."""
RIBBED = ("white", "galvanised", "rust", "green", "blue")
GLASS = (0.02, 0.025, 0.03)


def _wing_height(wing: Wing, a: F32, b: F32) -> tuple[F32, F32, F32]:
    """Height and slopes (along a, along b) of a wing; minus infinity outside it."""
    da, db = a - np.float32(wing.a), b - np.float32(wing.b)
    room_a, room_b = wing.half_a - np.abs(da), wing.half_b - np.abs(db)
    across = room_b if wing.ridge_a else room_a
    along = room_a if wing.ridge_a else room_b
    hipped = wing.hip & (along < across)
    rise = np.where(hipped, along, across)
    falls_a = hipped if wing.ridge_a else ~hipped
    slope_a = np.where(falls_a, -np.sign(da), 0) * np.float32(wing.pitch)
    slope_b = np.where(falls_a, 0, -np.sign(db)) * np.float32(wing.pitch)
    height = np.float32(wing.eave) + np.float32(wing.pitch) * rise
    outside = np.minimum(room_a, room_b) < -0.05  # noqa: PLR2004 (metres: beyond rounding)
    height[outside] = -np.inf
    return height, slope_a, slope_b


def paint_buildings(canvas: Canvas, buildings: Sequence[Building], fields: Fields) -> None:
    """Paint every roof inside its outline: height, slope, material, then what stands on it."""
    for building in buildings:
        found = canvas.inside(building.outline)
        if found is None:
            continue
        rows, columns, mask = found
        _roof(canvas, building, rows, columns, mask, fields)
        paint_boxes(canvas, building.boxes)


def _roof(
    canvas: Canvas, building: Building, rows: slice, columns: slice, mask: np.ndarray, fields: Fields
) -> None:
    x, y = canvas.axes(rows, columns)
    frame = building.frame
    c, s = np.float32(np.cos(frame.angle)), np.float32(np.sin(frame.angle))
    dx, dy = x - np.float32(frame.x), y - np.float32(frame.y)
    a, b = dx * c + dy * s, dy * c - dx * s
    height = np.full(mask.shape, -np.inf, np.float32)
    slope_a, slope_b = np.zeros(mask.shape, np.float32), np.zeros(mask.shape, np.float32)
    for wing in building.wings:
        own, own_a, own_b = _wing_height(wing, a, b)
        higher = own > height
        height[higher], slope_a[higher], slope_b[higher] = own[higher], own_a[higher], own_b[higher]
    height[np.isneginf(height)] = building.wings[0].eave
    rng = np.random.default_rng(building.seed)
    color, spread, rough = MATERIALS[building.material]
    tint = np.asarray(color) * np.exp(rng.normal(0, spread)) * (1 + rng.normal(0, 0.04, 3))
    texture = (
        1
        + rough * canvas.sample(fields.grain, rows, columns)
        + rough * canvas.sample(fields.medium, rows, columns)
    )
    texture += 0.5 * rough * canvas.sample(fields.coarse, rows, columns)
    down = np.where(slope_a != 0, b, a)
    if building.material in RIBBED:
        texture *= 1 + np.float32(0.10) * (np.sin(down * np.float32(2 * np.pi / 0.6)) > 0.8)  # noqa: PLR2004
    if building.material == "rust":
        texture *= 1 + np.float32(0.25) * np.sin(down * 1.7 + 3 * canvas.sample(fields.coarse, rows, columns))
    albedo = np.clip(tint.astype(np.float32) * texture[..., None], 0.02, 0.9)
    canvas.albedo[rows, columns][mask] = albedo[mask]
    canvas.height[rows, columns][mask] = height[mask]
    canvas.slope[0, rows, columns][mask] = (slope_a * c - slope_b * s)[mask]
    canvas.slope[1, rows, columns][mask] = (slope_a * s + slope_b * c)[mask]
    canvas.kind[rows, columns][mask] = BUILDING


def paint_boxes(canvas: Canvas, boxes: Sequence[Box]) -> None:
    """Paint upright blocks on whatever is there; the class stays."""
    for box in boxes:
        grow = canvas.cell * 0.6
        half_a, half_b = max(box.half_a, grow), max(box.half_b, grow)
        patch = canvas.patch(box.frame, half_a, half_b)
        if patch is None:
            continue
        mask = (np.abs(patch.a) < half_a) & (np.abs(patch.b) < half_b)
        if not mask.any():
            continue
        rows, columns = patch.rows, patch.columns
        canvas.albedo[rows, columns][mask] = np.asarray(box.color, np.float32)
        if box.height > 0:
            top = float(np.median(canvas.height[rows, columns][mask])) + box.height
            canvas.height[rows, columns][mask] = top
            canvas.slope[:, rows, columns][:, mask] = 0


def paint_cars(canvas: Canvas, cars: Sequence[Car]) -> None:
    """Paint cars: body, glass, roof; the class below stays."""
    for car in cars:
        half = car.length / 2
        patch = canvas.patch(car.frame, half, 0.93)
        if patch is None:
            continue
        a, side = patch.a / np.float32(half), np.abs(patch.b)
        body = (np.abs(a) < 1) & (side < 0.93 - 0.25 * np.maximum(np.abs(a) - 0.75, 0) * 4)
        glass = body & (a > -0.72) & (a < 0.38)
        roof = glass & (a > -0.5) & (a < 0.1) & (side < 0.68)  # noqa: PLR2004 (shares of a car)
        pillar = glass & (side > 0.78)  # noqa: PLR2004 (metres: the waist below the windows)
        rows, columns = patch.rows, patch.columns
        if (canvas.kind[rows, columns][body] == BUILDING).any():
            continue
        color = np.asarray(car.color, np.float32)
        for mask, paint, top in (
            (body, color, 0.95),
            (glass, GLASS, 1.2),
            (pillar, color, 1.0),
            (roof, color * 1.08, 1.5),
        ):
            canvas.albedo[rows, columns][mask] = np.asarray(paint, np.float32)
            canvas.height[rows, columns][mask] = top
            canvas.slope[:, rows, columns][:, mask] = 0
