"""How the scores of a region's pixels are spread: counts of each score, for as long as the region is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Spread"]

_LOW = 10
"""One of so many of a region's pixels lies at or below its low score."""


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Counts of (region, score), each pair once, in that order."""

    region: NDArray[np.int64]
    """Number of the region, not falling, shape (n,)."""
    score: NDArray[np.uint8]
    """Stored score, rising within a region."""
    count: NDArray[np.int64]
    """Pixels of the region with that score."""

    @classmethod
    def of_pixels(cls, region: NDArray[np.int64], score: NDArray[np.uint8]) -> Self:
        """Count pixels.

        Args:
            region: each pixel's region, shape (n,).
            score: each pixel's stored score, shape (n,).
        """
        keys, count = np.unique(region * 256 + score, return_counts=True)
        return cls(keys >> 8, (keys & 255).astype(np.uint8), count.astype(np.int64))

    @classmethod
    def none(cls) -> Self:
        """No counts."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, np.int64))

    def merged(self, other: Spread, number: NDArray[np.int64]) -> Self:
        """These counts and others, region ``r`` of both called ``number[r]``."""
        regions = np.concatenate([number[self.region], number[other.region]])
        keys = regions * 256 + np.concatenate([self.score, other.score])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        first = np.flatnonzero(np.diff(keys, prepend=-1))
        if not first.size:
            return type(self)(*(getattr(Spread.none(), name) for name in ("region", "score", "count")))
        count = np.add.reduceat(np.concatenate([self.count, other.count])[order], first)
        return type(self)(keys[first] >> 8, (keys[first] & 255).astype(np.uint8), count)

    def choose(self, rank: NDArray[np.int64], chosen: NDArray[np.bool_]) -> Self:
        """The counts of the chosen regions, ``r`` called ``rank[r]``, which rises with r."""
        kept = chosen[self.region]
        return type(self)(rank[self.region[kept]], self.score[kept], self.count[kept])

    def low_and_peak(self, regions: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Score that a tenth of each region's pixels do not pass, and the highest, each of shape (regions,).

        Every region has pixels.
        """
        ends = np.searchsorted(self.region, np.arange(regions), side="right")
        total = np.concatenate([[0], np.cumsum(self.count)])
        starts = np.concatenate([[0], ends[:-1]])
        wanted = total[starts] + -(-(total[ends] - total[starts]) // _LOW)
        return self.score[np.searchsorted(total, wanted) - 1], self.score[ends - 1]
