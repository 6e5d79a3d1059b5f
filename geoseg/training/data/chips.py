"""Chips: what a network trains on, each a pure function of the seed and its number."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from geoseg.errors import LabelError
from geoseg.grid.encoding import IGNORE
from geoseg.grid.window import Window, mirrored
from geoseg.training.data.augment import ColorSettings, Geometry, Limits, cut_holes, jitter, warp
from geoseg.training.data.index import index_scene, value_range
from geoseg.training.data.scenes import training_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from geoseg.arrays import Int64
    from geoseg.training.data.index import SceneIndex
    from geoseg.training.data.scenes import LabeledScene

__all__ = ["Chip", "ChipSampler", "ChipSettings"]


class Chip(NamedTuple):
    """One training example, or a batch of them with a leading axis."""

    pixels: Tensor  # float (C, S, S), in stored units
    valid: Tensor  # bool (S, S)
    labels: Tensor  # int64 (S, S): class ids, 255 ignored


@dataclass(frozen=True, slots=True)
class ChipSettings:
    """Size, scales and colors of chips."""

    size: int | tuple[int, ...] = 256  # side in pixels; of several, each batch has one, drawn evenly
    resolution: float = 0.3  # meters on the ground per chip pixel that the network is made for
    scales: tuple[float, float] = (0.7, 1.4)  # range of factors on that, drawn evenly in the logarithm
    rotate: float = 0.3  # probability of a free rotation of up to 45° besides flips and quarter turns
    flips: tuple[str, ...] = ("horizontal", "vertical", "turns")  # what is drawn
    focus: float = 0.5  # probability that the center is of a class drawn evenly, not any labeled pixel
    color: ColorSettings = field(default_factory=ColorSettings)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sides, as a tuple."""
        return (self.size,) if isinstance(self.size, int) else self.size

    @property
    def finest(self) -> float:
        """Finest ground resolution of a chip, in meters: scenes need not be read finer than this."""
        return self.resolution * self.scales[0]

    def source_side(self, resolution: float) -> int:
        """Side of the largest square that a chip is cut from, in pixels of a scene of this resolution."""
        angle = 45.0 if self.rotate else 0.0
        return Geometry(resolution / (self.resolution * self.scales[1]), angle, 0, flip=False).source_side(
            max(self.sizes)
        )


class ChipSampler:
    """Draws chips from labeled scenes.

    Chip ``i`` depends on the seed and ``i`` alone (and its size on the seed and the batch), so a training
    resumes at any step with the chips it would have seen, and batches may be cut in any order, thread or
    process. Labels of held-out blocks, of their margins and of pixels outside the labeled area are 255 in
    every chip.

    A sampler of file scenes pickles to a few kilobytes a scene: its copy opens files of its own.

    Args:
        scenes: Where chips come from, in proportion to their weights; those that are held out as a whole
            give none.
        indexes: Of the scenes, where they are known; else the scenes are read once for them.

    Raises:
        LabelError: no scene, scenes with different numbers of bands or data types, or nothing to train on.
    """

    def __init__(
        self,
        scenes: Sequence[LabeledScene],
        settings: ChipSettings,
        *,
        seed: int,
        indexes: Sequence[SceneIndex] | None = None,
    ) -> None:
        if not scenes:
            raise LabelError("training needs at least one labeled scene")
        kinds = {(s.bands, s.dtype) for s in scenes}
        if len(kinds) > 1:
            listed = ", ".join(f"{s.name} {s.bands}×{s.dtype}" for s in scenes[:8])
            raise LabelError(f"scenes to train on must agree in bands and data type, got {listed}")
        self.scenes = tuple(scenes)
        self.settings = settings
        self.seed = seed
        self.indexes = tuple(indexes or map(index_scene, scenes))
        weights = np.array([s.weight if i.pixels else 0.0 for s, i in zip(scenes, self.indexes, strict=True)])
        if not weights.any():
            raise LabelError(
                f"{'scene ' + scenes[0].name if len(scenes) == 1 else f'{len(scenes)} scenes'}: no pixel is "
                "labeled and left to train on; the held-out blocks take all of it: give a split.block "
                f"smaller than {max(s.split.block for s in scenes):g} m, or more scenes"
            )
        self._shares = weights / weights.sum()
        self.limits = (
            Limits.of_bytes(scenes[0].bands)
            if scenes[0].dtype == np.uint8
            else Limits.of_range(value_range(self.indexes))
        )
        """What changes of color work in: 0 to 255 of 8 bits, else the values' measured range."""

    @property
    def epoch(self) -> int:
        """Chips (of the mean size) that together cover the labeled area once."""
        ground = sum(i.pixels * s.resolution**2 for s, i in zip(self.scenes, self.indexes, strict=True))
        sides = np.array(self.settings.sizes, float) * self.settings.resolution
        return max(1, round(ground / float(np.mean(sides**2))))

    @property
    def identity(self) -> str:
        """All that decides the chips: scenes, labels (their counts by tile), split, settings, seed."""
        scenes = [
            (s.name, s.identity, s.weight, s.split, i.tiles, i.counts.tolist())
            for s, i in zip(self.scenes, self.indexes, strict=True)
        ]
        return hashlib.sha256(repr((scenes, self.settings, self.seed)).encode()).hexdigest()

    def scenes_of(self, step: int, size: int) -> tuple[str, ...]:
        """Names of the scenes that the chips of a batch are cut from, one per chip."""
        numbers = range(step * size, (step + 1) * size)
        return tuple(self.scenes[self._draw(number)[0]].name for number in numbers)

    def size_at(self, step: int) -> int:
        """Side of the chips of a batch."""
        sizes = self.settings.sizes
        if len(sizes) == 1:
            return sizes[0]
        return sizes[int(np.random.default_rng((self.seed, step, 1)).integers(len(sizes)))]

    def chip(self, index: int, size: int | None = None) -> Chip:
        """Chip of this number and side; None: the first of the settings."""
        image, good, ids, rng = self._uncolored(index, size)
        return Chip(jitter(image, self.limits, self.settings.color, rng), good, ids)

    def newly_clipped(self, chips: int = 12) -> float:
        """Share of the values of the first chips that changes of color push to the ends of their limits."""
        shares = []
        for index in range(chips):
            image, good, _, rng = self._uncolored(index, None)
            changed = jitter(image, self.limits, self.settings.color, rng)
            shares.append(self.limits.clipped(changed, good) - self.limits.clipped(image, good))
        return max(0.0, sum(shares) / chips)

    def _uncolored(self, index: int, size: int | None) -> tuple[Tensor, Tensor, Tensor, np.random.Generator]:
        """A chip before its colors are changed, and the generator of what follows."""
        settings = self.settings
        side_out = settings.sizes[0] if size is None else size
        which, rng = self._draw(index)
        scene = self.scenes[which]
        geometry = self._geometry(scene.resolution, rng)
        row, col = self._center(which, rng)
        side = geometry.source_side(side_out)
        # Off the center by up to a quarter, so that what was drawn for its class is not always in the middle.
        shift = rng.integers(-(side // 4), side // 4 + 1, 2)
        top, left = row + int(shift[0]) - side // 2, col + int(shift[1]) - side // 2
        pixels, valid, labels = _cut(scene, top, left, side)
        image, good, ids = warp(pixels, valid, labels, side_out, geometry)
        good, ids = cut_holes(good, ids, settings.color, rng)
        return image, good, ids, rng

    def batch(self, step: int, size: int, *, part: tuple[int, int] = (0, 1)) -> Chip:
        """Chips ``step × size`` … of a batch: float (N, C, S, S), bool (N, S, S), int64 (N, S, S).

        Args:
            part: (i, n): only chips i, i + n, i + 2n … of it, for process i of n that share a batch.
        """
        first, stride = part
        side = self.size_at(step)
        chips = [self.chip(step * size + i, side) for i in range(first, size, stride)]
        return Chip(*(torch.stack(parts) for parts in zip(*chips, strict=True)))

    def _draw(self, index: int) -> tuple[int, np.random.Generator]:
        """The scene of a chip, and the generator of all that follows."""
        rng = np.random.default_rng((self.seed, index))
        return int(rng.choice(len(self.scenes), p=self._shares)), rng

    def _geometry(self, resolution: float, rng: np.random.Generator) -> Geometry:
        settings = self.settings
        low, high = (math.log(s) for s in settings.scales)
        drawn = settings.resolution * math.exp(rng.uniform(low, high))
        angle = float(rng.uniform(-45.0, 45.0)) if rng.uniform() < settings.rotate else 0.0
        turns, across, down = (int(n) for n in rng.integers((4, 2, 2)))
        turns *= "turns" in settings.flips
        across *= "horizontal" in settings.flips
        down *= "vertical" in settings.flips
        # Upside down is mirrored and turned by half.
        return Geometry(resolution / drawn, angle, (turns + 2 * down) % 4, bool(across ^ down))

    def _center(self, which: int, rng: np.random.Generator) -> tuple[int, int]:
        scene, index = self.scenes[which], self.indexes[which]
        focused = rng.uniform() < self.settings.focus
        klass = int(rng.choice(index.classes))
        total = int(index.counts[:, klass].sum()) if focused else index.pixels
        window, number = index.locate(klass if focused else None, int(rng.integers(total)))
        labels = training_labels(scene, window, scene.patch(window).labels)
        flat = np.flatnonzero(labels == klass if focused else labels != IGNORE)[number]
        row, col = divmod(int(flat), window.width)
        return window.row + row, window.col + col


def _cut(scene: LabeledScene, top: int, left: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """A square of a scene with its training labels; past its edges pixels are reflected, without labels."""
    height, width = scene.shape
    # Moved inside where it fits: reflected margins teach little.
    top = min(max(top, 0), height - side) if side <= height else (height - side) // 2
    left = min(max(left, 0), width - side) if side <= width else (width - side) // 2
    wanted = Window(top, left, side, side)
    inside, place = mirrored(wanted, scene.shape)
    patch = scene.patch(inside)
    pixels = patch.pixels[:, *place] if inside != wanted else patch.pixels
    valid = patch.valid[place] if inside != wanted else patch.valid
    labels: Int64 = np.full((side, side), IGNORE, np.int64)
    known = wanted.intersect(Window(0, 0, height, width))
    assert known is not None
    seen = training_labels(scene, inside, patch.labels)
    labels[known.relative_to(wanted).slices] = seen[known.relative_to(inside).slices]
    return (
        torch.from_numpy(pixels.astype(np.float32)),
        torch.from_numpy(np.ascontiguousarray(valid)),
        torch.from_numpy(labels),
    )
