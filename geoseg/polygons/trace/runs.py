"""Horizontal runs of equal pixels, and which of them touch: what connected components are made of.

Components of many classes come out of one pass, and the work depends on the runs, not on the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.arrays import Int64, UInt8
from geoseg.compiled import compiled

__all__ = ["Runs", "find_runs", "group", "touching_rows"]


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
    above = np.arange(nodes)  # a tree of each component, its first node the root
    for edge in range(first.shape[0]):
        one, other = first[edge], second[edge]
        while above[one] != one:
            above[one] = above[above[one]]
            one = above[one]
        while above[other] != other:
            above[other] = above[above[other]]
            other = above[other]
        above[max(one, other)] = min(one, other)
    count = 0
    for node in range(nodes):
        if above[node] == node:
            above[node] = count
            count += 1
        else:
            above[node] = above[above[node]]
    return count, above
