"""Chips: what a network trains on, each a pure function of the seed and its number."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from geoseg.errors import LabelError
from geoseg.grid.window import reflected
from geoseg.train.augment import ColourSettings, Geometry, cut_holes, jitter, warp
from geoseg.train.losses import IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.train.scenes import LabelledScene

__all__ = ["Chip", "ChipSampler", "ChipSettings"]


class Chip(NamedTuple):
    """One training example, or a batch of them with a leading axis."""

    pixels: Tensor
    """Float (C, S, S), in stored units."""
    valid: Tensor
    """Bool (S, S)."""
    labels: Tensor
    """int64 (S, S): class ids, 255 ignored."""


@dataclass(frozen=True, slots=True)
class ChipSettings:
    """Size, scales and colours of chips."""

    size: int = 256
    """Side in pixels."""
    resolution: float = 0.3
    """Metres on the ground per chip pixel that the network is made for."""
    scales: tuple[float, float] = (0.7, 1.4)
    """Range of factors on that resolution, drawn evenly in the logarithm."""
    rotate: float = 0.3
    """Probability of a free rotation of up to 45° besides flips and quarter turns."""
    focus: float = 0.5
    """Probability that a chip's centre is a pixel of a class drawn evenly, not any labelled pixel."""
    colour: ColourSettings = field(default_factory=ColourSettings)
    """Colour and sensor."""


class ChipSampler:
    """Draws chips from labelled scenes.

    Chip ``i`` depends on the seed and ``i`` alone, so a training resumes at any step with the chips it would
    have seen, and batches may be cut in any order or process. Labels of held-out blocks, of their margins and
    of pixels outside the labelled area are 255 in every chip.

    Args:
        scenes: Where chips come from, in proportion to their weights.
        settings: Size, scales, colours.
        seed: Not negative.

    Raises:
        LabelError: no scene, or scenes with different numbers of bands or data types.
    """

    def __init__(self, scenes: Sequence[LabelledScene], settings: ChipSettings, *, seed: int) -> None:
        if not scenes:
            raise LabelError("training needs at least one labelled scene")
        kinds = {(s.pixels.shape[0], s.pixels.dtype) for s in scenes}
        if len(kinds) > 1:
            listed = ", ".join(f"{s.name} {s.pixels.shape[0]}×{s.pixels.dtype}" for s in scenes[:8])
            raise LabelError(f"scenes to train on must agree in bands and data type, got {listed}")
        self.scenes = tuple(scenes)
        self.settings = settings
        self.seed = seed
        weights = np.array([s.weight for s in scenes])
        self._shares = weights / weights.sum()
        self._labels = [s.training_labels() for s in scenes]
        # Per scene: flat positions of trainable pixels, by class; thinned, since a centre needs no more.
        self._centres = [_positions(labels) for labels in self._labels]
        dtype = scenes[0].pixels.dtype
        self.top = (
            float(np.iinfo(dtype).max) if dtype.kind in "ui" else max(float(s.pixels.max()) for s in scenes)
        )

    def chip(self, index: int) -> Chip:
        """Chip of this number."""
        settings = self.settings
        rng = np.random.default_rng((self.seed, index))
        which = int(rng.choice(len(self.scenes), p=self._shares))
        scene = self.scenes[which]
        low, high = (math.log(s) for s in settings.scales)
        resolution = settings.resolution * math.exp(rng.uniform(low, high))
        angle = float(rng.uniform(-45.0, 45.0)) if rng.uniform() < settings.rotate else 0.0
        geometry = Geometry(scene.resolution / resolution, angle, int(rng.integers(4)), bool(rng.integers(2)))
        row, col = self._centre(which, rng)
        side = geometry.reach(settings.size)
        # Off the centre by up to a quarter, so that what was drawn for its class is not always in the middle.
        shift = rng.integers(-(side // 4), side // 4 + 1, 2)
        top, left = row + int(shift[0]) - side // 2, col + int(shift[1]) - side // 2
        pixels, valid, labels = self._cut(which, top, left, side)
        image, good, ids = warp(pixels, valid, labels, settings.size, geometry)
        good, ids = cut_holes(good, ids, settings.colour, rng)
        return Chip(jitter(image, self.top, settings.colour, rng), good, ids)

    def batch(self, step: int, size: int) -> Chip:
        """Chips ``step × size`` … of a batch: float (N, C, S, S), bool (N, S, S), int64 (N, S, S)."""
        chips = [self.chip(step * size + i) for i in range(size)]
        return Chip(*(torch.stack(parts) for parts in zip(*chips, strict=True)))

    def _centre(self, which: int, rng: np.random.Generator) -> tuple[int, int]:
        by_class = self._centres[which]
        focused = rng.uniform() < self.settings.focus
        positions = by_class[int(rng.integers(1, len(by_class))) if focused else 0]
        flat = int(positions[int(rng.integers(len(positions)))])
        return divmod(flat, self.scenes[which].shape[1])

    def _cut(self, which: int, top: int, left: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
        """A square of the scene; past its edges pixels are reflected, without labels."""
        scene = self.scenes[which]
        height, width = scene.shape
        # Moved inside where it fits: reflected margins teach little.
        top = min(max(top, 0), height - side) if side <= height else (height - side) // 2
        left = min(max(left, 0), width - side) if side <= width else (width - side) // 2
        rows, cols = reflected(top, top + side, height), reflected(left, left + side, width)
        box = np.ix_(rows, cols)
        pixels = scene.pixels[:, rows[:, None], cols[None, :]].astype(np.float32)
        labels = self._labels[which][box].astype(np.int64)
        outside_rows = (np.arange(top, top + side) < 0) | (np.arange(top, top + side) >= height)
        outside_cols = (np.arange(left, left + side) < 0) | (np.arange(left, left + side) >= width)
        labels[outside_rows] = IGNORE
        labels[:, outside_cols] = IGNORE
        return torch.from_numpy(pixels), torch.from_numpy(scene.valid[box]), torch.from_numpy(labels)


def _positions(labels: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
    """Flat positions of all labelled pixels, then of each class that occurs."""
    flat = labels.ravel()
    groups = [np.flatnonzero(flat != IGNORE)]
    groups += [np.flatnonzero(flat == c) for c in np.unique(flat) if c != IGNORE]
    return [g[:: max(len(g) // 200_000, 1)] for g in groups]
