"""Finding small regions strip by strip, and deciding each cluster of them when it is complete."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from geoseg.arrays import Bool, Int64, UInt8
from geoseg.errors import GridError
from geoseg.grid.encoding import NODATA
from geoseg.polygons.coverage.sieve_decide import decide
from geoseg.polygons.trace.runs import Runs, find_runs, group, touching_rows

__all__ = ["Open", "advance"]


@dataclass(frozen=True, slots=True, eq=False)
class _Regions:
    """Regions, as arrays of equal length."""

    class_id: Int64
    pixels: Int64
    first: Int64
    """First pixel, as a flat index of the scene."""
    evidence: Int64
    """Sums of stored scores over the pixels, shape (n, classes)."""
    beside: Bool
    """Classes of the large regions that each touches, shape (n, classes)."""

    def __len__(self) -> int:
        return self.pixels.size

    @classmethod
    def empty(cls, count: int, classes: int) -> Self:
        """Regions of no pixels."""
        number = np.zeros(count, np.int64)
        first = np.full(count, np.iinfo(np.int64).max)
        sums = np.zeros((count, classes), np.int64)
        return cls(number, number.copy(), first, sums, np.zeros((count, classes), np.bool_))

    def choose(self, chosen: Bool) -> Self:
        """The regions of a mask."""
        return type(self)(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def merged(self, other: _Regions, count: int, number: Int64) -> Self:
        """These and others, those with the same number made one."""
        out = self.empty(count, self.evidence.shape[1])
        for part, to in ((self, number[: len(self)]), (other, number[len(self) :])):
            out.class_id[to] = part.class_id
            np.add.at(out.pixels, to, part.pixels)
            np.minimum.at(out.first, to, part.first)
            np.add.at(out.evidence, to, part.evidence)
            region, of_class = np.nonzero(part.beside)
            out.beside[to[region], of_class] = True
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Open:
    """What is carried on: regions that reach the last row, and small ones that wait for these."""

    regions: _Regions
    touching: Int64
    """Pairs of small regions that touch, by number, shape (2, m)."""
    ends: Int64
    """Upper ends of small regions, as flat index of the scene and number of the region, shape (2, k)."""
    of_runs: Int64
    """Region of each run of the last row that has data, from the left."""
    classes: UInt8
    """The last row, shape (width,)."""

    @classmethod
    def start(cls, width: int, bands: int) -> Self:
        """Before the first row; one band tells two classes."""
        none = np.zeros((2, 0), np.int64)
        return cls(_Regions.empty(0, max(bands, 2)), none, none, none[0], np.full(width, NODATA, np.uint8))


def advance(before: Open, classes: UInt8, stored: UInt8, row: int, least: int) -> tuple[Open, Int64, Int64]:
    """Take in one strip.

    Args:
        before: what came of the strips above.
        classes: class ids, shape (rows, width).
        stored: scores of all bands, shape (bands, rows, width).
        row: the scene's row of the first one.
        least: smaller regions are small.

    Returns:
        What to carry on; upper ends of regions that change, of those that are now decided; and their classes.
    """
    width = classes.shape[1]
    runs = find_runs(np.concatenate([before.classes[None], classes]))
    has_data = runs.value != NODATA
    is_new = has_data & (runs.start >= width)
    node = np.full(runs.start.size, -1, np.int64)
    node[has_data & ~is_new] = before.of_runs
    node[is_new] = len(before.regions) + np.arange(int(np.count_nonzero(is_new)))
    fresh = _of_runs(runs, is_new, before.regions.evidence.shape[1], stored, row)

    upper, lower = touching_rows(runs, np.flatnonzero(has_data & (runs.start < len(classes) * width)))
    same = runs.value[upper] == runs.value[lower]
    count, number = group(len(before.regions) + len(fresh), node[upper[same]], node[lower[same]])
    regions = before.regions.merged(fresh, count, number)

    is_end = is_new.copy()
    is_end[lower[same]] = False
    new_ends = np.stack([runs.start[is_end] + (row - 1) * width, number[node[is_end]]])
    ends = np.concatenate([np.stack([before.ends[0], number[before.ends[1]]]), new_ends], axis=1)

    apart = ~same & has_data[lower]
    left = np.flatnonzero(is_new[:-1] & is_new[1:] & (runs.start[1:] % width != 0))
    found = np.stack([np.concatenate([upper[apart], left]), np.concatenate([lower[apart], left + 1])])
    touching = number[np.concatenate([before.touching, node[found]], axis=1)]

    is_open = np.zeros(count, np.bool_)
    is_last = has_data & (runs.start >= len(classes) * width)
    is_open[number[node[is_last]]] = True
    large = regions.pixels >= least
    touching = _note_large(regions, touching, large)
    clusters, cluster = group(count, *touching)
    waits = np.zeros(clusters, np.bool_)
    waits[cluster[is_open & ~large]] = True
    waits = waits[cluster] & ~large

    becomes = _decided(regions, touching, ~large & ~waits, least)
    changed = (becomes != regions.class_id)[ends[1]]
    live = is_open | waits
    rank = np.cumsum(live) - 1
    after = Open(
        regions.choose(live),
        rank[touching[:, waits[touching[0]]]],
        np.stack([ends[0], rank[ends[1]]])[:, waits[ends[1]]],
        rank[number[node[is_last]]],
        classes[-1],
    )
    return after, ends[0, changed], becomes[ends[1, changed]]


def _of_runs(runs: Runs, chosen: Bool, classes: int, stored: UInt8, row: int) -> _Regions:
    """Each chosen run, of which the first row holds none, as a region of its own."""
    start, stop, value = runs.start[chosen], runs.stop[chosen], runs.value[chosen]
    out = _Regions.empty(start.size, classes)
    if not start.size:
        return out
    if value.max() >= classes:
        raise GridError(f"below row {row} a pixel has class {value.max()}; there are {classes} classes")
    ends = np.stack([start, stop], axis=1).reshape(-1) - runs.width
    # Sums between neighboring ends: of the run, of the gap behind it, and so on; only the runs' are kept.
    inside = ends[:-1] if ends[-1] == stored[0].size else ends
    for band, flat in enumerate(stored.reshape(len(stored), -1)):
        out.evidence[:, band] = np.add.reduceat(flat, inside, dtype=np.int64)[0::2]
        if np.maximum.reduceat(flat, inside)[0::2].max() == NODATA:
            raise GridError(
                f"below row {row} a pixel has a class but no score; both must come from the same run"
            )
    first = start + (row - 1) * runs.width
    return _Regions(value.astype(np.int64), stop - start, first, out.evidence, out.beside)


def _note_large(regions: _Regions, touching: Int64, large: Bool) -> Int64:
    """Write down for small regions which classes of large ones they touch; return the pairs of small ones."""
    for one, other in (touching, touching[::-1]):
        beside = ~large[one] & large[other]
        regions.beside[one[beside], regions.class_id[other[beside]]] = True
    both = touching[:, ~large[touching].any(axis=0)]
    count = len(regions)
    key = np.unique(both.min(axis=0) * count + both.max(axis=0))
    return np.stack([key // count, key % count])


def _decided(regions: _Regions, touching: Int64, chosen: Bool, least: int) -> Int64:
    """Classes of all regions, those of the chosen ones as they are decided."""
    class_id = regions.class_id.copy()
    rank = np.cumsum(chosen) - 1
    one, other = rank[touching[:, chosen[touching[0]]]]
    found = regions.choose(chosen)
    class_id[chosen] = decide(
        found.class_id, found.pixels, found.first, found.evidence, found.beside, one, other, least
    )
    return class_id
