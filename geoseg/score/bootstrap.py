"""How sure a score is: a bootstrap over squares of ground.

Neighbouring pixels err together, so pixels drawn one by one promise intervals many times too narrow. What is
drawn here, with replacement, are whole cells (the spatial block bootstrap: Hall 1985; Lahiri 2003, ch. 12):
as many as there are, from all scenes at once. A measure is taken of each draw's summed counts, and the
interval spans the middle 95 % of the draws.

The interval answers "what would other ground of these scenes have scored". What other cities would score,
only other cities tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import GridError
from geoseg.score.confusion import margins, measures

__all__ = ["Bootstrap", "Interval", "Intervals", "bootstrap"]

_CHUNK = 1 << 20
"""Weights drawn at a time (8 MB)."""
_FEWEST_CELLS = 2
"""Cells that have to bear on a measure: one cell alone can only repeat itself."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are drawn.

    Raises:
        GridError: no draws, or a level outside 0..1.
    """

    draws: int = 1000
    """Resamples."""
    seed: int = 0
    """Of the draws: the same seed and cells give the same interval."""
    level: float = 0.95
    """Share of the draws inside the interval."""

    def __post_init__(self) -> None:
        if self.draws < 1 or not 0 < self.level < 1:
            raise GridError(f"intervals need draws and a level below 1, got {self.draws} and {self.level}")


@dataclass(frozen=True, slots=True)
class Interval:
    """A range of values of a measure."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Intervals:
    """An interval of each measure; None where fewer than two cells bear on it."""

    iou: tuple[Interval | None, ...]
    """Per class."""
    precision: tuple[Interval | None, ...]
    """Per class."""
    recall: tuple[Interval | None, ...]
    """Per class."""
    f1: tuple[Interval | None, ...]
    """Per class."""
    mean_iou: Interval | None
    """By the definition ``dataset``."""
    accuracy: Interval | None


def bootstrap(cells: NDArray[np.int64], how: Bootstrap | None = None) -> Intervals:
    """Percentile intervals of all measures.

    A class's measure is drawn from where it can be taken: draws without the class are left out. It has none
    where fewer than two cells hold the measure's denominator (of recall: true pixels of the class).

    Args:
        cells: int64, shape (N, K, K), a confusion matrix per cell; cells without pixels are no ground
            that was scored, and are not drawn.
        how: number of draws, seed and level; default 1000 draws, seed 0, 95 %.
    """
    how = how or Bootstrap()
    cells = cells[cells.any(axis=(1, 2))]
    stats = np.stack(margins(cells), axis=1).astype(np.float64)  # (N, 3, K): whole numbers, exact below 2^53
    count, classes = len(cells), int(cells.shape[-1])
    draws: dict[str, list[NDArray[np.float64]]] = {}
    generator = np.random.default_rng(how.seed)
    step = max(1, _CHUNK // max(count, 1))
    for first in range(0, how.draws if count >= _FEWEST_CELLS else 0, step):
        weights = generator.multinomial(count, np.full(count, 1 / count), size=min(step, how.draws - first))
        summed = (weights.astype(np.float64) @ stats.reshape(count, -1)).reshape(-1, 3, classes)
        for name, values in measures(summed[:, 0], summed[:, 1], summed[:, 2]).items():
            draws.setdefault(name, []).append(values)

    def interval(values: NDArray[np.float64], bearing: int) -> Interval | None:
        values = values[~np.isnan(values)]
        if bearing < _FEWEST_CELLS or not values.size:
            return None
        tail = (1 - how.level) / 2
        low, high = np.quantile(values, (tail, 1 - tail))
        return Interval(float(low), float(high))

    def per_class(name: str, denominator: NDArray[np.float64]) -> tuple[Interval | None, ...]:
        if name not in draws:
            return (None,) * classes
        values = np.concatenate(draws[name])
        bearing = (denominator > 0).sum(axis=0)
        return tuple(interval(values[:, index], int(bearing[index])) for index in range(classes))

    def overall(name: str) -> Interval | None:
        return interval(np.concatenate(draws[name]), count) if name in draws else None

    hits, truth, mapped = stats[:, 0], stats[:, 1], stats[:, 2]
    return Intervals(
        iou=per_class("iou", truth + mapped - hits),
        precision=per_class("precision", mapped),
        recall=per_class("recall", truth),
        f1=per_class("f1", truth + mapped),
        mean_iou=overall("mean_iou"),
        accuracy=overall("accuracy"),
    )
