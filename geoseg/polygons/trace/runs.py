"""Horizontal runs of equal pixels, and which of them touch: what connected components are made of.

Components of many classes come out of one pass, and the work depends on the runs, not on the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.arrays import Bool, Int64, UInt8
from geoseg.compiled import compiled, inner
from geoseg.grid.encoding import NODATA

__all__ = ["Runs", "Scores", "find_runs", "group", "join_runs", "score_at", "touching_rows"]


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """The maximal horizontal runs of an array, in raster order; together they are every pixel once."""

    start: Int64
    """Flat index of each run's first pixel, shape (n,), rising."""
    stop: Int64
    """Flat index behind each run's last pixel, shape (n,); ``stop[i] == start[i + 1]``."""
    value: UInt8
    """Value of each run's pixels, shape (n,)."""
    width: int

    def of(self, pixels: Int64) -> Int64:
        """Index of the run that holds each pixel, given flat indices."""
        return np.searchsorted(self.start, pixels, side="right") - 1


Scores = tuple[UInt8, UInt8]
"""Stored scores of the row above a strip, shape (bands, width), and of its rows, (bands, rows, width)."""


@inner
def score_at(band: int, i: int, j: int, scores: Scores) -> int:
    """A score, by row and column of an array with the row above and a column without data on both sides."""
    return int(np.int64(scores[0][band, j - 1] if i == 0 else scores[1][band, i - 1, j - 1]))


def find_runs(strip: UInt8) -> Runs:
    """Cut a C-contiguous array, uint8 of shape (rows, columns), both at least 1, into its runs."""
    flat = strip.reshape(-1)
    begins = np.empty(flat.size, np.bool_)
    begins[0] = True
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    begins[:: strip.shape[1]] = True
    start = np.flatnonzero(begins)
    return Runs(start, np.append(start[1:], flat.size), flat[start], strip.shape[1])


def touching_rows(runs: Runs, upper: Int64) -> tuple[Int64, Int64]:
    """Pairs (upper, lower) of runs, by index, of which one lies directly above the other.

    ``upper`` are the runs to find lower neighbors of, none of them in the last row. Runs of neighboring rows
    of ``m`` and ``n`` runs make at most ``m + n - 1`` pairs.
    """
    first = runs.of(runs.start[upper] + runs.width)
    last = runs.of(runs.stop[upper] - 1 + runs.width)
    counts = last - first + 1
    lower = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts - first, counts)
    return np.repeat(upper, counts), lower


@compiled
def group(nodes: int, first: Int64, second: Int64) -> tuple[int, Int64]:
    """Number of connected components of an undirected graph, and each node's, int64, shape (nodes,).

    ``first`` and ``second`` are the nodes of each edge. Components are numbered by their first nodes.
    """
    above = np.arange(nodes)
    for edge in range(first.shape[0]):
        _join(above, first[edge], second[edge])
    return _number(above), above


@compiled
def join_runs(
    start: Int64, stop: Int64, value: UInt8, node: Int64, nodes: int, width: int
) -> tuple[int, Int64, Bool]:
    """Connected components of nodes whose runs of the same value lie above each other.

    Args:
        start: first pixel of each run, shape (runs,).
        stop: pixel behind its last one.
        value: of its pixels.
        node: of each run, -1: of none; runs of the first row may share nodes.
        nodes: how many there are.
        width: of the array, whose first and last columns have no data.

    Returns:
        Number of the components; each node's, by their first nodes, shape (nodes,); and which runs have a
        pixel without data on any of their four sides, shape (runs,).
    """
    above = np.arange(nodes)
    at_edge = np.zeros(start.shape[0], np.bool_)
    a, b = 0, 0
    while b < start.shape[0] and start[b] < width:
        b += 1
    while b < start.shape[0]:
        if value[a] != value[b]:
            at_edge[a] |= value[b] == NODATA
            at_edge[b] |= value[a] == NODATA
        elif node[a] >= 0:
            _join(above, node[a], node[b])
        left, right = stop[a] + width, stop[b]
        a, b = a + (left <= right), b + (right <= left)
    for run in range(1, start.shape[0] - 1):
        at_edge[run] |= value[run - 1] == NODATA or value[run + 1] == NODATA
    return _number(above), above, at_edge


# Components are trees: ``above`` is the parent of each node, the first node of a component its root.


@inner
def _join(above: Int64, one: int, other: int) -> None:
    """Make the trees of two nodes one."""
    while above[one] != one:
        above[one] = above[above[one]]
        one = above[one]
    while above[other] != other:
        above[other] = above[above[other]]
        other = above[other]
    above[max(one, other)] = min(one, other)


@inner
def _number(above: Int64) -> int:
    """Put the number of its component in the place of each node's parent; returns how many there are."""
    count = 0
    for node in range(above.shape[0]):
        if above[node] == node:
            above[node] = count
            count += 1
        else:
            above[node] = above[above[node]]
    return count
