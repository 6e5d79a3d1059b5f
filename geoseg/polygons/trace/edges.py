"""Edges of pixel regions, and where the score fields cross on each of them.

A region's outline on the pixel lattice is made of unit edges. Each separates a pixel of the region from one
that is not of it; between their two centers lies the point where the scores of both classes are equal, the
crossing (x). Moving every edge there turns the outline along the pixels into the iso-line of the scores:
topology comes from the pixels, geometry from the probabilities (marching squares, of many classes at once).

      A     │     B                 o  pixel center: A, B, C are classes
      o─────┼──x──o                 ┼  unit edge, between two centers
    ────────●────────               ●  lattice point: a node, as three regions meet; its vertex is the mean of
      o─────┼─x───o                    the crossings around it
      A     │     C

A crossing is rounded to 1/256 of the way before any coordinate is added, so both regions of an edge and every
way of cutting a scene into strips get the same bits. Beside missing data, and at the scene's edge, nothing
moves.

Each edge is walked with its region on the left (columns to the right, rows upwards) and found at the lattice
point where it ends. There it is known which edge follows; the links make the rings. Work goes by the runs of
two neighboring rows, so that it depends on the outlines and not on the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from geoseg.arrays import Bool, Int64, UInt8
from geoseg.compiled import compiled, inner
from geoseg.grid.encoding import NODATA
from geoseg.polygons.trace.runs import Runs, Scores, score_at
from geoseg.polygons.trace.table import RegionTable

__all__ = [
    "CORNER",
    "DOWN",
    "LEFT",
    "MEETS",
    "NODE",
    "OFFSET",
    "RIGHT",
    "STAYS",
    "STEPS",
    "UP",
    "Course",
    "Edges",
    "find_edges",
    "no_ends",
]

STEPS: Final = 256
"""Coordinates are multiples of one pixel over this."""
STAYS: Final = 255
"""Crossing of an edge that does not move: it lies beside missing data."""
NODE: Final = 1
"""An edge's end at which three regions or more meet, or two of them twice."""
CORNER: Final = 2
"""An edge's end at which the outline of missing data turns."""
DOWN, RIGHT, UP, LEFT = 0, 1, 2, 3
"""Ways to walk an edge."""
MEETS: Final = 4
"""Added to a way: the next edge, if of the same region, ends here, too, coming from the opposite side."""

OFFSET: Final = 1 << 10
"""Added to steps from an edge's end, so that they are above 0."""
_NEAREST: Final = 5
"""Crossings keep this many steps (0.02 px) from the centers, so that these stay inside."""
_NONE: Final = -1
"""Crossing of an edge whose two pixels are of the same class."""


@dataclass(frozen=True, slots=True, eq=False)
class Edges(RegionTable):
    """Edges of regions, as equal-length arrays; an edge between two regions is there twice.

    They are in the order of the rows and columns of their ends.
    """

    end: Int64
    """Lattice point where it ends: its row times one more than the scene's width, plus its column."""
    following: Int64
    """The edge that is walked next; -1: not found yet."""
    mark: Int64
    """From the lowest bit on: how it is walked, 2 bits; :data:`MEETS`; the crossing, in steps from the left
    or upper pixel's center to the other's, or :data:`STAYS`, 8 bits; what is at its end, 0, :data:`NODE` or
    :data:`CORNER`, 2 bits; and the steps from its end to that vertex, along the columns and along the rows,
    with :data:`OFFSET` added, 11 bits each."""

    def keep_open(self, chosen: Bool, number: Int64, ends: Int64) -> tuple[Self, Int64]:
        """Those of the chosen regions, region ``r`` called ``number[r]``, and the ends that are theirs."""
        if not len(self):
            return self, ends
        kept = chosen[self.region]
        rank = np.maximum(np.cumsum(kept) - 1, 0)  # ends that mean nothing stay within the table
        out = self.choose(kept).renumber(number)
        return replace(out, following=np.where(out.following < 0, -1, rank[out.following])), rank[ends]


def no_ends(width: int) -> Int64:
    """What is left open at the upper edge of a scene of so many columns; see :func:`find_edges`."""
    return np.zeros((2, width + 2), np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Where outlines run."""

    deformed: bool = False
    """Whether they run where the scores cross. Else they run along the pixels, and their edges go on to where
    runs change: they are not units, and have neither crossings nor vertices."""
    level: float | None = None
    """The stored value that separates foreground from background in the only band; None: a band per class."""
    touching: bool = True
    """Whether regions that meet at a point only share that point, as is needed where nothing may be left
    between polygons; else each of them is cut off before it."""


def find_edges(
    runs: Runs,
    number: Int64,
    scores: tuple[UInt8, UInt8],
    row: int,
    known: tuple[Edges, Int64],
    course: Course,
) -> tuple[Edges, Int64]:
    """Edges that end at the lattice points inside a strip, behind those that are known.

    Args:
        runs: of the strip with the row above it and a column without data on both sides.
        number: region of each run; -1: of no class that is wanted.
        scores: stored scores of the row above, uint8 (bands, width), and of the strip, uint8 (bands, rows,
            width): a band per class; or one band alone, the foreground's, of a model with one class and a
            background. They count where outlines run by them.
        row: the scene's row of the strip's first one.
        known: edges found above, and what was left open there: for each column of the runs' array the latest
            edge walked up that ends left of it, and the edge that leads to one walked down there, int64
            (2, width + 2).
        course: where outlines run.

    Returns:
        All edges, and what is left open below.
    """
    edges, ends = known
    room = int(_count(runs.start, runs.stop, runs.value, number, runs.width))
    table = np.empty((4, len(edges) + room), np.int64)
    table[:, : len(edges)] = edges.region, edges.end, edges.following, edges.mark
    state, ends = np.array([len(edges), 0, 0]), ends.copy()
    how = runs.width, row, course.deformed, -1.0 if course.level is None else course.level, course.touching
    _fill((runs.start, runs.stop, runs.value, number), scores, how, table, ends, state)
    return Edges(*table[:, : int(state[_COUNT])]), ends


_Runs = tuple[Int64, Int64, UInt8, Int64]
"""First pixel, pixel behind the last, value and region of each run."""
_How = tuple[int, int, bool, float, bool]
"""Width of the runs' array, row of the strip's first one, and :class:`Course`; below 0: a band per class."""
# State: edges found; the latest one walked left; the one that leads to the right.
_COUNT, _TO_LEFT, _TO_RIGHT = 0, 1, 2

# The pixels around a lattice point, numbered the way that outlines turn round them, and the edges that meet
# there, each between a pixel and the next one. Round pixel k an outline comes in along edge k - 1 and leaves
# along edge k, unless the next pixel is of the same region.
#
#     0 │ 3     edge 0 is left of the point, 1 below, 2 right, 3 above
#    ───┼───    incoming: 0 is walked down, 1 right, 2 up, 3 left
#     1 │ 2     leaving: 0 is walked left, 1 down, 2 right, 3 up
_ROW, _COLUMN = (0, 1, 1, 0), (-1, -1, 0, 0)  # of the pixels
_FIRST, _SECOND = (0, 1, 3, 0), (1, 2, 2, 3)  # pixels of each edge, the left or upper one first
_ORDER = (0, 2, 1, 3)  # edges of opposite pixels behind each other


@compiled
def _count(start: Int64, stop: Int64, value: UInt8, number: Int64, width: int) -> int:
    """An upper bound of the edges that end at the lattice points inside, near to their number."""
    total = 0
    for run in range(1, start.shape[0]):
        if start[run] % width:
            total += number[run] >= 0
            total += number[run - 1] >= 0
    a, b = 0, 0
    while b < start.shape[0] and start[b] < width:
        b += 1
    while b < start.shape[0]:
        left, right = stop[a] + width, stop[b]
        if value[a] != value[b]:
            length = min(left, right) - max(start[a] + width, start[b])
            total += length * (number[a] >= 0)
            total += length * (number[b] >= 0)
        a, b = a + (left <= right), b + (right <= left)
    return total


@compiled
def _fill(runs: _Runs, scores: Scores, how: _How, edges: Int64, ends: Int64, state: Int64) -> None:
    """Write the edges of all lattice points."""
    start, stop, value, number = runs
    width, deformed = how[0], how[2]
    around, scratch = np.empty(4, np.int64), np.empty((2, 4), np.int64)
    a, b = 0, 0
    while b < start.shape[0] and start[b] < width:
        b += 1
    while b < start.shape[0]:
        left, right = stop[a] + width, stop[b]
        first, last = max(start[a] + width, start[b]), min(left, right)
        i = first // width - 1
        around[0], around[1] = a, b
        first, last = first - (i + 1) * width, last - (i + 1) * width
        if deformed and value[a] != value[b] and max(number[a], number[b]) >= 0:
            _go_straight(around, i, first, last, value, number, scores, how, edges, state)
        a, b = a + (left <= right), b + (right <= left)
        around[2], around[3] = b, a
        turns = deformed or value[around[0]] != value[around[1]] or value[b] != value[a]
        if last < width and turns and max(number[around[0]], number[around[1]], number[b], number[a]) >= 0:
            _meet(around, i, last, value, number, scores, how, edges, ends, state, scratch)


@inner
def _go_straight(
    around: Int64,
    i: int,
    first: int,
    last: int,
    value: UInt8,
    number: Int64,
    scores: Scores,
    how: _How,
    edges: Int64,
    state: Int64,
) -> None:
    """The edges between a run and one below it that end at lattice points between two pixels of both."""
    upper, lower = number[around[0]], number[around[1]]
    above, below = value[around[0]], value[around[1]]
    n = state[_COUNT]
    before = _crossing(above, below, i, first, i + 1, first, scores, how[3])
    for j in range(first + 1, last):
        place = (how[1] + i) * (how[0] - 1) + j - 1
        after = _crossing(above, below, i, j, i + 1, j, scores, how[3])
        if lower >= 0:
            edges[0, n], edges[1, n], edges[2, n], edges[3, n] = lower, place, -1, RIGHT + (before << 3)
            edges[2, state[_TO_RIGHT]] = n
            state[_TO_RIGHT] = n
            n += 1
        if upper >= 0:
            edges[0, n], edges[1, n], edges[3, n] = upper, place, LEFT + (after << 3)
            edges[2, n] = state[_TO_LEFT]
            state[_TO_LEFT] = n
            n += 1
        before = after
    state[_COUNT] = n


@inner
def _meet(
    around: Int64,
    i: int,
    j: int,
    value: UInt8,
    number: Int64,
    scores: Scores,
    how: _How,
    edges: Int64,
    ends: Int64,
    state: Int64,
    scratch: Int64,
) -> None:
    """The edges that end where a run begins above or below."""
    crossing, new = scratch[0], scratch[1]
    for k in range(4):
        one, other = _FIRST[k], _SECOND[k]
        crossing[k] = _NONE
        if value[around[one]] != value[around[other]]:
            crossing[k] = STAYS
            if how[2]:
                crossing[k] = _crossing(
                    value[around[one]], value[around[other]], i + _ROW[one], j + _COLUMN[one],
                    i + _ROW[other], j + _COLUMN[other], scores, how[3],
                )  # fmt: skip
    turn = _vertex(value, around, crossing, how[4]) << 11 if how[2] else 0
    leads_left, leads_up, leads_down = state[_TO_LEFT], ends[0, j], ends[1, j]
    for k in _ORDER:
        before = (k + 3) % 4
        new[k] = -1
        if number[around[k]] < 0 or crossing[before] == _NONE:
            continue
        n = new[k] = state[_COUNT]
        state[_COUNT] += 1
        edges[0, n], edges[1, n] = number[around[k]], (how[1] + i) * (how[0] - 1) + j - 1
        edges[3, n] = k + (crossing[before] << 3) + turn
        if k == DOWN:
            edges[2, leads_down] = n
        elif k == RIGHT:
            edges[2, state[_TO_RIGHT]] = n
        elif k == UP:
            ends[0, j] = n
        else:
            state[_TO_LEFT] = n
    for k in range(4):
        if new[k] < 0:
            continue
        leaves = k
        while crossing[leaves] == _NONE:
            leaves = (leaves + 1) % 4
        edges[2, new[k]] = leads_left if leaves == 0 else leads_up if leaves == 3 else -1  # noqa: PLR2004 - above
        if leaves == 1:
            ends[1, j] = new[k]
        elif leaves == 2:  # noqa: PLR2004 - right of the point
            state[_TO_RIGHT] = new[k]
    for k in range(2):
        if new[k] >= 0 and new[k + 2] >= 0 and value[around[k]] == value[around[k + 2]]:
            edges[3, new[k]] += MEETS


@inner
def _above(own: int, other: int, i: int, j: int, scores: Scores, level: float) -> float:
    """By how much a pixel's class is above another one there."""
    if level >= 0:
        return max(abs(score_at(0, i, j, scores) - level), 0.5)
    return max(float(score_at(own, i, j, scores) - score_at(other, i, j, scores)), 0.5)


@inner
def _crossing(first: int, second: int, i: int, j: int, k: int, m: int, scores: Scores, level: float) -> int:
    """Steps from a pixel's center toward the one right of it, or below it; their values are given."""
    if NODATA in (first, second):
        return STAYS
    here = _above(first, second, i, j, scores, level)
    there = _above(second, first, k, m, scores, level)
    return min(max(int(np.rint(STEPS * here / (here + there))), _NEAREST), STEPS - _NEAREST)


@inner
def _vertex(value: UInt8, around: Int64, crossing: Int64, touching: bool) -> int:
    """What the outlines have at a lattice point, and where: the upper bits of :attr:`Edges.mark`."""
    count, blank = 0, 0
    for k in range(4):
        count += crossing[k] != _NONE
        blank += value[around[k]] == NODATA
    if count == 2:  # noqa: PLR2004 - one outline passes; it turns unless it goes straight on
        straight = (crossing[0] != _NONE) == (crossing[2] != _NONE)
        return CORNER + _steps(0, 0) if blank and not straight else 0
    if not blank:
        opposite = value[around[0]] == value[around[2]] and value[around[1]] == value[around[3]]
        if opposite and not touching:
            return 0
        return NODE + _middle(crossing)
    if blank == 2 and count == 3:  # noqa: PLR2004 - two pixels beside each other
        # On a straight edge of missing data: opposite the missing edge.
        for k in range(4):
            if crossing[k] == _NONE:
                away = crossing[(k + 2) % 4] - STEPS // 2
                return NODE + (_steps(away, 0) if k % 2 else _steps(0, away))
    return NODE + _steps(0, 0)


@inner
def _middle(crossing: Int64) -> int:
    """Mean of the crossings around a lattice point, in steps from it."""
    half = STEPS // 2
    x = y = count = 0
    for k in range(4):
        if crossing[k] != _NONE:
            along, away = crossing[k] - half, -half if k in (0, 3) else half
            x += along if k % 2 else away
            y += away if k % 2 else along
            count += 1
    return _steps(int(np.rint(x / count)), int(np.rint(y / count)))


@inner
def _steps(x: int, y: int) -> int:
    """Steps from a lattice point along columns and rows, where those bits have them."""
    return ((x + OFFSET) << 2) + ((y + OFFSET) << 13)
