"""Painting leafless trees: branches that veil what is below and shade what is behind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoseg.arrays import Float32, Float64
from synthetic.neighborhood.canvas import Canvas, Fields
from synthetic.neighborhood.classes import BARE, GRASS, TREE
from synthetic.neighborhood.plan import Tree

__all__ = ["Branches", "grow_branches"]

FORKS = (
    (1, 0.06, 0.45, 0.2),
    (6, 0.36, 0.22, 2.2),
    (3, 0.34, 0.14, 0.6),
    (3, 0.27, 0.08, 0.7),
    (3, 0.18, 0.05, 0.8),
    (2, 0.10, 0.02, 0.9),
)
"""Trunk, then branches: how many per parent, length per radius, rise per height, spread in radians."""
TRUNK, TAPER = 0.22, 0.62
"""Width of the trunk in meters, and of each level as a share of its parent's."""
STEP = 0.12
"""Spacing of the points that draw a branch, meters."""
OUTLINE = 0.5
"""Where the crown's outline of a leafless crown runs, in nearness."""


@dataclass(frozen=True, slots=True)
class Branches:
    """Leafless trees on the image's pixels, float32 (H, W)."""

    cover: Float32
    """Share of the pixel hidden by wood."""
    shade: Float32
    """Share of the sunlight that wood takes away."""


def _wood(rng: np.random.Generator, tree: Tree) -> Float64:
    """Points along a tree's branches, (n, 4): x, y, z and width, meters."""
    parts = []
    heads = np.array([[tree.x, tree.y, 0.0]])
    turns = np.array([rng.uniform(0, 2 * math.pi)])
    width = TRUNK
    for level, (split, reach, rise, spread) in enumerate(FORKS):
        heads, turns = np.repeat(heads, split, axis=0), np.repeat(turns, split)
        if level == 1:
            turns = turns + np.arange(split) * (2 * math.pi / split) + rng.normal(0, 0.35, split)
        else:
            turns = turns + rng.normal(0, spread, len(turns))
        length = tree.radius * reach * rng.uniform(0.6, 1.25, len(turns))
        up = tree.height * rise * rng.uniform(0.6, 1.2, len(turns))
        course = np.stack([np.cos(turns) * length, np.sin(turns) * length, up], axis=1)
        steps = np.linspace(0, 1, max(3, int(np.hypot(tree.radius * reach, tree.height * rise) / STEP)))
        points = (heads[:, None, :] + course[:, None, :] * steps[None, :, None]).reshape(-1, 3)
        heads = heads + course
        parts.append(np.column_stack([points, np.full(len(points), width)]))
        width *= TAPER
    return np.concatenate(parts)


def grow_branches(
    rng: np.random.Generator,
    canvas: Canvas,
    trees: Sequence[Tree],
    fields: Fields,
    *,
    shadow: tuple[float, float],
) -> Branches:
    """Draw leafless trees.

    Args:
        rng: the source of chance.
        canvas: gives the pixels, and receives the class of soft ground under crowns.
        trees: all trees; only those of species ``bare`` count.
        fields: noise, for the twigs.
        shadow: where a thing 1 m high casts the shadow of its top, meters (x, y).

    Returns:
        Cover and shade of branches and twigs.
    """
    cover, shade, crown = (np.zeros(canvas.shape, np.float32) for _ in range(3))
    down = np.array(shadow)
    woods = []
    for tree in trees:
        if tree.species != "bare":
            continue
        woods.append(_wood(rng, tree))
        reach = tree.radius / canvas.resolution
        middle = np.array([tree.x, tree.y])
        twigs = _twigs(canvas, middle / canvas.resolution, reach, fields)
        if twigs is not None:
            rows, columns, near, veil = twigs
            np.maximum(cover[rows, columns], veil, out=cover[rows, columns])
            np.maximum(crown[rows, columns], near, out=crown[rows, columns])
        twigs = _twigs(canvas, (middle + 0.7 * tree.height * down) / canvas.resolution, reach, fields)
        if twigs is not None:
            rows, columns, _, veil = twigs
            np.maximum(shade[rows, columns], 1.4 * veil, out=shade[rows, columns])
    if woods:
        wood = np.concatenate(woods)
        ink = wood[:, 3] * STEP / canvas.resolution**2
        _splat(cover, wood[:, :2] / canvas.resolution, ink)
        _splat(shade, (wood[:, :2] + wood[:, 2:3] * down) / canvas.resolution, ink)
    soft = (crown > OUTLINE) & np.isin(canvas.centers(canvas.kind), (GRASS, BARE))
    start = canvas.factor // 2
    canvas.kind[start :: canvas.factor, start :: canvas.factor][soft] = TREE
    return Branches(np.clip(cover, 0, 0.85), np.clip(shade, 0, 0.8))


def _splat(field: Float32, places: Float64, ink: Float64) -> None:
    """Add ink at places (x, y) in pixels; what falls outside is lost."""
    h, w = field.shape
    column, row = np.floor(places.T).astype(np.intp)
    ok = (row >= 0) & (row < h) & (column >= 0) & (column < w)
    field += np.bincount(row[ok] * w + column[ok], ink[ok], h * w).astype(np.float32).reshape(h, w)


def _twigs(
    canvas: Canvas, middle: Float64, reach: float, fields: Fields
) -> tuple[slice, slice, Float32, Float32] | None:
    """The veil of twigs about ``middle`` (pixels): rows, columns, nearness (0.5 at the outline), cover."""
    x, y = float(middle[0]), float(middle[1])
    found = canvas.pixels(x - reach, y - reach, x + reach, y + reach)
    if found is None:
        return None
    rows, columns = found
    dx = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] + np.float32(0.5 - x)
    dy = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + np.float32(0.5 - y)
    inner = 1 - np.hypot(dx, dy) / np.float32(reach) + np.float32(0.12) * fields.medium[rows, columns]
    veil = np.clip(inner * 2.5, 0, 1) * np.clip(
        0.26 + 0.11 * fields.fine[rows, columns] + 0.08 * fields.grain[rows, columns], 0, 0.6
    )
    near = np.clip(OUTLINE + inner * 4, 0, 1) * (inner > 0)
    return rows, columns, near.astype(np.float32), veil.astype(np.float32)
