"""A few windows of an image's real pixels: how much of it has data, and in which range its values lie.

Up to nine windows on a regular lattice, the same for the same grid, read as any other window is: after masks,
scale, offset and resampling. That is some 0.6 megapixels whatever the image's size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from geoseg.arrays import Array, Bool, Float32
from geoseg.grid.window import Window
from geoseg.io.raster.reader import Reader
from geoseg.io.raster.validity import LEAST_FILL

__all__ = ["SAMPLE_SIDE", "Sample", "sample_windows", "take_sample", "undeclared_fill"]

SAMPLE_SIDE = 256
"""Side of a window, in pixels."""
_ACROSS = 3
"""Windows per axis at most."""
_SEARCH_SIDE = 1024
_OFTEN = 0.02
"""Share of the values from which a fill has part in the percentiles."""
_MOST_RANKED = 100_000
"""Pixels that percentiles are taken of, at most, in each band."""
_FILLS: Final = (-9999.0, -32768.0, -32767.0, -99999.0, 65535.0)
_SOME: Final = 1e-3
"""Share of the pixels from which a fill is named."""
_MANY: Final = 0.05
"""Share from which black or white in all bands is."""
_BYTE: Final = 255.0


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What the windows held."""

    pixels: int
    """Pixels that were read."""
    values: Float32
    """(bands, valid pixels), after scale and offset."""
    whole: bool = True
    """Whether they are all pixels of the image."""

    @property
    def valid(self) -> int:
        """Valid pixels among those that were read."""
        return int(self.values.shape[1])

    @property
    def valid_share(self) -> float:
        """The same as a share, 0 to 1."""
        return self.valid / self.pixels

    def middle(self) -> tuple[float, float]:
        """Two values between which at least 2 to 98 % of the values of every band lie."""
        some = self.values[:, :: math.ceil(self.valid / _MOST_RANKED)]
        low = np.percentile(some, 2, axis=1, method="lower")
        high = np.percentile(some, 98, axis=1, method="higher")
        return float(low.min()), float(high.max())

    def without_fill(self) -> Sample:
        """The pixels that hold no fill in any band: one value, often, farther off than the others reach.

        Such as -9999 beside 200 to 3000, where the file does not declare it.
        """
        values = self.values[:, (np.abs(self.values) < LEAST_FILL).all(0)]
        values = values if values.size else self.values
        for end in (np.min, np.max):
            fill = end(values)
            rest = values[values != fill].astype(np.float64)
            if (
                rest.size
                and rest.size < (1 - _OFTEN) * values.size
                and np.abs(rest - fill).min() > np.ptp(rest) > 0
            ):
                kept = values[:, (values != fill).all(0)]
                values = kept if kept.size else values
        return replace(self, values=values)

    def range(self) -> tuple[float, float]:
        """Least and largest value of all bands."""
        return float(self.values.min()), float(self.values.max())


def sample_windows(shape: tuple[int, int], side: int = SAMPLE_SIDE) -> list[Window]:
    """Where a grid of this shape is sampled: up to 3 × 3 squares, each amid its ninth; a small grid, whole.

    >>> sample_windows((100, 2000), 256)
    [Window(row=0, col=205, height=100, width=256), Window(row=0, col=872, height=100, width=256), \
Window(row=0, col=1538, height=100, width=256)]
    """
    rows, cols = (_spans(length, side) for length in shape)
    return [Window(row, col, height, width) for row, height in rows for col, width in cols]


def _spans(length: int, side: int) -> list[tuple[int, int]]:
    """First pixel and length of the windows along one axis."""
    if length <= side * _ACROSS:
        return [(first, min(side, length - first)) for first in range(0, length, side)]
    return [((2 * k + 1) * length // (2 * _ACROSS) - side // 2, side) for k in range(_ACROSS)]


def take_sample(reader: Reader, side: int = SAMPLE_SIDE, *, search: bool = True) -> Sample:
    """Read the windows of an image.

    Where none of them has data, ``search`` reads on to the first window that has: whether an image has no
    valid pixel at all is not left to chance.

    Raises:
        SceneError: the image cannot be read.
    """
    shape = reader.grid.shape
    windows = sample_windows(shape, side)
    pixels, found = _read(reader, iter(windows))
    whole = sum(window.pixels for window in windows) == reader.grid.window.pixels
    if search and not whole and not any(part.shape[1] for part in found):
        rest = (
            Window(row, col, min(_SEARCH_SIDE, shape[0] - row), min(_SEARCH_SIDE, shape[1] - col))
            for row in range(0, shape[0], _SEARCH_SIDE)
            for col in range(0, shape[1], _SEARCH_SIDE)
        )
        pixels, found = _read(reader, rest, until_data=True)
        whole = pixels == reader.grid.window.pixels
    return Sample(pixels, np.concatenate(found, axis=1), whole)


def _read(reader: Reader, windows: Iterator[Window], *, until_data: bool = False) -> tuple[int, list[Array]]:
    pixels, found = 0, []
    for window in windows:
        raster = reader.read(window)
        pixels += window.pixels
        # Band by band: indexed together, the bands of a pixel would lie side by side, slow to look at.
        found.append(np.stack([band[raster.valid] for band in raster.pixels]).astype(np.float32))
        if until_data and found[-1].shape[1]:
            break
    return pixels, found


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
    return [value for value in (least, most) if abs(value) >= LEAST_FILL]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
