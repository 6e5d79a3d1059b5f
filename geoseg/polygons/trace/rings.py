"""Rings as flat arrays: many outlines at once, for loops that compile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rings"]


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """Closed rings in pixel coordinates, one after the other; a ring does not repeat its first vertex.

    A vertex that is neither ``node`` nor ``fixed`` is a *crossing*: it lies between the centers of two
    neighboring pixels, one inside the ring and one outside, on the straight line between them (its *gate*).
    So exactly one of its coordinates is a whole number and a half, which tells the gate.
    """

    xy: NDArray[np.float64]
    """Vertices, x (column) and y (row), multiples of 1/256 pixel, shape (n, 2)."""
    start: NDArray[np.int64]
    """Where each ring starts in ``xy``, and n at the end, shape (rings + 1,)."""
    node: NDArray[np.bool_]
    """Vertices where three or more regions meet, or four pieces of outline: arcs end there, shape (n,)."""
    fixed: NDArray[np.bool_]
    """Vertices on an edge of missing data or of the scene: the outline is exact there, shape (n,)."""

    def __len__(self) -> int:
        return self.start.size - 1
