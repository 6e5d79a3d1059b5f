"""Statistics of connected components, gathered run by run: pixels, sums and counts of their scores."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from geoseg.arrays import Bool, Int64, UInt8
from geoseg.errors import GridError
from geoseg.grid.encoding import NODATA
from geoseg.polygons.trace.runs import Runs
from geoseg.polygons.trace.table import Table

__all__ = ["Components", "ScoreCounts", "run_components"]

_TENTH = 10


@dataclass(frozen=True, slots=True, eq=False)
class Components(Table):
    """Statistics of 4-connected components, as equal-length arrays."""

    first: Int64
    """Flat index, ``row × width + column``, of the first pixel in raster order: unique in a scene."""
    class_id: UInt8
    """Class."""
    pixels: Int64
    """Number of pixels."""
    score: Int64
    """Sum of the stored scores of these pixels."""
    touches_edge: Bool
    """Whether a pixel lies on the scene's edge or beside a pixel without data: the object may go on there."""
    last_row: Int64
    """Row of the last pixel in raster order."""

    @classmethod
    def none(cls) -> Self:
        """No components."""
        number = np.zeros(0, np.int64)
        return cls(number, np.zeros(0, np.uint8), number, number, np.zeros(0, np.bool_), number)

    def merged(self, other: Components, count: int, number: Int64) -> Self:
        """These components and others, those with the same number made one.

        Args:
            other: components of pixels that are not in these.
            count: how many there are afterwards.
            number: which one each becomes, shape (len(self) + len(other),), every one in 0 .. count - 1 used.
        """
        both = [np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)]
        first, class_id, pixels, score, touches_edge, last_row = both
        out = type(self)(
            np.full(count, np.iinfo(np.int64).max),
            np.zeros(count, np.uint8),
            np.zeros(count, np.int64),
            np.zeros(count, np.int64),
            np.zeros(count, np.bool_),
            np.zeros(count, np.int64),
        )
        np.minimum.at(out.first, number, first)
        out.class_id[number] = class_id
        np.add.at(out.pixels, number, pixels)
        np.add.at(out.score, number, score)
        out.touches_edge[number[touches_edge]] = True
        np.maximum.at(out.last_row, number, last_row)
        return out


def run_components(
    runs: Runs,
    chosen: Bool,
    at_edge: Bool,
    scores: UInt8,
    row: int,
) -> Components:
    """Each chosen run of a strip as a component of its own.

    Args:
        runs: of the strip's classes, with the row above it first and a column without data on both sides.
        chosen: which runs, none of them in that row above.
        at_edge: which runs lie beside missing data.
        scores: of the strip alone, uint8 (rows, width).
        row: the scene's row of the strip's first row.

    Raises:
        GridError: a pixel has a class but no score.
    """
    start, length = runs.start[chosen], (runs.stop - runs.start)[chosen]
    if not start.size:
        return Components.none()
    width = scores.shape[1]
    rows, cols = np.divmod(start, width + 2)
    first = (rows - 1) * width + (cols - 1)
    ends = np.stack([first, first + length], axis=1).reshape(-1)
    flat = scores.reshape(-1)
    # Sums between neighboring ends: of the run, of the gap behind it, and so on; only the runs' are kept.
    inside = ends[:-1] if ends[-1] == flat.size else ends
    total = np.add.reduceat(flat, inside, dtype=np.int64)[0::2]
    if int(np.maximum.reduceat(flat, inside)[0::2].max()) == NODATA:
        raise GridError(
            f"between rows {row} and {row + scores.shape[0]} a pixel has a class but no score; "
            "classes and scores must come from the same run"
        )
    return Components(first + row * width, runs.value[chosen], length, total, at_edge[chosen], rows - 1 + row)


@dataclass(frozen=True, slots=True, eq=False)
class ScoreCounts:
    """Counts of (region, score), each pair once, in that order."""

    region: Int64
    """Number of the region, not falling, shape (n,)."""
    score: UInt8
    """Stored score, rising within a region."""
    count: Int64
    """Pixels of the region with that score."""

    @classmethod
    def of_pixels(cls, region: Int64, score: UInt8) -> Self:
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

    def merged(self, other: ScoreCounts, number: Int64) -> Self:
        """These counts and others, region ``r`` of both called ``number[r]``."""
        regions = np.concatenate([number[self.region], number[other.region]])
        keys = regions * 256 + np.concatenate([self.score, other.score])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        first = np.flatnonzero(np.diff(keys, prepend=-1))
        if not first.size:
            return type(self)(*(getattr(ScoreCounts.none(), name) for name in ("region", "score", "count")))
        count = np.add.reduceat(np.concatenate([self.count, other.count])[order], first)
        return type(self)(keys[first] >> 8, (keys[first] & 255).astype(np.uint8), count)

    def choose(self, rank: Int64, chosen: Bool) -> Self:
        """The counts of the chosen regions, ``r`` called ``rank[r]``, which rises with r."""
        kept = chosen[self.region]
        return type(self)(rank[self.region[kept]], self.score[kept], self.count[kept])

    def p10_and_max(self, regions: int) -> tuple[UInt8, UInt8]:
        """Score that a tenth of each region's pixels do not pass, and the highest, each of shape (regions,).

        Every region has pixels.
        """
        ends = np.searchsorted(self.region, np.arange(regions), side="right")
        total = np.concatenate([[0], np.cumsum(self.count)])
        starts = np.concatenate([[0], ends[:-1]])
        wanted = total[starts] + -(-(total[ends] - total[starts]) // _TENTH)
        return self.score[np.searchsorted(total, wanted) - 1], self.score[ends - 1]
