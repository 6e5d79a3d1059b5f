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


def _windows(scene: LabelledScene, resolution: float, context: int) -> list[_Window]:
    """Windows of one size over the scene's held-out blocks, at the network's resolution."""
    pixels, valid, labels = resampled(scene, resolution)
    shape = valid.shape
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
            top, left = max(round(row * side) - context, 0), max(round(col * side) - context, 0)
            cut = (slice(top, top + size), slice(left, left + size))
            # Below and to the right of the scene there is no data, as in a padded window of a map.
            lack = [(0, size - n) for n in valid[cut].shape]
            windows.append(
                _Window(
                    scene.group,
                    np.pad(pixels[(slice(None), *cut)], [(0, 0), *lack]),
                    np.pad(valid[cut], lack),
                    np.pad(ids[cut], lack, constant_values=IGNORE),
                )
            )
    return windows


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
