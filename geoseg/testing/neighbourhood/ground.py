"""Painting the ground: lawn and soil, water, pavements and streets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely

from geoseg.testing.neighbourhood.canvas import F32, Canvas, Fields, blur, inside
from geoseg.testing.neighbourhood.classes import BARE, GRASS, PAVED, WATER
from geoseg.testing.neighbourhood.plan import Lot, Pool, Slab, Tree
from geoseg.testing.neighbourhood.streets import Town
from geoseg.testing.neighbourhood.style import Style

__all__ = ["paint_ground", "paint_slabs", "paint_streets"]

LUSH, GREEN, STRAW = (0.050, 0.100, 0.030), (0.085, 0.115, 0.055), (0.185, 0.160, 0.105)
SOIL, LITTER, MUD = (0.250, 0.195, 0.140), (0.105, 0.085, 0.065), (0.140, 0.120, 0.090)
STREAM, LAKE, BASIN = (0.030, 0.040, 0.028), (0.035, 0.055, 0.050), (0.10, 0.36, 0.42)
CONCRETE = (1.0, 0.98, 0.92)
Color = tuple[float, float, float]


def _mix(low: F32, high: Color | F32, share: F32) -> F32:
    high_array = np.asarray(high, np.float32)
    return low + (high_array - low) * share[..., None]


def _lot_field(lots: Sequence[Lot], shape: tuple[int, int], resolution: float) -> tuple[F32, F32]:
    """How well each pixel's lot is kept, and whether it is a thicket."""
    lawn = np.full(shape, 0.45, np.float32)
    wild = np.zeros(shape, np.float32)
    for lot in lots:
        outline = shapely.Polygon(lot.corners / resolution)
        left, top, right, bottom = outline.bounds
        r0, r1 = max(0, int(top)), min(shape[0], int(bottom) + 2)
        c0, c1 = max(0, int(left)), min(shape[1], int(right) + 2)
        if r0 >= r1 or c0 >= c1:
            continue
        mask = inside(outline, np.arange(c0, c1)[None, :] + 0.5, np.arange(r0, r1)[:, None] + 0.5)
        lawn[r0:r1, c0:c1][mask] = lot.lawn
        wild[r0:r1, c0:c1][mask] = lot.kind in ("wood", "meadow")
    return lawn, wild


def _leaf_litter(trees: Sequence[Tree], shape: tuple[int, int], resolution: float) -> F32:
    """Where dead leaves lie, 0..1."""
    litter = np.zeros(shape, np.float32)
    for tree in trees:
        row, column = int(tree.y / resolution), int(tree.x / resolution)
        if 0 <= row < shape[0] and 0 <= column < shape[1]:
            litter[row, column] += tree.radius**2
    spread = 2.4 / resolution
    return np.clip(blur(litter, spread) * np.float32(2 * spread**2 / 6), 0, 1)


def paint_ground(canvas: Canvas, town: Town, fields: Fields, style: Style) -> None:
    """Paint lawn, soil and litter over the whole canvas, then creeks and ponds."""
    lawn, wild = _lot_field(town.plan.lots, canvas.shape, canvas.resolution)
    lush = (
        style.greenness
        + 0.75 * (lawn - 0.5)
        + 0.20 * fields.coarse
        + 0.13 * fields.medium
        + 0.12 * fields.broad
    )
    base = _mix(np.asarray(STRAW, np.float32), GREEN, np.clip(lush * 2, 0, 1).astype(np.float32))
    base = _mix(base, LUSH, np.clip(lush * 2 - 1, 0, 1).astype(np.float32))
    litter = _leaf_litter(town.plan.trees, canvas.shape, canvas.resolution)
    litter = np.clip(litter * (0.75 + 0.3 * fields.medium) + 0.25 * wild, 0, 0.85).astype(np.float32)
    base = _mix(base, LITTER, litter * np.float32(1.0 - 0.5 * style.leaf))
    worn = 0.55 * fields.broad + 0.75 * fields.coarse + 0.45 * fields.medium + 0.15 * fields.fine
    worn = worn - (2.4 - 2.6 * style.bare + 1.1 * (lawn - 0.5) - 0.5 * wild)
    base = _mix(base, SOIL, np.clip(0.5 + worn * 2.0, 0, 1).astype(np.float32))
    speckle = 1 + 0.10 * fields.grain + 0.13 * fields.fine + 0.08 * fields.medium
    base *= np.clip(speckle, 0.4, 1.8)[..., None]
    kind = np.where(worn > 0, BARE, GRASS).astype(np.uint8)
    _water(town, base, kind, canvas.resolution, fields)
    canvas.albedo[...] = canvas.enlarge(base)
    canvas.kind[...] = canvas.enlarge(kind)


def _water(town: Town, base: F32, kind: npt.NDArray[np.uint8], resolution: float, fields: Fields) -> None:
    x = (np.arange(base.shape[1], dtype=np.float32) + np.float32(0.5))[None, :] * np.float32(resolution)
    y = (np.arange(base.shape[0], dtype=np.float32) + np.float32(0.5))[:, None] * np.float32(resolution)
    u, v = town.warp.forward(x, y)
    shores = [(creek.distance(u, v) + 0.4 * fields.medium, STREAM) for creek in town.creeks]
    for px, py, radius, phase in town.ponds:
        turn = np.arctan2(y - py, x - px)
        edge = radius * (1 + 0.14 * np.sin(2 * turn + phase) + 0.09 * np.sin(3 * turn - 2 * phase))
        shores.append((np.hypot(x - px, y - py) - edge + 0.25 * fields.medium, LAKE))
    for distance, color in shores:
        bank = np.clip(1 - distance / (2.0 + 0.7 * fields.coarse.clip(-1, 1)), 0, 1)
        base[...] = _mix(base, MUD, (bank * 0.8).astype(np.float32))
        kind[bank > 0.55] = BARE  # noqa: PLR2004 (where mud outweighs grass)
        wet = distance < 0
        deep = np.clip(0.75 + distance[wet] * -0.08, 0.6, 1.1)
        base[wet] = np.asarray(color, np.float32) * (1.9 - deep + 0.05 * fields.fine[wet])[:, None]
        kind[wet] = WATER


def paint_slabs(canvas: Canvas, slabs: Sequence[Slab], pools: Sequence[Pool], fields: Fields) -> None:
    """Pave drives, walks, patios and parking; fill pools."""
    for slab in slabs:
        patch = canvas.patch(slab.frame, slab.half_a, slab.half_b)
        if patch is None:
            continue
        rows, columns = patch.rows, patch.columns
        ragged = 0.35 * canvas.sample(fields.fine, rows, columns) if slab.bare else np.float32(0)
        mask = (np.abs(patch.a) < slab.half_a) & (np.abs(patch.b) + ragged < slab.half_b)
        mask &= canvas.kind[rows, columns] != WATER
        stains = 0.07 * canvas.sample(fields.coarse, rows, columns) + 0.05 * canvas.sample(
            fields.medium, rows, columns
        )
        tone = slab.tone * (1 + stains + 0.05 * canvas.sample(fields.grain, rows, columns))
        color = tone[..., None] * np.asarray(slab.tint, np.float32)
        canvas.albedo[rows, columns][mask] = color[mask]
        canvas.kind[rows, columns][mask] = BARE if slab.bare else PAVED
    for pool in pools:
        patch = canvas.patch(pool.frame, pool.half_a + 1.2, pool.half_b + 1.2)
        if patch is None:
            continue
        rows, columns = patch.rows, patch.columns
        round_a = np.maximum(np.abs(patch.a) - pool.half_a + 1.2, 0)
        round_b = np.maximum(np.abs(patch.b) - pool.half_b + 1.2, 0)
        distance = np.hypot(round_a, round_b) - 1.2
        for reach, color, kind in ((1.1, (0.42, 0.40, 0.36), PAVED), (0.0, BASIN, WATER)):
            mask = distance < reach
            canvas.albedo[rows, columns][mask] = np.asarray(color, np.float32)
            canvas.kind[rows, columns][mask] = kind


def paint_streets(canvas: Canvas, town: Town, fields: Fields) -> None:
    """Paint asphalt, gutters, sidewalks and lane markings, strip by strip to bound memory."""
    height, width = canvas.fine_shape
    step = 64 * canvas.factor
    for top in range(0, height, step):
        rows, columns = slice(top, min(top + step, height)), slice(0, width)
        x, y = canvas.axes(rows, columns)
        _strip(canvas, town, fields, (rows, columns), town.warp.forward(x, y))


def _strip(
    canvas: Canvas, town: Town, fields: Fields, where: tuple[slice, slice], plan: tuple[F32, F32]
) -> None:
    u, v = plan
    distance = town.street_distance(u, v)
    near = distance < 3.4  # noqa: PLR2004 (metres: the outer edge of a sidewalk)
    if not near.any():
        return
    rows, columns = where
    coarse, medium, grain, fine = (
        canvas.sample(field, rows, columns)[near]
        for field in (fields.coarse, fields.medium, fields.grain, fields.fine)
    )
    u, v, distance = u[near], v[near], distance[near]
    albedo = canvas.albedo[rows, columns][near]
    kind = canvas.kind[rows, columns][near]
    tone, paint = _asphalt(town, u, v)
    tone = tone * (1 + 0.05 * coarse + 0.05 * medium + 0.05 * grain + 0.03 * fine)
    road = distance < 0
    albedo[road] = tone[road, None] * np.asarray((1.0, 0.99, 0.97), np.float32)
    marked = road & (paint > 0)
    worn = np.clip(0.75 + 0.3 * medium, 0.2, 1)[marked, None]
    yellow = np.where(paint[marked, None] > 1, (0.50, 0.36, 0.07), (0.60, 0.60, 0.58)).astype(np.float32)
    albedo[marked] += (yellow - albedo[marked]) * worn
    gutter = (distance > -0.45) & (distance < 0.2)  # noqa: PLR2004 (metres about the kerb)
    walk = (distance > 1.5) & (distance < 2.8) if town.sidewalks else np.zeros_like(gutter)  # noqa: PLR2004 (metres)
    concrete = gutter | walk
    light = 0.33 * (1 + 0.08 * coarse + 0.06 * medium + 0.04 * grain)[concrete, None]
    albedo[concrete] = light * np.asarray(CONCRETE, np.float32)
    kind[road | concrete] = PAVED
    canvas.albedo[rows, columns][near] = albedo
    canvas.kind[rows, columns][near] = kind


def _asphalt(town: Town, u: F32, v: F32) -> tuple[F32, npt.NDArray[np.uint8]]:
    """Reflectance of the street at places, and its paint: 0 none, 1 white, 2 yellow."""
    best = np.full(u.shape, 1e3, np.float32)
    tone = np.full(u.shape, 0.15, np.float32)
    paint = np.zeros(u.shape, np.uint8)
    for street in town.plan.streets:
        across = (u - np.float32(street.at)) if street.along_v else (v - np.float32(street.at))
        distance = np.abs(across) - np.float32(street.half)
        if not street.along_v:
            distance = np.maximum(distance, np.maximum(street.start + 4 - u, u - street.stop + 4))
        mine = distance < best
        best[mine] = distance[mine]
        lanes = 1 + 0.06 * np.cos(across[mine] * np.float32(4 * np.pi / street.half))
        tone[mine] = np.float32(street.tone) * lanes
        paint[mine] = 0
        if street.main:
            side = np.abs(across)
            paint[mine & (side > 0.09) & (side < 0.24)] = 2  # noqa: PLR2004 (metres: a double line)
            edge = np.abs(side - street.half + 1.9) < 0.08  # noqa: PLR2004 (metres: half a line's width)
            paint[mine & edge] = 1
    for street in town.plan.streets:  # no paint within crossings
        if not street.along_v:
            crossing = (
                (np.abs(v - street.at) < street.half + 3) & (u > street.start - 9) & (u < street.stop + 9)
            )
            paint[crossing] = 0
    return tone, paint
