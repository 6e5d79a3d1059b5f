"""Where each class lies in a labeled scene, and what its pixels are like: one pass over its tiles."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from geoseg.config.model.contract import Scaling
from geoseg.errors import LabelError, of_scene
from geoseg.grid.encoding import IGNORE
from geoseg.training.data.scenes import training_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.arrays import Float32, Float64, Int64
    from geoseg.grid.window import Window
    from geoseg.training.data.scenes import LabeledScene

__all__ = ["SceneIndex", "fit_scaling", "index_scene", "value_range"]

_DRAWN = 64
"""Training pixels of a tile that its ranges are measured on."""


@dataclass(frozen=True, slots=True, eq=False)
class SceneIndex:
    """Training pixels of a scene, by tile and class: a few numbers per tile, whatever the scene's size.

    A scene that is held out as a whole, such as a small photo in one block, has none.
    """

    tiles: tuple[Window, ...]  # tiles that hold a training pixel
    counts: Int64  # (tiles, classes): training pixels
    total: Float64  # (bands,): sum of the training pixels, stored units
    squares: Float64  # (bands,): sum of their squares
    range: Float64  # (bands, 2): between low and high lie 98 % of the training pixels; NaN: there are none
    held: int  # labeled pixels that are held out: blocks and margins

    @property
    def pixels(self) -> int:
        """Training pixels."""
        return int(self.counts.sum())

    @property
    def classes(self) -> tuple[int, ...]:
        """Class ids that occur, ascending."""
        return tuple(np.flatnonzero(self.counts.sum(0)).tolist())

    def locate(self, klass: int | None, number: int) -> tuple[Window, int]:
        """The tile that holds a training pixel, and the pixel's number in it.

        Args:
            klass: Class of the pixel; None: any.
            number: Which of the scene's training pixels (of the class), tile by tile and row by row.
        """
        per_tile = self.counts.sum(1) if klass is None else self.counts[:, klass]
        ends = np.cumsum(per_tile)
        tile = int(np.searchsorted(ends, number, side="right"))
        return self.tiles[tile], number - int(ends[tile] - per_tile[tile])


def index_scene(scene: LabeledScene, classes: Sequence[str] | None = None) -> SceneIndex:
    """Read a scene's tiles once.

    Args:
        classes: Names by class id; labels beyond them are refused. None: no label is refused.

    Raises:
        LabelError: a label that is no class, or no pixel that is labeled and data.
        SceneError: the scene cannot be read.
    """
    with of_scene(scene.name):
        return _index(scene, classes)


def _index(scene: LabeledScene, classes: Sequence[str] | None) -> SceneIndex:
    tiles: list[Window] = []
    counts: list[Int64] = []
    sums: list[Float64] = []
    drawn: list[Float32] = []
    labeled = 0
    for window in scene.tiles():
        patch = scene.patch(window)
        found = np.bincount(patch.labels.ravel(), minlength=IGNORE + 1)[:IGNORE]
        if classes is not None and found[len(classes) :].any():
            strange = np.flatnonzero(found[len(classes) :])[:5] + len(classes)
            raise LabelError(
                f"labels hold the class ids {', '.join(map(str, strange))}, the training "
                f"has {', '.join(f'{i} {name}' for i, name in enumerate(classes))}: map values by "
                "data.classes"
            )
        labeled += int(found.sum())
        labels = training_labels(scene, window, patch.labels)
        counted = labels != IGNORE
        if not counted.any():
            continue
        values = patch.pixels[:, counted].astype(np.float64)
        tiles.append(window)
        counts.append(np.bincount(labels[counted], minlength=IGNORE))
        sums.append(np.stack([values.sum(1), np.square(values).sum(1)]))
        drawn.append(values[:, :: -(-values.shape[1] // _DRAWN)].astype(np.float32))
    if not labeled:
        raise LabelError("no pixel is labeled and left to train on; its pixels there are no data")
    if not tiles:
        nothing = np.zeros(scene.bands)
        no_range = np.full((scene.bands, 2), np.nan)
        return SceneIndex((), np.zeros((0, 1), np.int64), nothing, nothing, no_range, labeled)
    *_, (total, squared) = accumulate(sums)
    table = np.array(counts, np.int64)
    last = int(np.flatnonzero(table.sum(0))[-1]) + 1
    held = labeled - int(table.sum())
    return SceneIndex(tuple(tiles), table[:, :last], total, squared, _middle(drawn), held)


def _middle(drawn: Sequence[Float32]) -> Float64:
    """Low and high of some pixels (bands, n), each of a tile, per band: (bands, 2)."""
    values = np.concatenate(drawn, axis=1)
    values = values[:, np.isfinite(values).all(0)]
    if not values.shape[1]:
        return np.full((len(values), 2), np.nan)
    return np.percentile(values, (1, 99), axis=1).T.astype(np.float64)


def value_range(indexes: Sequence[SceneIndex]) -> tuple[tuple[float, float], ...]:
    """Per band, a low and a high: between them lie at least 98 % of the values of every scene."""
    found = [index.range for index in indexes if np.isfinite(index.range).all()]
    if not found:
        raise LabelError("no pixel to train on holds a finite number")
    low, high = np.min(found, axis=0)[:, 0], np.max(found, axis=0)[:, 1]
    return tuple((float(f"{a:.6g}"), float(f"{b:.6g}")) for a, b in zip(low, high, strict=True))


def fit_scaling(scenes: Sequence[LabeledScene], indexes: Sequence[SceneIndex]) -> Scaling:
    """Mean and standard deviation per band over the training pixels, each scene counting by its weight.

    In stored units, what a bundle's scaling holds; a scene with twice the weight counts twice.
    """
    seen = [(scene.weight, index) for scene, index in zip(scenes, indexes, strict=True) if index.pixels]
    weights = np.array([weight for weight, _ in seen])
    mean = np.average([i.total / i.pixels for _, i in seen], axis=0, weights=weights)
    second = np.average([i.squares / i.pixels for _, i in seen], axis=0, weights=weights)
    deviation = np.sqrt(np.maximum(second - mean**2, 0.0))
    # A constant band says nothing; 1 keeps it finite.
    deviation = np.where(deviation < 1e-3 * np.maximum(np.abs(mean), 1e-3), 1.0, deviation)
    return Scaling(
        mean=tuple(float(f"{v:.6g}") for v in mean), std=tuple(float(f"{v:.6g}") for v in deviation)
    )
