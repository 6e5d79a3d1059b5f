"""How sure a score is: a bootstrap over squares of ground.

Neighboring pixels err together, so pixels drawn one by one promise intervals many times too narrow. What is
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

from geoseg.arrays import Float64
from geoseg.errors import GridError
from geoseg.score.pixels.sums import Sums

__all__ = ["Bootstrap", "Interval", "Intervals", "differences", "drawn", "intervals_of"]

_CHUNK = 1 << 20
"""Weights drawn at a time (8 MB)."""
_FEWEST_CELLS = 2
"""Cells that have to bear on a measure: one cell alone can only repeat itself."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are drawn: resamples, their seed, and the share of them inside the interval.

    Raises:
        GridError: no draws, or a level outside 0..1.
    """

    draws: int = 1000
    seed: int = 0
    """The same seed and cells give the same interval."""
    level: float = 0.95

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
    """An interval of each measure of :meth:`Sums.measures`; None where fewer than two cells bear on it.

    Tuples hold one per class, and are empty where the measure is not counted.
    """

    iou: tuple[Interval | None, ...]
    precision: tuple[Interval | None, ...]
    recall: tuple[Interval | None, ...]
    f1: tuple[Interval | None, ...]
    mean_iou: Interval | None
    accuracy: Interval | None
    boundary_iou: tuple[Interval | None, ...] = ()
    mean_boundary_iou: Interval | None = None
    class_calibration_error: tuple[Interval | None, ...] = ()
    calibration_error: Interval | None = None
    object_f1: tuple[Interval | None, ...] = ()
    object_precision: tuple[Interval | None, ...] = ()
    object_recall: tuple[Interval | None, ...] = ()


_Found = Interval | tuple[Interval | None, ...] | None
"""One interval, or one of each class."""


def intervals_of(sums: Sums, how: Bootstrap | None = None) -> Intervals:
    """Percentile intervals of all measures of cells; by default of 1000 draws, seed 0, 95 %.

    A class's measure is drawn from where it can be taken: draws without the class are left out. It has none
    where fewer than two cells hold the measure's denominator (of recall: true pixels of the class).
    """
    how = how or Bootstrap()
    sums = sums.chosen(sums.scored)
    values = drawn(sums, how)
    found = {name: _intervals(values[name], count, how) for name, count in sums.bearing().items()}
    return Intervals(**found)  # type: ignore[arg-type] # tuples where a measure has classes, else one


def drawn(sums: Sums, how: Bootstrap) -> dict[str, Float64]:
    """Every measure of each draw, by the names of :meth:`Sums.measures`: (draws, K) or (draws,).

    Draws depend on the seed and the number of cells alone: two maps of the same cells are drawn alike, which
    is what makes :func:`differences` of them paired. One draw of NaN where there are fewer than two cells.
    """
    count = len(sums)
    if count < _FEWEST_CELLS:
        return {name: np.full_like(values, np.nan) for name, values in sums.total().measures().items()}
    generator = np.random.default_rng(how.seed)
    step, chunks = max(1, _CHUNK // count), []
    for first in range(0, how.draws, step):
        weights = generator.multinomial(count, np.full(count, 1 / count), size=min(step, how.draws - first))
        chunks.append(sums.weighted(weights.astype(np.float64)).measures())
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def differences(sums: Sums, base: Sums, how: Bootstrap) -> dict[str, tuple[Float64, _Found]]:
    """How much more each measure of a map is than that of another one, with the interval of the difference.

    Paired: both maps are taken of the same cells, in the same order, in every draw, so what makes a cell
    hard for both cancels (Efron & Tibshirani 1993, ch. 8). By the names of :meth:`Sums.measures` that both
    have: the difference, (K,) or (), NaN where it is undefined; its interval, one or one of each class.
    """
    kept = sums.scored | base.scored
    one, other = sums.chosen(kept), base.chosen(kept)
    first, second = drawn(one, how), drawn(other, how)
    here, there = one.total().measures(), other.total().measures()
    bearing, also = one.bearing(), other.bearing()
    found: dict[str, tuple[Float64, _Found]] = {}
    for name in (name for name in here if name in there):
        away = here[name][0] - there[name][0]
        few = np.minimum(bearing[name], also[name])
        found[name] = away, _intervals(first[name] - second[name], few, how)
    return found


def _intervals(values: Float64, bearing: NDArray[np.intp], how: Bootstrap) -> _Found:
    """The interval of draws (M,), or those of each class of draws (M, K)."""
    if values.ndim > 1:
        return tuple(
            _interval(one, count, how) for one, count in zip(values.T, bearing.tolist(), strict=True)
        )
    return _interval(values, int(bearing), how)


def _interval(values: Float64, bearing: int, how: Bootstrap) -> Interval | None:
    values = values[~np.isnan(values)]
    if bearing < _FEWEST_CELLS or not values.size:
        return None
    tail = (1 - how.level) / 2
    low, high = np.quantile(values, (tail, 1 - tail))
    return Interval(float(low), float(high))
