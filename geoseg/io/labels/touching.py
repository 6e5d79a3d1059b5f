"""Pixels of objects that stand close to another one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["near_another"]


def near_another(numbers: NDArray[np.integer], reach: float) -> NDArray[np.bool_]:
    """Which pixels of numbered objects have a pixel of another one within reach.

    Args:
        numbers: object of each pixel, 0 where there is none, shape (rows, columns).
        reach: distance between the centers of two pixels, in pixels.

    Returns:
        Shape (rows, columns). What lies beyond the edges is no object: give ``ceil(reach)`` more pixels on
        each side than are wanted.
    """
    found = np.zeros(numbers.shape, np.bool_)
    rows, columns = numbers.shape
    whole = math.floor(reach)
    for down in range(min(whole, rows - 1) + 1):
        for right in range(-min(whole, columns - 1), min(whole, columns - 1) + 1):
            if (down, right) <= (0, 0) or math.hypot(down, right) > reach:
                continue  # each pair of pixels is looked at once
            first = slice(0, rows - down), slice(max(0, -right), columns - max(0, right))
            second = slice(down, rows), slice(max(0, right), columns + min(0, right))
            one, other = numbers[first], numbers[second]
            apart = (one != other) & (one > 0) & (other > 0)
            found[first] |= apart
            found[second] |= apart
    return found
