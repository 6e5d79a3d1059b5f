"""Painting the ground: lawn and soil, water, pavements and streets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from geoseg.arrays import Float32
from synthetic.neighborhood.canvas import Canvas, Fields, blur, inside
from synthetic.neighborhood.classes import BARE, GRASS, PAVED, WATER
from synthetic.neighborhood.plan import Lot, Pool, Slab, Tree
from synthetic.neighborhood.streets import Town
from synthetic.neighborhood.style import Style

__all__ = ["paint_ground", "paint_slabs", "paint_streets"]

LUSH, GREEN, STRAW = (0.054, 0.088, 0.040), (0.086, 0.099, 0.061), (0.150, 0.130, 0.098)
SOIL, LITTER, MUD = (0.250, 0.195, 0.140), (0.105, 0.085, 0.065), (0.140, 0.120, 0.090)
STREAM, LAKE, BASIN = (0.030, 0.040, 0.028), (0.035, 0.055, 0.050), (0.10, 0.36, 0.42)
CONCRETE = (1.0, 0.98, 0.92)
LINES = ((0.60, 0.60, 0.58), (0.50, 0.36, 0.07))
GUTTER, KERB, VERGE, WALK = 0.45, 0.2, 1.5, 1.3
"""Meters: concrete inside and outside the kerb's line, then grass, then the sidewalk's width."""
DOUBLE, HALF_LINE = 0.165, 0.08
"""Meters: a double line from the middle of the street, and half the width of a line."""
YARD, BAY, JOINT = 6.0, 4.6, 0.12
"""Meters: pavements of at least twice the first have joints this far apart and this wide."""
SHORE = 0.55
"""The share of mud from which a bank counts as soil."""
Color = tuple[float, float, float]


def _mix(low: Float32, high: Color | Float32, share: Float32) -> Float32:
    mixed: Float32 = low + (np.asarray(high, np.float32) - low) * share[..., None]
    return mixed


def _lot_field(lots: Sequence[Lot], canvas: Canvas) -> tuple[Float32, Float32]:
    """How well each pixel's lot is kept, and whether it is a thicket."""
    lawn = np.full(canvas.shape, 0.45, np.float32)
    wild = np.zeros(canvas.shape, np.float32)
    for lot in lots:
        outline = shapely.Polygon(lot.corners / canvas.resolution)
        found = canvas.pixels(*outline.bounds)
        if found is None:
            continue
        rows, columns = found
        x = np.arange(columns.start, columns.stop, dtype=np.float64)[None, :] + 0.5
        y = np.arange(rows.start, rows.stop, dtype=np.float64)[:, None] + 0.5
        mask = inside(outline, x, y)
        lawn[rows, columns][mask] = lot.lawn
        wild[rows, columns][mask] = lot.kind in ("wood", "meadow")
    return lawn, wild


def _leaf_litter(trees: Sequence[Tree], shape: tuple[int, int], resolution: float) -> Float32:
    """Where dead leaves lie, 0..1."""
    litter = np.zeros(shape, np.float32)
    for tree in trees:
        row, column = int(tree.y / resolution), int(tree.x / resolution)
        if 0 <= row < shape[0] and 0 <= column < shape[1]:
            litter[row, column] += tree.radius**2
    spread = 2.4 / resolution
    depth: Float32 = np.clip(blur(litter, spread) * np.float32(2 * spread**2 / 6), 0, 1)
    return depth


def paint_ground(canvas: Canvas, town: Town, fields: Fields, style: Style) -> None:
    """Paint lawn, soil and litter over the whole canvas, then creeks and ponds."""
    lawn, wild = _lot_field(town.plan.lots, canvas)
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


def _water(town: Town, base: Float32, kind: npt.NDArray[np.uint8], resolution: float, fields: Fields) -> None:
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
        kind[bank > SHORE] = BARE
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
        if min(slab.half_a, slab.half_b) > YARD:
            joint = np.minimum(np.abs(patch.a) % BAY, np.abs(patch.b) % BAY) < JOINT
            oil = np.clip(canvas.sample(fields.medium, rows, columns) - np.float32(1.3), 0, 1)
            tone = tone * (1 - np.float32(0.14) * joint) * (1 - np.float32(0.4) * oil)
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
    canvas: Canvas, town: Town, fields: Fields, where: tuple[slice, slice], plan: tuple[Float32, Float32]
) -> None:
    u, v = plan
    distance = town.street_distance(u, v)
    near = distance < VERGE + WALK
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
    street = _surface(town, u, v)
    tone = street.tone * (1 + 0.05 * coarse + 0.05 * medium + 0.05 * grain + 0.03 * fine)
    frayed = (1 - np.float32(town.kerb)) * np.clip(0.25 * medium + 0.2 * coarse, -0.6, 0.6)
    road = distance + frayed < 0
    albedo[road] = tone[road, None] * np.asarray((1.0, 0.99, 0.97), np.float32)
    marked = road & (street.paint > 0)
    worn = np.clip(0.75 + 0.3 * medium, 0.2, 1)[marked, None]
    line = np.asarray(LINES, np.float32)[street.paint[marked] - 1]
    albedo[marked] += (line - albedo[marked]) * worn
    gutter = (distance > -GUTTER) & (distance < KERB)
    clear = np.clip(np.float32(1.6 * town.kerb - 0.3) + 0.12 * coarse, 0, 1) * gutter
    walk = street.walk & (distance > VERGE) & (distance < VERGE + WALK)
    light = (0.32 * (1 + 0.08 * coarse + 0.06 * medium + 0.04 * grain))[:, None] * np.asarray(
        CONCRETE, np.float32
    )
    albedo += (light - albedo) * np.where(walk, np.float32(1), clear.astype(np.float32))[:, None]
    kind[road | walk | (clear > 0.5)] = PAVED  # noqa: PLR2004 (where concrete outweighs the verge)
    canvas.albedo[rows, columns][near] = albedo
    canvas.kind[rows, columns][near] = kind


@dataclass(frozen=True, slots=True)
class _Surface:
    tone: Float32
    """Reflectance of the nearest street."""
    paint: npt.NDArray[np.uint8]
    """0 none, 1 white, 2 yellow."""
    walk: npt.NDArray[np.bool_]
    """Whether the nearest street has a sidewalk on this side."""


def _surface(town: Town, u: Float32, v: Float32) -> _Surface:
    """What the nearest street is like, at places of the plan."""
    best = np.full(u.shape, 1e3, np.float32)
    tone = np.full(u.shape, 0.15, np.float32)
    paint = np.zeros(u.shape, np.uint8)
    walk = np.zeros(u.shape, np.bool_)
    for street in town.plan.streets:
        across = (u - np.float32(street.at)) if street.along_v else (v - np.float32(street.at))
        side = np.abs(across)
        distance = side - np.float32(street.half)
        if not street.along_v:
            ends = np.float32(4)  # the long street's surface runs on through the mouth of the crossing
            distance = np.maximum(distance, np.maximum(street.start + ends - u, u - street.stop + ends))
        mine = distance < best
        best[mine] = distance[mine]
        tone[mine] = np.float32(street.tone) * (
            1 + 0.06 * np.cos(across[mine] * np.float32(4 * np.pi / street.half))
        )
        walk[mine] = np.where(across[mine] < 0, *street.walks)
        paint[mine] = 0
        if street.main:
            paint[mine & (np.abs(side - DOUBLE) < HALF_LINE)] = 2
            paint[mine & (np.abs(side - street.half + 1.9) < HALF_LINE)] = 1
    for street in town.plan.streets:  # no paint within crossings
        if not street.along_v:
            crossing = (
                (np.abs(v - street.at) < street.half + 3) & (u > street.start - 9) & (u < street.stop + 9)
            )
            paint[crossing] = 0
    return _Surface(tone, paint, walk)
