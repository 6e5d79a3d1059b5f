"""Painting trees in leaf: crowns are heaps of lumps on the height map."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from geoseg.arrays import Float32
from synthetic.neighborhood.canvas import Canvas, Fields
from synthetic.neighborhood.classes import TREE
from synthetic.neighborhood.plan import Tree

__all__ = ["paint_crowns"]

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
    """Raise crowns in leaf above the height map; leafless trees are left to `branches`."""
    for tree in trees:
        if tree.species == "bare":
            continue
        lobes = _lobes(rng, tree)
        warm = float(np.clip(rng.normal(0.02, 0.12), -0.2, 0.2))
        tint = np.asarray(LEAVES[tree.species]) * tree.tone * (1 + np.array((warm, 0.3 * warm, -0.5 * warm)))
        color = tint.astype(np.float32)
        for lobe in lobes:
            _raise(canvas, lobe, color, fields)


def _raise(canvas: Canvas, lobe: tuple[float, float, float, float], color: Float32, fields: Fields) -> None:
    """Paint one lump: x, y, top and radius in meters."""
    x, y, top, radius = lobe
    found = canvas.cells(x - radius, y - radius, x + radius, y + radius)
    if found is None:
        return
    rows, columns = found
    cx, cy = canvas.axes(rows, columns)
    square = (cx - np.float32(x)) ** 2 + (cy - np.float32(y)) ** 2
    leafy = canvas.sample(fields.fine, rows, columns)
    ragged = np.float32(radius**2) * (1 + np.float32(0.22) * leafy) - square
    height = np.float32(top - radius) + np.sqrt(np.maximum(ragged, 0)) + np.float32(0.22) * leafy
    mask = (ragged > 0) & (height > canvas.height[rows, columns])
    grain = canvas.sample(fields.grain, rows, columns)
    tone = np.clip(1 + np.float32(0.16) * grain + np.float32(0.12) * leafy, 0.4, 1.7)
    canvas.albedo[rows, columns][mask] = (tone[..., None] * color)[mask]
    canvas.height[rows, columns][mask] = height[mask]
    canvas.kind[rows, columns][mask] = TREE
