"""Score of a network on the held-out blocks, at the resolution it is made for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from geoseg.errors import LabelError
from geoseg.train.losses import IGNORE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.train.scenes import LabelledScene

__all__ = ["Score", "Validation"]


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
    iou: dict[str, tuple[float, ...]]
    """IoU per place and class; NaN where a class neither occurs nor is predicted."""
    pixels: dict[str, int]
    """Labelled pixels per place."""


class Validation:
    """Windows around the held-out blocks, each seen with its surroundings and scored inside the block only.

    Args:
        scenes: Labelled scenes; those without held-out pixels are left out.
        resolution: Metres on the ground per pixel that the network is made for: scenes are resampled to it.
        classes: Number of classes.
        scored: Classes whose IoU counts in the choice (the others are reported).
        context: Pixels around a block that the network sees.

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
        context: int = 48,
    ) -> None:
        self.classes, self.scored = classes, tuple(scored)
        self._windows: list[_Window] = []
        self._choosing: set[str] = set()
        for scene in scenes:
            found = list(_windows(scene, resolution, context))
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
        confusion: dict[str, NDArray[np.int64]] = {}
        for window in self._windows:
            pixels = torch.from_numpy(window.pixels.astype(np.float32))[None]
            found = logits(pixels, torch.from_numpy(window.valid)[None])[0].argmax(0).numpy()
            counted = window.labels != IGNORE
            pairs = window.labels[counted].astype(np.int64) * self.classes + found[counted]
            table = np.bincount(pairs, minlength=self.classes**2).reshape(self.classes, self.classes)
            confusion[window.group] = confusion.get(window.group, np.zeros_like(table)) + table
        iou = {group: _iou(table) for group, table in confusion.items()}
        means = [np.nanmean([iou[g][c] for c in self.scored]) for g in sorted(self._choosing)]
        pixels_of = {group: int(table.sum()) for group, table in confusion.items()}
        return Score(float(np.mean(means)), iou, pixels_of)


def _iou(table: NDArray[np.int64]) -> tuple[float, ...]:
    """IoU per class of a confusion matrix (rows: truth)."""
    hits = np.diag(table).astype(float)
    union = table.sum(0) + table.sum(1) - hits
    return tuple(float(h / u) if u else float("nan") for h, u in zip(hits, union, strict=True))


def _windows(scene: LabelledScene, resolution: float, context: int) -> list[_Window]:
    """Windows of one size over the scene's held-out blocks, at the network's resolution."""
    factor = scene.resolution / resolution
    shape = (max(round(scene.shape[0] * factor), 1), max(round(scene.shape[1] * factor), 1))
    pixels, valid, labels = _resampled(scene, shape)
    labels = np.where(valid & scene.split.held_out(shape, resolution), labels, np.uint8(IGNORE))
    side = scene.split.block / resolution
    size = 16 * -(-(round(side) + 2 * context) // 16)
    windows = []
    for row in range(int(np.ceil(shape[0] / side))):
        for col in range(int(np.ceil(shape[1] / side))):
            inside = np.zeros(shape, bool)
            inside[
                round(row * side) : round((row + 1) * side), round(col * side) : round((col + 1) * side)
            ] = True
            ids = np.where(inside, labels, np.uint8(IGNORE))
            if not (ids != IGNORE).any():
                continue
            cut = (
                slice(max(round(row * side) - context, 0), max(round(row * side) - context, 0) + size),
                slice(max(round(col * side) - context, 0), max(round(col * side) - context, 0) + size),
            )
            windows.append(_Window(scene.group, pixels[(slice(None), *cut)], valid[cut], ids[cut]))
    return windows


def _resampled(
    scene: LabelledScene, shape: tuple[int, int]
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]]:
    """The scene at another size: pixels averaged or bilinear, labels and validity nearest."""
    if shape == scene.shape:
        return scene.pixels, scene.valid, scene.labels
    image = torch.from_numpy(scene.pixels.astype(np.float32))[None]
    image = functional.interpolate(image, shape, mode="bilinear", align_corners=False, antialias=True)
    ids = torch.from_numpy(np.where(scene.valid, scene.labels, np.uint8(IGNORE)))[None, None]
    nearest = functional.interpolate(ids, shape, mode="nearest-exact")[0, 0].numpy()
    good = functional.interpolate(
        torch.from_numpy(scene.valid.astype(np.uint8))[None, None], shape, mode="nearest-exact"
    )[0, 0].numpy()
    return image[0].numpy(), good.astype(bool), nearest
