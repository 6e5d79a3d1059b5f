"""Calibration: of pixels with probability 0.8, 80 % should be right.

Counted is how often each stored probability (whole steps of 1/200) was predicted and was true:
whole numbers, so that blocks add up to the whole bit for bit, and every measure is a function of them:

    expected calibration error  Σ_b n_b/n · |share true − mean probability|, over bins of equal width
                                (Naeini et al. 2015; Guo et al. 2017), of each class (Kull et al. 2019) and of
                                the class that was mapped ("confidence", Guo et al.)
    largest calibration error   the largest of these differences
    Brier score                 mean of Σ_c (p_c − y_c)² (Brier 1950): 0 to 2; of one class 0 to 1

An expected error is a sum of distances, so of few pixels it comes out too large, and so do its draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Array, Bool, Float64, Int64, UInt8
from geoseg.errors import GridError, LabelError
from geoseg.grid.encoding import IGNORE, SCALE
from geoseg.score.pixels.confusion import defined, ratio

__all__ = ["BINS", "Reliability", "binned", "calibration_errors", "tally"]

BINS = 10
"""Bins of equal width: 20 stored values each. Guo et al. take 15, which would be bins of 13 or 14."""

_VALUES = SCALE + 1


@dataclass(frozen=True, eq=False, slots=True)
class Reliability:
    """How often each probability was predicted, and was true.

    >>> truth = np.array([[1, 1, 0, 1, 255]], np.uint8)
    >>> stored = np.array([[40, 40, 160, 40, 0], [160, 160, 40, 160, 200]], np.uint8)[:, None]
    >>> found = Reliability.of(truth, stored.argmax(axis=0), stored)
    >>> [round(error, 6) for error in found.expected_error()]
    [0.2, 0.2, 0.2]
    """

    counts: Int64
    """int64, shape (K + 1, 201, 2): pixels by class, stored probability of it, and whether it is the true
    one; the last row is that of the class that was mapped. A row of zeros: its probability is not known."""

    @classmethod
    def zeros(cls, classes: int) -> Reliability:
        """No pixels yet; ``zeros + x`` is ``x``."""
        return cls(np.zeros((classes + 1, _VALUES, 2), np.int64))

    @classmethod
    def of(cls, truth: Array, mapped: Array, stored: UInt8) -> Reliability:
        """Count the pixels that have a label and a class.

        Args:
            truth: any shape; class ids, 255 = not labeled.
            mapped: the same shape; class ids, 255 = nodata.
            stored: uint8, shape (K, …): probability of each class, 0 … 200.

        Raises:
            LabelError: stored values beyond 200.
        """
        both = (truth != IGNORE) & (mapped != IGNORE)
        true, chosen, predicted = truth[both], mapped[both], stored[:, both]
        confidence = np.take_along_axis(predicted, chosen[None].astype(np.intp), axis=0)[0]
        rows = [(predicted[index], true == index) for index in range(len(stored))]
        counts = [tally(values, hit)[0] for values, hit in (*rows, (confidence, true == chosen))]
        return cls(np.stack(counts))

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(self.counts + other.counts)

    def expected_error(self, bins: int = BINS) -> tuple[float | None, ...]:
        """Expected calibration error of each class, then of the mapped class; None: no pixels."""
        return defined(calibration_errors(binned(self.counts, bins))[0])

    def largest_error(self, bins: int = BINS) -> tuple[float | None, ...]:
        """Largest calibration error of a bin of each class, then of the mapped class; None: no pixels."""
        return defined(calibration_errors(binned(self.counts, bins))[1])

    @property
    def brier(self) -> tuple[float | None, ...]:
        """Mean squared distance of each class's probability to the truth; None: no pixels."""
        steps = np.arange(_VALUES)
        distance = np.stack((steps**2, (SCALE - steps) ** 2), axis=1)
        squares, pixels = (self.counts[:-1] * distance).sum(axis=(1, 2)), self.counts[:-1].sum(axis=(1, 2))
        return defined(ratio(squares / SCALE**2, pixels))

    @property
    def brier_score(self) -> float | None:
        """Brier's own: the sum over all classes, 0 to 2; None: not all probabilities are known."""
        each = [value for value in self.brier if value is not None]
        return sum(each) if each and len(each) == len(self.brier) else None


def tally(values: UInt8, hit: Bool, cell: NDArray[np.intp] | None = None, cells: int = 1) -> Int64:
    """How often each stored probability was predicted and was true: int64 (cells, 201, 2).

    Args:
        values: shape (N,), 0 … 200.
        hit: shape (N,), whether it was true.
        cell: shape (N,), where each pixel counts, 0 … cells - 1; None: all in one.

    Raises:
        LabelError: values beyond 200.
    """
    if values.size and values.max() > SCALE:
        raise LabelError(f"a stored probability is {values.max()}, needed 0 to {SCALE}; map the scene again")
    index = values.astype(np.intp) * 2 + hit
    if cell is not None:
        index += cell * (2 * _VALUES)
    counts = np.bincount(index, minlength=2 * _VALUES * cells)
    return counts.reshape(cells, _VALUES, 2).astype(np.int64, copy=False)


def binned(counts: Int64, bins: int = BINS) -> Int64:
    """Sums over bins of equal width; ``(b/bins, (b+1)/bins]``, the first one with 0.

    Of counts (…, 201, 2) as :attr:`Reliability.counts`. Gives int64 (…, bins, 3): pixels, pixels of which it
    was true, sum of the stored values.

    Raises:
        GridError: no bins, or more than there are steps.
    """
    if not 1 <= bins <= SCALE:
        raise GridError(f"probabilities of steps of 1/{SCALE} fall into 1 to {SCALE} bins, got {bins}")
    steps = np.arange(_VALUES)
    place = np.maximum(0, -(-steps * bins // SCALE) - 1)
    starts = np.searchsorted(place, np.arange(bins))
    pixels = counts.sum(axis=-1)
    sums = np.stack((pixels, counts[..., 1], pixels * steps), axis=-1)
    return np.add.reduceat(sums, starts, axis=-2)


def calibration_errors(sums: Array) -> tuple[Float64, Float64]:
    """Expected and largest calibration error of sums over bins (…, bins, 3), each (…); NaN: no pixels."""
    pixels, hits, predicted = sums[..., 0], sums[..., 1], sums[..., 2]
    away = np.abs(hits - predicted / SCALE)
    total = pixels.sum(axis=-1)
    largest = np.nan_to_num(ratio(away, pixels)).max(axis=-1)
    return ratio(away.sum(axis=-1), total), np.where(total > 0, largest, np.nan)
