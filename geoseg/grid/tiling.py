"""Overlapping windows on the network's alignment grid, and the window rows that tasks compute.

One axis of a scene, cut with stride S, halo h and edge e (``·`` is context, mirrored past the edges)::

    scene          |0 . . . . . . . . . . . . . . . . . . N|
    window 0     ··[ core 0    ]····
    window 1                 ····[ core 1  ]····
    window 2                           ····[ core 2      ]··

Every window has the same size ``S + 2h`` and starts at ``k·S - e``: with S, h and e multiples of the
network's alignment, all windows sample the same phase of its strides, so that neighbors agree on what
they share. The last window reaches past the scene's edge, by e or more: it is not pushed back into it.
"""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.errors import GridError
from geoseg.grid.window import Window

__all__ = ["TileGrid", "WindowAxis", "WindowRows", "align_up", "tile_grid"]


@dataclass(frozen=True, slots=True)
class WindowAxis:
    """Windows along one axis.

    Laws: cores partition ``[0, length)``; a core lies in its window with the halo on each side, or the edge
    where the scene ends; starts differ by a multiple of the alignment.

    Raises:
        GridError: the numbers do not fit together.
    """

    length: int
    """Pixels of the scene along this axis."""
    stride: int
    """Pixels from one window to the next, a multiple of the alignment."""
    halo: int
    """Context on each side, a multiple of the alignment."""
    edge: int
    """Reflected pixels past the scene's first edge, and no fewer past its last; a multiple of the alignment,
    at most the halo."""
    alignment: int = 1
    """2 to the number of times the network halves its input."""

    def __post_init__(self) -> None:
        if self.length < 1 or self.stride < 1 or not 0 <= self.edge <= self.halo or self.alignment < 1:
            raise GridError(
                f"an axis needs length, stride, alignment ≥ 1 and halo ≥ edge ≥ 0, got {self.length}, "
                f"{self.stride}, {self.alignment}, {self.halo}, {self.edge}"
            )
        if self.stride % self.alignment or self.halo % self.alignment or self.edge % self.alignment:
            raise GridError(
                f"stride {self.stride}, halo {self.halo} and edge {self.edge} px must be multiples of the "
                f"network's alignment of {self.alignment} px"
            )

    def __len__(self) -> int:
        return max(1, -(-(self.length - 2 * self._shift) // self.stride))

    @property
    def window(self) -> int:
        """Size of every window: stride + 2 × halo."""
        return self.stride + 2 * self.halo

    def start(self, index: int) -> int:
        """First pixel of a window; negative where it reaches past the scene's first edge."""
        return index * self.stride - self.edge

    def core(self, index: int) -> tuple[int, int]:
        """Half-open interval of the scene that a window is nearest to."""
        first = index * self.stride + self._shift if index else 0
        return first, self.length if index == len(self) - 1 else (index + 1) * self.stride + self._shift

    def support(self, index: int) -> tuple[int, int]:
        """Half-open interval of the scene that a window covers."""
        start = self.start(index)
        return max(start, 0), min(start + self.window, self.length)

    @property
    def _shift(self) -> int:
        """What the first and the last core have more than others, where the edge is less than the halo."""
        return self.halo - self.edge


@dataclass(frozen=True, slots=True)
class WindowRows:
    """Consecutive rows of windows over the scene's width, ``[first, stop)``: what task ``index`` computes."""

    index: int
    first: int
    stop: int


@dataclass(frozen=True, slots=True)
class TileGrid:
    """The windows of a scene: the product of two axes."""

    rows: WindowAxis
    cols: WindowAxis

    def __len__(self) -> int:
        return len(self.rows) * len(self.cols)

    def window(self, row: int, col: int) -> Window:
        """The window of a row and a column of windows, in scene pixels; may reach past the edges."""
        return Window(self.rows.start(row), self.cols.start(col), self.rows.window, self.cols.window)

    @property
    def overhead(self) -> float:
        """Pixels computed per pixel of the scene."""
        return len(self) * self.rows.window * self.cols.window / (self.rows.length * self.cols.length)

    def window_rows(self, rows_per_task: int) -> tuple[WindowRows, ...]:
        """The window rows of each task; every row is in exactly one."""
        count = len(self.rows)
        return tuple(
            WindowRows(number, first, min(first + rows_per_task, count))
            for number, first in enumerate(range(0, count, rows_per_task))
        )


def align_up(pixels: int, alignment: int) -> int:
    """The smallest multiple of a network's alignment that is no less.

    >>> align_up(94, 4), align_up(96, 4)
    (96, 96)
    """
    return -(-pixels // alignment) * alignment


def _axis(length: int, window: int, halo: int, edge: int, alignment: int) -> WindowAxis:
    # Windows of equal size that just cover the scene: a window of 1024 px on a scene of 1100 px would
    # compute almost twice what two of 640 px do.
    largest = (window - 2 * halo) // alignment * alignment
    if largest < alignment:
        raise GridError(
            f"a window of {window} px leaves nothing between two halos of {halo} px at an alignment of "
            f"{alignment} px; use a window of at least {2 * halo + alignment} px"
        )
    between = max(1, length - 2 * (halo - edge))
    count = -(-between // largest)
    return WindowAxis(length, align_up(-(-between // count), alignment), halo, edge, alignment)


def tile_grid(
    shape: tuple[int, int], window: int, halo: int, alignment: int, edge: int | None = None
) -> TileGrid:
    """Windows of at most the given size, all equal, that cover a scene with the least surplus; in pixels.

    Halo and edge are rounded up to the network's alignment; an edge of None is the halo, as a larger one.

    Raises:
        GridError: the window leaves nothing between its halos.
    """
    halo = align_up(halo, alignment)
    edge = halo if edge is None else min(align_up(edge, alignment), halo)
    rows, cols = (_axis(length, window, halo, edge, alignment) for length in shape)
    return TileGrid(rows, cols)
