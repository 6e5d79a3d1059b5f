"""Painting trees: crowns in leaf as lumps on the height map, leafless ones as branches that shade and veil."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoseg.testing.neighbourhood.canvas import F32, Canvas, Fields
from geoseg.testing.neighbourhood.classes import BARE, GRASS, TREE
from geoseg.testing.neighbourhood.plan import Tree

__all__ = ["Branches", "grow_branches", "paint_crowns"]

LEAVES: dict[str, tuple[float, float, float]] = {
    "oak": (0.060, 0.078, 0.036),
    "juniper": (0.036, 0.058, 0.034),
    "leaf": (0.075, 0.115, 0.038),
}


def _lobes(rng: np.random.Generator, tree: Tree) -> list[tuple[float, float, float, float]]:
    """The lumps of a crown: x, y, top, radius."""
    count = int(5 + tree.radius * 4)
    turn = rng.uniform(0, 2 * math.pi, count)
    far = np.sqrt(rng.uniform(0, 1, count)) * 0.78
    size = rng.uniform(0.24, 0.42, count) * tree.radius * (1 - 0.3 * far)
    top = tree.height * (1 - 0.45 * far**2) + rng.normal(0, 0.12, count) * tree.radius
    x, y = tree.x + far * tree.radius * np.cos(turn), tree.y + far * tree.radius * np.sin(turn)
    return list(zip(x.tolist(), y.tolist(), top.tolist(), size.tolist(), strict=True))


def paint_crowns(rng: np.random.Generator, canvas: Canvas, trees: Sequence[Tree], fields: Fields) -> None:
    """Raise crowns in leaf above the height map; leafless trees are left to `grow_branches`."""
    for tree in trees:
        lobes = _lobes(rng, tree)
        warm = rng.normal(0, 0.08)
        if tree.species == "bare":
            continue
        tint = np.asarray(LEAVES[tree.species]) * tree.tone * (1 + np.array((warm, 0.3 * warm, -0.5 * warm)))
        color = tint.astype(np.float32)
        for x, y, top, radius in lobes:
            found = canvas.cells(x - radius, y - radius, x + radius, y + radius)
            if found is None:
                continue
            rows, columns = found
            cx, cy = canvas.axes(rows, columns)
            square = (cx - np.float32(x)) ** 2 + (cy - np.float32(y)) ** 2
            leafy = canvas.sample(fields.fine, rows, columns)
            ragged = radius**2 * (1 + 0.22 * leafy) - square
            height = np.float32(top - radius) + np.sqrt(np.maximum(ragged, 0)) + 0.22 * leafy
            mask = (ragged > 0) & (height > canvas.height[rows, columns])
            tone = np.clip(1 + 0.16 * canvas.sample(fields.grain, rows, columns) + 0.12 * leafy, 0.4, 1.7)
            canvas.albedo[rows, columns][mask] = (tone[..., None] * color)[mask]
            canvas.height[rows, columns][mask] = height[mask]
            canvas.kind[rows, columns][mask] = TREE


@dataclass(frozen=True, slots=True)
class Branches:
    """Leafless trees on the image's pixels, float32 (H, W)."""

    cover: F32
    """Share of the pixel hidden by wood."""
    shade: F32
    """Share of the sunlight that wood takes away."""
    crown: F32
    """Above 0.5 within the outline of a leafless crown."""


def _wood(rng: np.random.Generator, tree: Tree) -> F32:
    """Points along a tree's branches, (n, 4): x, y, z in metres and width."""
    parts = []
    heads = np.array([[tree.x, tree.y, 0.0]])
    turns = np.array([rng.uniform(0, 2 * math.pi)])
    length, width = tree.radius * 0.2, 0.30
    for level, (split, reach, bend) in enumerate(
        ((1, 0.35, 0.2), (6, 0.38, 2.2), (3, 0.36, 0.6), (3, 0.28, 0.7), (3, 0.18, 0.8))
    ):
        heads, turns = np.repeat(heads, split, axis=0), np.repeat(turns, split)
        if level == 1:
            turns = turns + np.arange(split) * (2 * math.pi / split) + rng.normal(0, 0.35, split)
        else:
            turns = turns + rng.normal(0, bend, len(turns))
        length = tree.radius * reach * rng.uniform(0.6, 1.25, len(turns)) if level else np.full(1, 0.15)
        rise = (0.45, 0.22, 0.14, 0.08, 0.05)[level] * tree.height * rng.uniform(0.6, 1.2, len(turns))
        steps = np.linspace(0, 1, max(3, int(tree.radius * reach / 0.12)))
        course = np.stack([np.cos(turns) * length, np.sin(turns) * length, rise], axis=1)
        points = heads[:, None, :] + course[:, None, :] * steps[None, :, None]
        heads = heads + course
        thick = np.full((points[..., 0].size, 1), width)
        parts.append(np.concatenate([points.reshape(-1, 3), thick], axis=1))
        width *= 0.62
    return np.concatenate(parts).astype(np.float32)


def grow_branches(
    rng: np.random.Generator,
    canvas: Canvas,
    trees: Sequence[Tree],
    fields: Fields,
    shadow: tuple[float, float],
) -> Branches:
    """Draw leafless trees.

    Args:
        rng: the source of chance.
        canvas: gives the pixels, and receives the class of soft ground under crowns.
        trees: all trees; only those of species ``bare`` count.
        fields: noise, for the twigs.
        shadow: where a thing 1 m high casts the shadow of its top, metres (x, y).

    Returns:
        Cover and shade of branches and twigs.
    """
    h, w = canvas.shape
    cover, shade, crown = (np.zeros((h, w), np.float32) for _ in range(3))
    bare = [tree for tree in trees if tree.species == "bare"]
    for tree in bare:
        wood = _wood(rng, tree)
        for field, x, y in (
            (cover, wood[:, 0], wood[:, 1]),
            (shade, wood[:, 0] + shadow[0] * wood[:, 2], wood[:, 1] + shadow[1] * wood[:, 2]),
        ):
            _splat(
                field, x / canvas.resolution, y / canvas.resolution, wood[:, 3] * 0.12 / canvas.resolution**2
            )
        _veil(canvas, tree, fields, cover, crown, (0.0, 0.0))
        _veil(
            canvas, tree, fields, shade, None, (shadow[0] * tree.height * 0.7, shadow[1] * tree.height * 0.7)
        )
    soft = (crown > 0.5) & np.isin(canvas.centres(canvas.kind), (GRASS, BARE))  # noqa: PLR2004 (the outline)
    start = canvas.factor // 2
    canvas.kind[start :: canvas.factor, start :: canvas.factor][soft] = TREE
    return Branches(np.clip(cover, 0, 0.85), np.clip(shade, 0, 0.8), crown)


def _splat(field: F32, column: F32, row: F32, weight: F32) -> None:
    h, w = field.shape
    r, c = np.floor(row).astype(np.intp), np.floor(column).astype(np.intp)
    ok = (r >= 0) & (r < h) & (c >= 0) & (c < w)
    np.add.at(field, (r[ok], c[ok]), weight[ok])


def _veil(
    canvas: Canvas, tree: Tree, fields: Fields, field: F32, crown: F32 | None, shift: tuple[float, float]
) -> None:
    """The twigs: a thin veil over the crown."""
    x, y, reach = (
        (tree.x + shift[0]) / canvas.resolution,
        (tree.y + shift[1]) / canvas.resolution,
        tree.radius / canvas.resolution,
    )
    r0, r1 = max(0, int(y - reach)), min(canvas.shape[0], int(y + reach) + 2)
    c0, c1 = max(0, int(x - reach)), min(canvas.shape[1], int(x + reach) + 2)
    if r0 >= r1 or c0 >= c1:
        return
    dx = np.arange(c0, c1, dtype=np.float32)[None, :] + np.float32(0.5 - x)
    dy = np.arange(r0, r1, dtype=np.float32)[:, None] + np.float32(0.5 - y)
    near = 1 - np.hypot(dx, dy) / np.float32(reach) + 0.12 * fields.medium[r0:r1, c0:c1]
    twigs = np.clip(near * 2.5, 0, 1) * np.clip(0.16 + 0.10 * fields.fine[r0:r1, c0:c1], 0, 0.5)
    np.maximum(field[r0:r1, c0:c1], twigs, out=field[r0:r1, c0:c1], where=twigs > 0)
    if crown is not None:
        np.maximum(crown[r0:r1, c0:c1], np.clip(0.5 + near * 4, 0, 1) * (near > 0), out=crown[r0:r1, c0:c1])
