"""Statistics of connected components, gathered run by run: pixels, sums and counts of their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from geoseg.arrays import Bool, Int64, UInt8
from geoseg.compiled import compiled, inner
from geoseg.errors import GridError
from geoseg.grid.encoding import NODATA
from geoseg.polygons.trace.runs import Runs, Scores, score_at
from geoseg.polygons.trace.table import RegionTable, Table

__all__ = ["Components", "ScoreCounts"]


_Pair = tuple[Int64, Int64]


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
    left: Int64
    """Column of the left-most pixel."""
    right: Int64
    """Column of the right-most pixel."""
    contrast: Int64
    """Sum over the edges of its outline, where scores are on both sides, of how far the score is from one
    half: mean of both pixels, 0 to 100."""
    sides: Int64
    """How many edges these are."""

    def merged(self, count: int, number: Int64) -> Self:
        """Components of which these are parts: row ``r`` of ``number[r]``; those without a part are empty."""
        out = self.zeros(count)
        out.first[:] = out.left[:] = np.iinfo(np.int64).max
        out.class_id[number] = self.class_id
        np.minimum.at(out.first, number, self.first)
        np.minimum.at(out.left, number, self.left)
        np.maximum.at(out.right, number, self.right)
        np.maximum.at(out.last_row, number, self.last_row)
        np.logical_or.at(out.touches_edge, number, self.touches_edge)
        for name in ("pixels", "score", "contrast", "sides"):
            np.add.at(getattr(out, name), number, getattr(self, name))
        return out

    def add_runs(self, runs: Runs, number: Int64, at_edge: Bool, scores: UInt8, row: int) -> None:
        """Add the runs of a strip, in place.

        ``runs`` are those of the strip's classes, with the row above it first (none of it is added again) and
        a column without data on both sides; ``number`` is the component of each, -1: none; ``scores`` are
        those of the strip alone, uint8 (rows, width); ``row`` is the scene's row of its first one. A pixel
        with a class but no score is a GridError.
        """
        of_runs = runs.start, runs.stop, runs.value, number, at_edge
        marks = self.class_id, self.touches_edge
        table = self.first, self.pixels, self.score, self.last_row, self.left, self.right
        if not _add_runs(of_runs, scores.reshape(-1), scores.shape[1], row, marks, table):
            raise GridError(
                f"between rows {row} and {row + scores.shape[0]} a pixel has a class but no score; "
                "classes and scores must come from the same run"
            )

    def add_contrast(self, runs: Runs, number: Int64, scores: Scores, level: float | None) -> None:
        """Add the edges that are not above a strip, in place.

        ``runs`` and ``number`` as above; ``level`` is the stored value that separates foreground from
        background in the only band; None: there is a band per class.
        """
        of_runs, sums = (runs.start, runs.stop, runs.value, number), (self.contrast, self.sides)
        _add_contrast(of_runs, runs.width, scores, level is None, sums)


@compiled
def _add_contrast(
    runs: tuple[Int64, Int64, UInt8, Int64], width: int, scores: Scores, band_per_class: bool, sums: _Pair
) -> None:
    """Add how far the scores on both sides of each edge are from one half, and 1, to both regions."""
    start, stop, value, number = runs
    for run in range(1, start.shape[0]):
        i, j = start[run] // width, start[run] % width
        if i and j and value[run] != NODATA and value[run - 1] != NODATA:
            one, other = (i, j - 1), (i, j)
            _add_edge(value[run - 1], number[run - 1], one, other, scores, band_per_class, sums)
            _add_edge(value[run], number[run], one, other, scores, band_per_class, sums)
    a, b = 0, 0
    while b < start.shape[0] and start[b] < width:
        b += 1
    while b < start.shape[0]:
        left, right = stop[a] + width, stop[b]
        if value[a] != value[b] and value[a] != NODATA and value[b] != NODATA:
            i = start[b] // width
            for j in range(max(start[a] + width, start[b]) - i * width, min(left, right) - i * width):
                one, other = (i - 1, j), (i, j)
                _add_edge(value[a], number[a], one, other, scores, band_per_class, sums)
                _add_edge(value[b], number[b], one, other, scores, band_per_class, sums)
        a, b = a + (left <= right), b + (right <= left)


@inner
def _add_edge(
    value: int,
    region: int,
    one: tuple[int, int],
    other: tuple[int, int],
    scores: Scores,
    band_per_class: bool,
    sums: _Pair,
) -> None:
    """Add an edge between two pixels to a region on one side of it."""
    if region >= 0:
        band = value if band_per_class else 0
        here, there = score_at(band, one[0], one[1], scores), score_at(band, other[0], other[1], scores)
        sums[0][region] += (abs(here - 100) + abs(there - 100)) // 2
        sums[1][region] += 1


@compiled
def _add_runs(
    runs: tuple[Int64, Int64, UInt8, Int64, Bool],
    scores: UInt8,
    width: int,
    row: int,
    marks: tuple[UInt8, Bool],
    table: tuple[Int64, Int64, Int64, Int64, Int64, Int64],
) -> bool:
    """Add runs to their components; whether each of their pixels has a score."""
    start, stop, value, number, at_edge = runs
    class_id, touches_edge = marks
    first, pixels, score, last_row, left, right = table
    all_known = True
    for run in range(start.shape[0]):
        to = number[run]
        if to < 0:
            continue
        touches_edge[to] |= at_edge[run]
        if start[run] < width + 2:
            continue
        class_id[to] = value[run]
        i, j = start[run] // (width + 2) - 1, start[run] % (width + 2) - 1
        length = stop[run] - start[run]
        total, highest = 0, 0
        for pixel in range(i * width + j, i * width + j + length):
            total += scores[pixel]
            highest = max(highest, scores[pixel])
        all_known &= highest != NODATA
        first[to] = min(first[to], (row + i) * width + j)
        pixels[to] += length
        score[to] += total
        last_row[to] = max(last_row[to], row + i)
        left[to] = min(left[to], j)
        right[to] = max(right[to], j + length - 1)
    return all_known


@dataclass(frozen=True, slots=True, eq=False)
class ScoreCounts(RegionTable):
    """Histograms of the scores of regions, as counts of (region, score): each pair once, by region."""

    score: UInt8
    """Stored score, rising within a region."""
    count: Int64
    """Pixels of the region with that score."""

    def add_runs(
        self, of_old: Int64, runs: Runs, number: Int64, scores: UInt8, is_open: Bool
    ) -> tuple[Self, UInt8, UInt8]:
        """Count the pixels of a strip's runs, too.

        ``of_old``: region that each of these counts' regions has become part of; the rest is as in
        :meth:`Components.add_runs`; ``is_open``: regions that go on below.

        Returns:
            Counts of the regions that go on, under their numbers; and of all others the 10th percentile (the
            lowest score that a tenth of the pixels do not pass) and the maximum, shape (regions,).
        """
        begins = np.searchsorted(self.region, np.arange(of_old.size + 1))
        known = self.score, self.count, begins, of_old
        room = 256 * np.count_nonzero(is_open)
        region, score, count = np.empty(room, np.int64), np.empty(room, np.uint8), np.empty(room, np.int64)
        p10, highest = np.zeros((2, is_open.size), np.uint8)
        of_runs, table = (runs.start, runs.stop, number), (region, score, count)
        size = _tally(known, of_runs, scores.reshape(-1), scores.shape[1], is_open, table, p10, highest)
        return type(self)(region[:size].copy(), score[:size].copy(), count[:size].copy()), p10, highest


@compiled
def _tally(
    known: tuple[UInt8, Int64, Int64, Int64],
    runs: tuple[Int64, Int64, Int64],
    scores: UInt8,
    width: int,
    is_open: Bool,
    table: tuple[Int64, UInt8, Int64],
    p10: UInt8,
    highest: UInt8,
) -> int:
    """Count scores region by region; returns the number of counts written to the table."""
    score_before, count_before, begins, of_old = known
    start, stop, number = runs
    regions = is_open.shape[0]
    first_run, first_old = np.empty(regions, np.int64), np.empty(regions, np.int64)
    for region in range(regions):
        first_run[region] = first_old[region] = -1
    next_run, next_old = np.empty(start.shape[0], np.int64), np.empty(of_old.shape[0], np.int64)
    for run in range(start.shape[0]):
        if number[run] >= 0 and start[run] >= width + 2:
            next_run[run], first_run[number[run]] = first_run[number[run]], run
    for old in range(of_old.shape[0]):
        next_old[old], first_old[of_old[old]] = first_old[of_old[old]], old
    counts = np.zeros(256, np.int64)
    size = 0
    for region in range(regions):
        pixels, low, high = 0, 255, 0
        old, run = first_old[region], first_run[region]
        while old >= 0:
            for n in range(begins[old], begins[old + 1]):
                score = score_before[n]
                counts[score] += count_before[n]
                pixels += count_before[n]
                low, high = min(low, score), max(high, score)
            old = next_old[old]
        while run >= 0:
            at = (start[run] // (width + 2) - 1) * width + start[run] % (width + 2) - 1
            for pixel in range(at, at + stop[run] - start[run]):
                score = scores[pixel]
                counts[score] += 1
                low, high = min(low, score), max(high, score)
            pixels += stop[run] - start[run]
            run = next_run[run]
        highest[region] = high
        missing = (pixels + 9) // 10
        for score in range(low, high + 1):
            if counts[score] and is_open[region]:
                table[0][size], table[1][size], table[2][size] = region, score, counts[score]
                size += 1
            if missing > 0:
                p10[region] = score
                missing -= counts[score]
            counts[score] = 0
    return size
