"""Painting roofs, and the small things that stand about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from geoseg.arrays import Bool, Float32
from synthetic.neighborhood.canvas import Canvas, Fields
from synthetic.neighborhood.classes import BUILDING
from synthetic.neighborhood.plan import Box, Building, Car, Wing

__all__ = ["MATERIALS", "paint_boxes", "paint_buildings", "paint_cars"]

MATERIALS: dict[str, tuple[tuple[float, float, float], float, float]] = {
    "white": ((0.62, 0.64, 0.66), 0.12, 0.03),
    "galvanised": ((0.40, 0.43, 0.46), 0.20, 0.05),
    "gray": ((0.19, 0.19, 0.185), 0.30, 0.09),
    "charcoal": ((0.085, 0.085, 0.085), 0.25, 0.10),
    "brown": ((0.145, 0.115, 0.088), 0.25, 0.09),
    "tan": ((0.29, 0.24, 0.175), 0.20, 0.08),
    "red": ((0.24, 0.095, 0.065), 0.25, 0.08),
    "rust": ((0.26, 0.15, 0.10), 0.25, 0.20),
    "green": ((0.10, 0.16, 0.12), 0.25, 0.06),
    "blue": ((0.10, 0.16, 0.26), 0.25, 0.06),
    "membrane": ((0.60, 0.60, 0.57), 0.18, 0.04),
    "tar": ((0.11, 0.11, 0.115), 0.20, 0.08),
    "gravel": ((0.26, 0.25, 0.225), 0.20, 0.08),
}
"""Linear reflectance, how much it varies between roofs, and how rough one roof is."""
TRIMS, PARAPETS = 0.35, 0.85
"""Shares of pitched and of flat roofs whose edge differs."""
RIB = 0.8
"""Above this the sine that stands for ribs of sheet metal is a rib."""
BEYOND = 0.05
"""A wing ends this far outside its rectangle, meters: more than corners are rounded."""
RIBBED = ("white", "galvanised", "rust", "green", "blue")
WAIST, INNER = 0.93, 0.68
"""Half the width of a car and of its roof, meters."""
GLAZED, ROOFED = 0.55, 0.3
"""Half the length of the cabin and of its roof, shares of half a car."""
GLASS = (0.02, 0.025, 0.03)


def _wing_height(wing: Wing, a: Float32, b: Float32) -> tuple[Float32, Float32, Float32]:
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
    outside = np.minimum(room_a, room_b) < -BEYOND
    height[outside] = -np.inf
    return height, slope_a, slope_b


def paint_buildings(canvas: Canvas, buildings: Sequence[Building], fields: Fields) -> None:
    """Paint every roof inside its outline: height, slope, material, then what stands on it."""
    for building in buildings:
        _roof(canvas, building, fields)
        paint_boxes(canvas, building.boxes, fields)


def _surface(building: Building, a: Float32, b: Float32) -> tuple[Float32, Float32, Float32]:
    """Height and slopes (along a, along b) of a roof: the highest wing at each place."""
    height = np.full(a.shape, -np.inf, np.float32)
    slope_a, slope_b = np.zeros_like(a), np.zeros_like(a)
    for wing in building.wings:
        own, own_a, own_b = _wing_height(wing, a, b)
        higher = own > height
        height[higher], slope_a[higher], slope_b[higher] = own[higher], own_a[higher], own_b[higher]
    height[np.isneginf(height)] = building.wings[0].eave
    return height, slope_a, slope_b


def _roof(canvas: Canvas, building: Building, fields: Fields) -> None:
    found = canvas.inside(building.outline)
    if found is None:
        return
    rows, columns, mask = found
    x, y = canvas.axes(rows, columns)
    frame = building.frame
    c, s = np.float32(np.cos(frame.angle)), np.float32(np.sin(frame.angle))
    dx, dy = x - np.float32(frame.x), y - np.float32(frame.y)
    a, b = dx * c + dy * s, dy * c - dx * s
    height, slope_a, slope_b = _surface(building, a, b)
    rng = np.random.default_rng(building.seed)
    color, spread, rough = MATERIALS[building.material]
    tint = (np.asarray(color) * np.exp(rng.normal(0, spread)) * (1 + rng.normal(0, 0.04, 3))).astype(
        np.float32
    )
    grain, medium, coarse = (
        canvas.sample(field, rows, columns) for field in (fields.grain, fields.medium, fields.coarse)
    )
    texture = 1 + np.float32(rough) * (grain + medium + np.float32(0.6) * coarse)
    level = np.where(slope_a != 0, b, a)
    if building.material in RIBBED:
        texture *= 1 - np.float32(0.10) * (np.sin(level * np.float32(2 * np.pi / 0.6)) > RIB)
    if building.material == "rust":
        texture *= 1 + np.float32(0.25) * np.sin(level * np.float32(1.7) + 3 * coarse)
    texture *= 1 + np.float32(rng.uniform(-0.02, 0.08)) * np.sign(slope_a + slope_b)  # faces weather unlike
    albedo = np.clip(tint * texture[..., None], 0.02, 0.9)
    _trim(rng, canvas, mask, albedo, flat=not slope_a.any() and not slope_b.any())
    canvas.albedo[rows, columns][mask] = albedo[mask]
    canvas.height[rows, columns][mask] = height[mask]
    canvas.slope[0, rows, columns][mask] = (slope_a * c - slope_b * s)[mask]
    canvas.slope[1, rows, columns][mask] = (slope_a * s + slope_b * c)[mask]
    canvas.kind[rows, columns][mask] = BUILDING


def _trim(rng: np.random.Generator, canvas: Canvas, mask: Bool, albedo: Float32, *, flat: bool) -> None:
    """Lighten or darken the edge of some roofs: gutters, flashing, parapets."""
    tone = rng.uniform(0.15, 0.6)
    if rng.random() > (PARAPETS if flat else TRIMS):
        return
    width = max(1, round((0.35 if flat else 0.2) / canvas.cell))
    edge = mask & ~ndimage.binary_erosion(mask, iterations=width)
    albedo[edge] += (np.float32(tone) - albedo[edge]) * np.float32(0.6)


def paint_boxes(canvas: Canvas, boxes: Sequence[Box], fields: Fields) -> None:
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
        tone = 1 + np.float32(0.05) * (
            canvas.sample(fields.grain, rows, columns) + canvas.sample(fields.medium, rows, columns)
        )
        canvas.albedo[rows, columns][mask] = tone[mask, None] * np.asarray(box.color, np.float32)
        if box.height > 0:
            top = float(np.median(canvas.height[rows, columns][mask])) + box.height
            canvas.height[rows, columns][mask] = top
            canvas.slope[:, rows, columns][:, mask] = 0


def paint_cars(canvas: Canvas, cars: Sequence[Car]) -> None:
    """Paint cars: body, glass, roof; the class below stays."""
    for car in cars:
        half = car.length / 2
        patch = canvas.patch(car.frame, half, WAIST)
        if patch is None:
            continue
        a, side = patch.a / np.float32(half), np.abs(patch.b)
        body = (np.abs(a) < 1) & (side < WAIST - np.maximum(np.abs(a) - np.float32(0.75), 0))
        glass = body & (np.abs(a + np.float32(0.17)) < GLAZED)
        roof = body & (np.abs(a + np.float32(0.2)) < ROOFED) & (side < INNER)
        pillar = glass & (side > INNER + 0.1)
        rows, columns = patch.rows, patch.columns
        if (canvas.kind[rows, columns][body] == BUILDING).any():
            continue
        color = np.asarray(car.color, np.float32)
        parts = ((body, color, 0.95), (glass, GLASS, 1.2), (pillar, color, 1.0), (roof, color * 1.08, 1.5))
        for mask, paint, top in parts:
            canvas.albedo[rows, columns][mask] = np.asarray(paint, np.float32)
            canvas.height[rows, columns][mask] = top
            canvas.slope[:, rows, columns][:, mask] = 0
