"""Score of a network on the held-out blocks, at the resolution it is made for."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from geoseg.errors import LabelError
from geoseg.grid.encoding import IGNORE
from geoseg.grid.window import Window, mirrored
from geoseg.models.networks.network import without_border
from geoseg.score.pixels.confusion import Confusion
from geoseg.training.data.scenes import validation_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from geoseg.arrays import Array, Bool, Float32, UInt8
    from geoseg.training.data.scenes import LabeledScene

__all__ = ["Score", "Validation", "ValidationWindow"]

_ALIGNMENT = 64
"""Windows smaller than asked for are a multiple of this: the coarsest of the networks' alignments."""


class _Place(NamedTuple):
    scene: int
    window: Window  # what the network sees; it may reach past the scene's edges, where the scene is mirrored
    inner: Window  # what of it is scored, inside the scene


class ValidationWindow(NamedTuple):
    """A window as the network sees it, and what is scored of it."""

    scene: LabeledScene  # at the network's resolution
    window: Window
    pixels: Float32  # (C, H, W), stored units
    valid: Bool  # (H, W)
    targets: UInt8  # (H, W): ids in the held-out blocks that this window scores; 255 elsewhere
    labels: UInt8  # the same with classes only: borders count as what they are the border of


@dataclass(frozen=True, slots=True)
class Score:
    """What the held-out blocks say."""

    chosen: float  # mean over places of the mean IoU of the scored classes: weights are chosen by it
    iou: dict[str, tuple[float | None, ...]]  # per place and class; None where neither there nor predicted
    pixels: dict[str, int]  # labeled pixels per place
    loss: float | None = None  # mean over the labeled pixels of the places that choose; None: not asked for


class Validation:
    """Windows of the size that maps are made in, scored inside the held-out blocks only.

    Windows are read when they are scored, at the scenes' edges mirrored as a map's are.

    Args:
        scenes: Labeled scenes; those without held-out pixels are left out.
        resolution: Meters on the ground per pixel that the network is made for: scenes are read at it.
        scored: Classes whose IoU counts in the choice (the others are reported).
        window: Side of the windows, in pixels. Nothing else shows how a network does in windows larger
            than its chips: with dilated convolutions it may fail there.
        context: Pixels at a window's edges that the network sees but is not scored on.
        border: Whether labels and network have one more id, the border between objects of class 1.

    Raises:
        LabelError: no scene that takes part in the choice has a held-out pixel.
    """

    def __init__(
        self,
        scenes: Sequence[LabeledScene],
        *,
        resolution: float,
        classes: int,
        scored: Sequence[int],
        window: int = 1024,
        context: int = 96,
        border: bool = False,
    ) -> None:
        if 2 * context >= window:
            raise LabelError(f"windows of {window} px have nothing inside a context of {context} px")
        self.classes, self.scored, self.border = classes, tuple(scored), border
        self.scenes = tuple(scene.at(resolution) for scene in scenes)
        self._places = [
            place
            for number, scene in enumerate(self.scenes)
            for place in _places(scene, number, window, context)
            if (self._seen(place).labels != IGNORE).any()
        ]
        self.choosing = {
            self.scenes[place.scene].group for place in self._places if self.scenes[place.scene].chooses
        }
        """Places that take part in the choice."""
        if not self.choosing:
            raise LabelError(
                "no scene has a held-out block to choose weights by: add scenes, or make blocks smaller"
            )

    def __len__(self) -> int:
        return len(self._places)

    def windows(self) -> Iterator[ValidationWindow]:
        """All windows, scene by scene; together they hold each held-out pixel once."""
        return map(self._seen, self._places)

    def score(
        self,
        logits: Callable[[Tensor, Tensor], Tensor],
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Score:
        """Confusion over all windows.

        Args:
            logits: Takes stored pixels (1, C, H, W) and validity (1, H, W), gives logits (1, K, H, W).
            loss: Takes logits (1, K, H, W) and ids (1, H, W), 255 ignored, gives a scalar.
        """
        tables: dict[str, Confusion] = {}
        losses: list[tuple[float, int]] = []
        for seen in self.windows():
            pixels, valid = torch.from_numpy(seen.pixels)[None], torch.from_numpy(seen.valid)[None]
            found = logits(pixels, valid)
            group = seen.scene.group
            mapped = without_border(found, self.classes)[0].argmax(0).cpu().numpy()
            table = Confusion.of(seen.labels, mapped, self.classes)
            tables[group] = tables.get(group, Confusion.zeros(self.classes)) + table
            if loss is not None and group in self.choosing:
                ids = torch.from_numpy(seen.targets.astype(np.int64))[None].to(found.device)
                losses.append((float(loss(found, ids)), table.pixels))
        iou = {group: table.iou for group, table in tables.items()}
        chosen = fmean(self._mean(iou[group]) for group in sorted(self.choosing))
        counted = sum(count for _, count in losses)
        mean = sum(value * count for value, count in losses) / counted if counted else None
        return Score(chosen, iou, {group: table.pixels for group, table in tables.items()}, mean)

    def _mean(self, iou: tuple[float | None, ...]) -> float:
        """Mean over the scored classes that are there; 0 where none is."""
        found = [value for c in self.scored if (value := iou[c]) is not None]
        return fmean(found) if found else 0.0

    def _seen(self, place: _Place) -> ValidationWindow:
        scene = self.scenes[place.scene]
        inside, at = mirrored(place.window, scene.shape)
        patch = scene.patch(inside)
        pixels: Array = patch.pixels if inside == place.window else patch.pixels[:, *at]
        valid = patch.valid if inside == place.window else patch.valid[at]
        targets = np.full(place.window.shape, IGNORE, np.uint8)
        held = validation_labels(scene, inside, patch.labels)
        targets[place.inner.relative_to(place.window).slices] = held[place.inner.relative_to(inside).slices]
        labels = np.where(targets == self.classes, np.uint8(1), targets) if self.border else targets
        return ValidationWindow(
            scene, place.window, pixels.astype(np.float32), np.ascontiguousarray(valid), targets, labels
        )


def _places(scene: LabeledScene, number: int, size: int, context: int) -> Iterator[_Place]:
    """Windows that together cover the scene's held-out blocks once."""
    tiles = scene.tiles()
    rows, cols = (_spans(length, size, context) for length in scene.shape)
    for top, height, row, tall in rows:
        for left, width, col, wide in cols:
            inner = Window(row, col, tall, wide)
            origin = (scene.origin[0] + row, scene.origin[1] + col)
            held = scene.split.held_out(inner.shape, scene.resolution, origin=origin)
            if held.any() and any(inner.intersect(tile) is not None for tile in tiles):
                yield _Place(number, Window(top, left, height, width), inner)


def _spans(length: int, size: int, context: int) -> list[tuple[int, int, int, int]]:
    """Windows along one axis: start and length of each, and of the part that it is scored in."""
    if length <= size - 2 * context:
        whole = min(size, -(-(length + 2 * context) // _ALIGNMENT) * _ALIGNMENT)
        return [(-((whole - length) // 2), whole, 0, length)]
    step = size - 2 * context
    return [(start - context, size, start, min(step, length - start)) for start in range(0, length, step)]
