"""Statistics of connected components, gathered run by run: pixels, sums and counts of their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from geoseg.arrays import Bool, Int64, UInt8
from geoseg.errors import GridError
from geoseg.grid.encoding import NODATA
from geoseg.polygons.trace.runs import Runs
from geoseg.polygons.trace.table import RegionTable, Table

__all__ = ["Components", "ScoreCounts", "run_components"]


@dataclass(frozen=True, slots=True, eq=False)
class Components(Table):
    """Statistics of 4-connected components, as equal-length arrays."""

    first: Int64
    """Flat index, ``row × width + column``, of the first pixel in raster order: unique in a scene."""
    class_id: UInt8
    pixels: Int64
    score: Int64
    """Sum of the stored scores of these pixels."""
    touches_edge: Bool
    """Whether a pixel lies on the scene's edge or beside a pixel without data: the object may go on there."""
    last_row: Int64
    """Row of the last pixel in raster order."""

    def merged(self, other: Self, count: int, number: Int64) -> Self:
        """These components and others, of other pixels: row ``r`` of both becomes part of ``number[r]``.

        Every number from 0 to ``count - 1`` must be given.
        """
        both = self.join([self, other])
        out = self.zeros(count)
        out.first[:] = np.iinfo(np.int64).max
        np.minimum.at(out.first, number, both.first)
        out.class_id[number] = both.class_id
        np.add.at(out.pixels, number, both.pixels)
        np.add.at(out.score, number, both.score)
        out.touches_edge[number[both.touches_edge]] = True
        np.maximum.at(out.last_row, number, both.last_row)
        return out


def run_components(runs: Runs, chosen: Bool, at_edge: Bool, scores: UInt8, row: int) -> Components:
    """Each chosen run of a strip as a component of its own.

    ``runs`` are those of the strip's classes, with the row above it first (none of it is chosen) and a column
    without data on both sides; ``scores`` those of the strip alone, uint8 (rows, width); ``row`` is the
    scene's row of its first one. A pixel with a class but no score is a GridError.
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
class ScoreCounts(RegionTable):
    """Histograms of the scores of regions, as counts of (region, score): each pair once, in that order."""

    score: UInt8
    """Stored score, rising within a region."""
    count: Int64
    """Pixels of the region with that score."""

    @classmethod
    def of_pixels(cls, region: Int64, score: UInt8) -> Self:
        """Count pixels, given the region and the stored score of each."""
        keys, count = np.unique(region * 256 + score, return_counts=True)
        return cls(keys >> 8, (keys & 255).astype(np.uint8), count.astype(np.int64))

    def merged(self, other: Self, number: Int64) -> Self:
        """These counts and others, region ``r`` of both called ``number[r]``."""
        both = self.join([self, other])
        keys = number[both.region] * 256 + both.score
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        first = np.flatnonzero(np.diff(keys, prepend=-1))
        if not first.size:
            return self.none()
        count = np.add.reduceat(both.count[order], first)
        return type(self)(keys[first] >> 8, (keys[first] & 255).astype(np.uint8), count)

    def p10_and_max(self, regions: int) -> tuple[UInt8, UInt8]:
        """10th percentile and maximum of each region's scores, each of shape (regions,); none may be empty.

        The percentile is the lowest score that a tenth of the region's pixels do not pass.
        """
        ends = np.searchsorted(self.region, np.arange(regions), side="right")
        total = np.concatenate([[0], np.cumsum(self.count)])
        starts = np.concatenate([[0], ends[:-1]])
        wanted = total[starts] + -(-(total[ends] - total[starts]) // 10)
        return self.score[np.searchsorted(total, wanted) - 1], self.score[ends - 1]
