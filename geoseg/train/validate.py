"""Score of a network on the held-out blocks, at the resolution it is made for."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from geoseg.errors import LabelError
from geoseg.score.confusion import Confusion
from geoseg.train.losses import IGNORE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.train.scenes import LabelledScene

__all__ = ["Score", "Validation", "resampled"]

_ALIGNMENT = 64
"""Windows are padded to multiples of this: the coarsest of the networks' alignments."""


class _Window(NamedTuple):
    group: str
    pixels: NDArray[Any]
    valid: NDArray[np.bool_]
    labels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Score:
    """What the held-out blocks say."""

    chosen: float
    """What the weights are chosen by: mean over places of the mean IoU of the scored classes."""
    iou: dict[str, tuple[float | None, ...]]
    """IoU per place and class; None where a class neither occurs nor is predicted."""
    pixels: dict[str, int]
    """Labelled pixels per place."""


class Validation:
    """Windows of the size that maps are made in, scored inside the held-out blocks only.

    Args:
        scenes: Labelled scenes; those without held-out pixels are left out.
        resolution: Metres on the ground per pixel that the network is made for: scenes are resampled to it.
        classes: Number of classes.
        scored: Classes whose IoU counts in the choice (the others are reported).
        window: Side of the largest window, in pixels. Nothing else shows how a network does in windows larger
            than its chips: with dilated convolutions it may fail there.
        context: Pixels at a window's inner edges that the network sees but is not scored on.

    Raises:
        LabelError: no scene that takes part in the choice has a held-out pixel.
    """

    def __init__(
        self,
        scenes: Sequence[LabelledScene],
        *,
        resolution: float,
        classes: int,
        scored: Sequence[int],
        window: int = 1024,
        context: int = 96,
    ) -> None:
        self.classes, self.scored = classes, tuple(scored)
        self._windows: list[_Window] = []
        self._choosing: set[str] = set()
        for scene in scenes:
            found = _windows(scene, resolution, window, context)
            self._windows += found
            if found and scene.chooses:
                self._choosing.add(scene.group)
        if not self._choosing:
            raise LabelError(
                "no scene has a held-out block to choose weights by: add scenes, or make blocks smaller"
            )

    def score(self, logits: Callable[[Tensor, Tensor], Tensor]) -> Score:
        """Confusion over all windows.

        Args:
            logits: Takes stored pixels (1, C, H, W) and validity (1, H, W), gives logits (1, K, H, W).
        """
        tables: dict[str, Confusion] = {}
        for window in self._windows:
            pixels = torch.from_numpy(window.pixels.astype(np.float32))[None]
            found = logits(pixels, torch.from_numpy(window.valid)[None])[0].argmax(0).numpy()
            table = Confusion.of(window.labels, found, self.classes)
            tables[window.group] = tables.get(window.group, Confusion.zeros(self.classes)) + table
        iou = {group: table.iou for group, table in tables.items()}
        chosen = fmean(self._mean(iou[group]) for group in sorted(self._choosing))
        return Score(chosen, iou, {group: table.pixels for group, table in tables.items()})

    def _mean(self, iou: tuple[float | None, ...]) -> float:
        """Mean over the scored classes that are there; 0 where none is."""
        found = [value for c in self.scored if (value := iou[c]) is not None]
        return fmean(found) if found else 0.0


def _windows(scene: LabelledScene, resolution: float, size: int, context: int) -> list[_Window]:
    """Windows that together cover the scene's held-out blocks once, at the network's resolution."""
    pixels, valid, labels = resampled(scene, resolution)
    height, width = valid.shape
    held = scene.split.held_out((height, width), resolution)
    labels = np.where(valid & held, labels, np.uint8(IGNORE))
    windows = []
    for rows, inner_rows in _spans(height, size, context):
        for cols, inner_cols in _spans(width, size, context):
            ids: NDArray[np.uint8] = np.full(labels.shape, IGNORE, np.uint8)
            ids[inner_rows, inner_cols] = labels[inner_rows, inner_cols]
            seen: NDArray[np.uint8] = ids[rows, cols]
            if not (seen != IGNORE).any():
                continue
            # Below and to the right of the scene there is no data, as in a padded window of a map.
            lack = [(0, -length % _ALIGNMENT) for length in seen.shape]
            windows.append(
                _Window(
                    scene.group,
                    np.pad(pixels[:, rows, cols], [(0, 0), *lack]),
                    np.pad(valid[rows, cols], lack),
                    np.pad(seen, lack, constant_values=IGNORE),
                )
            )
    return windows


def _spans(length: int, size: int, context: int) -> list[tuple[slice, slice]]:
    """Windows along one axis, each with the part that it is scored in; the parts cover the axis once."""
    if length <= size:
        return [(slice(0, length), slice(0, length))]
    step = size - 2 * context
    spans = []
    for start in range(0, length, step):
        first = min(max(start - context, 0), length - size)
        spans.append((slice(first, first + size), slice(start, min(start + step, length))))
    return spans


def resampled(
    scene: LabelledScene, resolution: float
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]]:
    """A scene at another ground resolution: pixels averaged or bilinear, validity and labels nearest.

    Args:
        scene: Labelled scene.
        resolution: Metres on the ground per pixel; the footprint becomes the nearest whole number of them.

    Returns:
        Pixels (C, H, W), validity (H, W), labels (H, W); the scene's own arrays where nothing changes.
    """
    factor = scene.resolution / resolution
    shape = (max(round(scene.shape[0] * factor), 1), max(round(scene.shape[1] * factor), 1))
    if shape == scene.shape:
        return scene.pixels, scene.valid, scene.labels
    image = torch.from_numpy(scene.pixels.astype(np.float32))[None]
    image = functional.interpolate(image, shape, mode="bilinear", align_corners=False, antialias=True)
    ids = torch.from_numpy(np.where(scene.valid, scene.labels, np.uint8(IGNORE)))[None, None]
    good = torch.from_numpy(scene.valid.astype(np.uint8))[None, None]
    ids, good = (functional.interpolate(layer, shape, mode="nearest-exact")[0, 0] for layer in (ids, good))
    return image[0].numpy(), good.numpy().astype(bool), ids.numpy()
