"""Fills that nothing declares: values of a sample that look like no data, for a warning.

Nothing is made invalid by this: -9999 may be a depth, and black may be night.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from geoseg.arrays import Bool, Float32

__all__ = ["undeclared_fill"]

_FILLS: Final = (-9999.0, -32768.0, -32767.0, -99999.0, 65535.0)
_HUGE: Final = 1e30
_SOME: Final = 1e-3
"""Share of the pixels from which a value that nobody measures is named."""
_MANY: Final = 0.05
"""Share from which black or white in all bands is."""
_BYTE: Final = 255.0


def undeclared_fill(
    values: Float32, factors: Sequence[tuple[float, float]], dtype: str
) -> tuple[float, str] | None:
    """The stored value that looks like no data though it counts as data, and what shows it, in words.

    Args:
        values: (bands, valid pixels), after scale and offset.
        factors: scale and offset of each band.
        dtype: of the values as stored, numpy's name.
    """
    if not values.size:
        return None
    for fill in (*_FILLS, *_huge(values)):
        if dtype == "uint8" or (fill == _FILLS[-1] and dtype != "uint16"):
            continue
        share = float(_held(values, fill, factors).any(0).mean())
        if share >= _SOME:
            return fill, f"{_percent(share)} of the sampled pixels hold {fill:g}"
    for plain in (0.0, _BYTE) if dtype == "uint8" else (0.0,):
        share = float(_held(values, plain, factors).all(0).mean())
        if share >= _MANY:
            return plain, f"{_percent(share)} of the sampled pixels are {plain:g} in every band"
    return None


def _held(values: Float32, stored: float, factors: Sequence[tuple[float, float]]) -> Bool:
    expected = np.array([[np.float32(stored * scale + offset)] for scale, offset in factors], np.float32)
    return np.asarray(values == expected)


def _huge(values: Float32) -> list[float]:
    least, most = float(values.min()), float(values.max())
    return [value for value in (least, most) if abs(value) >= _HUGE]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
