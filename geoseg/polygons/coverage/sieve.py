"""Small regions of a class map become part of their surroundings, by the scores of their pixels.

A region (4-connected, of one class) of fewer pixels than wanted is small. The smallest one (of equals that
whose first pixel comes first) takes, of the classes of the regions beside it, the one with the largest sum of
stored scores over its pixels (of equals the lowest), and so becomes one region with those neighbors. This
goes on until none is small, but for islands of data that are small as a whole. Pixels without data stay so,
and a region that is not small keeps all of its pixels.

    A A A A A A A     s and t are small and touch: a cluster. t is smaller; of its neighbors' classes, those
    A s s t B B B     of s and B, it takes the one with the larger sum of scores over its pixel. If that is
    A A s B B B B     B's, s comes next, with those of A and B to choose from.

The scene is passed twice, strip by strip: :func:`plan_sieve` finds what changes, :meth:`Sieve.apply` changes
it. Strips do not decide anything: small regions act upon each other only where they touch, so a cluster of
them between large regions and missing data is decided alone, as soon as all of it has been seen.

Memory: a plan takes 9 bytes for each upper end of a changed region. Planning takes about 150 bytes, and 10
more for each band, for each run of a strip and each small region whose cluster goes on below it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from geoseg.arrays import Bool, Int64, UInt8
from geoseg.compiled import compiled
from geoseg.errors import GridError
from geoseg.grid.encoding import NODATA, SCALE
from geoseg.polygons.trace.regions import Strip
from geoseg.polygons.trace.runs import Runs, find_runs, group, touching_rows
from geoseg.polygons.trace.table import Table

__all__ = ["Sieve", "plan_sieve", "sieved"]


@dataclass(frozen=True, slots=True, eq=False)
class Sieve:
    """Which regions of a scene get another class."""

    top: Int64
    """Upper ends of these regions: first pixels of runs with none of their region above, each a flat index,
    ``row × width + column``; shape (n,), rising."""
    class_id: UInt8
    """Class that the region of each end gets, shape (n,)."""
    width: int

    def apply(self, strips: Iterable[Strip], level: float | None = None) -> Iterator[Strip]:
        """The same strips without their small regions: with new classes, and the scores of these.

        Strips are those of the scene that the plan was made of, their heights may differ; errors are those of
        :func:`plan_sieve`. ``level`` is the stored value that separates two classes in the only band; None: a
        band per class.
        """
        above = np.full(self.width, NODATA, np.uint8)
        changed_above = above
        row = 0
        for strip in strips:
            stored = _stored(strip, self.width, row)
            runs = find_runs(np.concatenate([above[None], strip.classes]))
            becomes = np.full(runs.start.size, -1, np.int64)
            rows = np.array([row, row + len(strip.classes)])
            here = slice(*np.searchsorted(self.top, rows * self.width))
            of_top = np.searchsorted(runs.start, self.top[here] - (row - 1) * self.width)
            becomes[of_top] = self.class_id[here]
            in_above = runs.start < self.width
            becomes[in_above] = changed_above[runs.start[in_above]]
            last_row = runs.start[-1] - runs.start[-1] % self.width
            upper, lower = touching_rows(runs, np.flatnonzero(runs.start < last_row))
            same = runs.value[upper] == runs.value[lower]
            count, number = group(becomes.size, upper[same], lower[same])
            of_region = np.full(count, -1, np.int64)
            np.maximum.at(of_region, number, becomes)  # all that is known of a region is the same
            becomes = np.where(of_region[number] < 0, runs.value, of_region[number])
            after = np.repeat(becomes.astype(np.uint8), runs.stop - runs.start).reshape(-1, self.width)
            above, changed_above = strip.classes[-1], after[-1]
            row += len(strip.classes)
            yield _changed(strip, stored, after[1:], level)


def sieved(
    strips: Callable[[], Iterable[Strip]], width: int, min_pixels: int, level: float | None = None
) -> Iterator[Strip]:
    """The scene without its small regions: :func:`plan_sieve`, then :meth:`Sieve.apply`."""
    return plan_sieve(strips(), width, min_pixels).apply(strips(), level)


def plan_sieve(strips: Iterable[Strip], width: int, min_pixels: int) -> Sieve:
    """Find the regions of fewer than ``min_pixels``, and decide what becomes of them.

    Strips are consecutive rows from the top, with all bands: one per class, or one for two classes. One that
    has none or does not fit the width, and a pixel whose class has no band or no score, are a GridError.
    """
    tops, class_ids = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    state: _Open | None = None
    row = 0
    for strip in strips:
        stored = _stored(strip, width, row)
        state = _Open.start(width, len(stored)) if state is None else state
        state, top, class_id = _advance(state, strip.classes, stored, row, min_pixels)
        tops.append(top)
        class_ids.append(class_id)
        row += len(strip.classes)
    if state is not None:  # a row without data below the scene completes what is left
        blank = np.full((len(stored), 1, width), NODATA, np.uint8)
        _, top, class_id = _advance(state, blank[0], blank, row, min_pixels)
        tops.append(top)
        class_ids.append(class_id)
    top = np.concatenate(tops)
    order = np.argsort(top)
    return Sieve(top[order], np.concatenate(class_ids)[order].astype(np.uint8), width)


def _stored(strip: Strip, width: int, row: int) -> UInt8:
    """A strip's bands."""
    if strip.stored is None:
        raise GridError(f"rows from {row} came without bands; small regions are judged by the scores of all")
    if (
        strip.stored.shape[1:] != strip.classes.shape
        or strip.classes.shape[1] != width
        or not len(strip.classes)
    ):
        raise GridError(
            f"rows from {row} came as classes of shape {strip.classes.shape} and bands of shape "
            f"{strip.stored.shape}; needed rows {width} wide, as many in both"
        )
    return strip.stored


def _changed(strip: Strip, stored: UInt8, classes: UInt8, level: float | None) -> Strip:
    """A strip with other classes."""
    is_new = classes != strip.classes
    scores = strip.scores.copy()
    if level is None:
        rows, cols = np.nonzero(is_new)
        scores[is_new] = stored[classes[is_new], rows, cols]
    else:
        scores[is_new] = SCALE - scores[is_new]  # what one class does not have, the other has
    return replace(strip, classes=classes, scores=scores)


@dataclass(frozen=True, slots=True, eq=False)
class _Regions(Table):
    """Regions that are not decided yet."""

    class_id: Int64
    pixels: Int64
    first: Int64
    """First pixel, as a flat index of the scene."""
    evidence: Int64
    """Sums of stored scores over the pixels, shape (n, classes)."""
    beside: Bool
    """Classes of the large regions that each touches, shape (n, classes)."""

    @classmethod
    def empty(cls, count: int, classes: int) -> Self:
        """Regions of no pixels."""
        number = np.zeros(count, np.int64)
        first = np.full(count, np.iinfo(np.int64).max)
        sums = np.zeros((count, classes), np.int64)
        return cls(number, number.copy(), first, sums, np.zeros((count, classes), np.bool_))

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
class _Open:
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
        """Before the first row; one band is of two classes."""
        none = np.zeros((2, 0), np.int64)
        return cls(_Regions.empty(0, max(bands, 2)), none, none, none[0], np.full(width, NODATA, np.uint8))


def _advance(
    before: _Open, classes: UInt8, stored: UInt8, row: int, least: int
) -> tuple[_Open, Int64, Int64]:
    """Take in one strip, from the scene's row ``row`` on; regions below ``least`` pixels are small.

    ``classes`` have the shape (rows, width), the ``stored`` scores (bands, rows, width).

    Returns:
        What to carry on; upper ends of regions that change, of those that are now decided; and their classes.
    """
    # Nodes of a graph: regions that are carried on, then the new runs; runs that touch are joined.
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

    # Upper ends: runs with no run of their region above.
    is_end = is_new.copy()
    is_end[lower[same]] = False
    new_ends = np.stack([runs.start[is_end] + (row - 1) * width, number[node[is_end]]])
    ends = np.concatenate([np.stack([before.ends[0], number[before.ends[1]]]), new_ends], axis=1)

    # Regions that touch, one above the other or side by side.
    apart = ~same & has_data[lower]
    left = np.flatnonzero(is_new[:-1] & is_new[1:] & (runs.start[1:] % width != 0))
    found = np.stack([np.concatenate([upper[apart], left]), np.concatenate([lower[apart], left + 1])])
    touching = number[np.concatenate([before.touching, node[found]], axis=1)]

    is_open = np.zeros(count, np.bool_)
    of_last_runs = number[node[has_data & (runs.start >= len(classes) * width)]]
    is_open[of_last_runs] = True
    return _decide_complete(regions, touching, ends, is_open, of_last_runs, classes[-1], least)


def _decide_complete(
    regions: _Regions,
    touching: Int64,
    ends: Int64,
    is_open: Bool,
    of_last_runs: Int64,
    last_row: UInt8,
    least: int,
) -> tuple[_Open, Int64, Int64]:
    """Decide clusters of small regions of which none reaches the last row; the rest is carried on."""
    large = regions.pixels >= least
    touching = _note_large(regions, touching, large)
    clusters, cluster = group(len(regions), *touching)
    waits = np.zeros(clusters, np.bool_)
    waits[cluster[is_open & ~large]] = True
    waits = waits[cluster] & ~large

    chosen, becomes = ~large & ~waits, regions.class_id.copy()
    found = regions.choose(chosen)
    # One layout whatever their number, so that their loops are compiled once.
    pairs = np.ascontiguousarray((np.cumsum(chosen) - 1)[touching[:, chosen[touching[0]]]])
    becomes[chosen] = _decide(
        found.class_id, found.pixels, found.first, found.evidence, found.beside, pairs, least
    )
    changed = (becomes != regions.class_id)[ends[1]]
    live = is_open | waits
    rank = np.cumsum(live) - 1
    after = _Open(
        regions.choose(live),
        rank[touching[:, waits[touching[0]]]],
        np.stack([ends[0], rank[ends[1]]])[:, waits[ends[1]]],
        rank[of_last_runs],
        last_row,
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


# Small regions that touch, as a linked list for each region, so that joining two lists is one step:
#
#     first[r] -> link -> link -> ... -> last[r]        pair p is link 2p in the list of other[p], leading to
#                following[link]                        one[p], and link 2p + 1 in that of one[p], to other[p]


@compiled
def _neighbor_lists(count: int, one: Int64, other: Int64) -> tuple[Int64, Int64, Int64, Int64]:
    """First and last link of each region, the link that follows each, and the region that each leads to."""
    first, last = np.full(count, -1), np.full(count, -1)
    following, leads_to = np.full(2 * one.size, -1), np.empty(2 * one.size, np.int64)
    for link in range(2 * one.size):
        pair = link // 2
        owner, leads_to[link] = (one[pair], other[pair]) if link % 2 else (other[pair], one[pair])
        if first[owner] < 0:
            first[owner] = link
        else:
            following[last[owner]] = link
        last[owner] = link
    return first, last, following, leads_to


@compiled
def _best_class(candidates: Bool, evidence: Int64) -> int:
    """Of the candidates the class with the most evidence, of equals the lowest; -1 where there are none."""
    best = -1
    for c in range(candidates.size):
        if candidates[c] and (best < 0 or evidence[c] > evidence[best]):
            best = c
    return best


@compiled
def _candidates(
    own: int, beside: Bool, link: int, following: Int64, leads_to: Int64, of: Int64, class_id: Int64
) -> Bool:
    """Which classes regions beside one have: the large ones, and the small ones on its list; not its own."""
    out = beside.copy()
    while link >= 0:
        out[class_id[_root(of, leads_to[link])]] = True
        link = following[link]
    out[own] = False
    return out


@compiled
def _decide(
    class_id: Int64, pixels: Int64, first: Int64, evidence: Int64, beside: Bool, touching: Int64, least: int
) -> Int64:
    """Classes, shape (n,), that small regions end with: smallest first, by the sums of their scores.

    The first five are those of :class:`_Regions`, all of fewer pixels than ``least``; ``touching`` are pairs
    of them that touch, shape (2, m).
    """
    count = pixels.size
    class_id, pixels, first = class_id.copy(), pixels.copy(), first.copy()
    evidence, beside = evidence.copy(), beside.copy()
    of = np.arange(count)  # the region that each has become part of
    head, tail, following, leads_to = _neighbor_lists(count, touching[0], touching[1])
    waiting = [(pixels[r], first[r], r) for r in range(count)]
    heapq.heapify(waiting)
    while len(waiting) > 0:
        size, _, region = heapq.heappop(waiting)
        if of[region] != region or pixels[region] != size:
            continue  # it has grown since
        candidates = _candidates(
            class_id[region], beside[region], head[region], following, leads_to, of, class_id
        )
        best = _best_class(candidates, evidence[region])
        if best < 0:
            continue  # an island, small as a whole
        class_id[region] = best
        if beside[region, best]:
            pixels[region] += least
        last = tail[region]  # behind it come the lists of those that join
        link = head[region]
        while link >= 0:
            joins = _root(of, leads_to[link])
            if joins != region and class_id[joins] == best:
                of[joins] = region
                pixels[region] += pixels[joins]
                first[region] = min(first[region], first[joins])
                evidence[region] += evidence[joins]
                beside[region] |= beside[joins]
                following[tail[region]], tail[region] = head[joins], tail[joins]
            if link == last:
                break
            link = following[link]
        if pixels[region] < least:
            heapq.heappush(waiting, (pixels[region], first[region], region))
    for r in range(count):
        class_id[r] = class_id[_root(of, r)]
    return class_id


@compiled
def _root(of: Int64, region: int) -> int:
    """The region that a region has become part of."""
    while of[region] != region:
        of[region] = of[of[region]]
        region = of[region]
    return region
