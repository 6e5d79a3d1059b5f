"""What stands for scores where a map holds class ids alone: borders with other classes, pixel by pixel."""

from __future__ import annotations

import numpy as np

from geoseg.arrays import UInt8
from geoseg.compiled import compiled
from geoseg.grid.encoding import NODATA

__all__ = ["shared_sides"]


def shared_sides(ids: UInt8, above: UInt8, below: UInt8, classes: int) -> UInt8:
    """Sides, 0 to 4, that each pixel has in common with pixels of each class, uint8 (classes, rows, width).

    Summed over the pixels of a region, it is the length of its border with each class, in pixels. Of a
    pixel's own class it is 0; 255 where there is no data. ``ids`` are class ids below ``classes``, uint8
    (rows, width), 255 where there is no data; ``above`` and ``below`` the rows beside them, uint8 (width,).

    >>> row = np.array([1, 0, 0], np.uint8)
    >>> shared_sides(row[None], row, np.array([255, 1, 0], np.uint8), 2)[:, 0].tolist()
    [[1, 0, 0], [0, 2, 0]]
    """
    padded = np.full((len(ids) + 2, ids.shape[1] + 2), NODATA, np.uint8)
    padded[0, 1:-1], padded[1:-1, 1:-1], padded[-1, 1:-1] = above, ids, below
    sides = np.zeros((classes, *ids.shape), np.uint8)
    _count(padded, sides)
    return sides


@compiled
def _count(padded: UInt8, sides: UInt8) -> None:
    for row in range(sides.shape[1]):
        for col in range(sides.shape[2]):
            own = padded[row + 1, col + 1]
            if own == NODATA:
                sides[:, row, col] = NODATA
                continue
            for down, right in ((0, 1), (1, 0), (1, 2), (2, 1)):
                other = padded[row + down, col + right]
                if other != own and other != NODATA:  # noqa: PLR1714 - numba knows no tuple of both
                    sides[other, row, col] += 1
