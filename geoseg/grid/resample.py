"""Resampling between two grids of one footprint, exact in position.

Why not GDAL's: a decimated ``RasterIO`` reads overviews (a door for hostile files) and gives a pixel values
that depend on the window it was read in. Here every weight follows from absolute pixel numbers in float64 and
taps are summed one after another, so a pixel has the same bits in whatever window it is read.

Along an axis, target pixel ``i`` covers source pixels ``[a·i + b, a·(i + 1) + b]``. Where ``a > 1`` its value
is the area average over that interval, elsewhere it is interpolated linearly between source centers; beyond
the first and the last source pixel, the edge is repeated. Only valid source pixels count::

    value = Σ w·valid·source / Σ w·valid        share = Σ w·valid
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Array, Bool, Float32, Float64
from geoseg.errors import GridError
from geoseg.grid.geobox import GeoBox
from geoseg.grid.loops import sum_valid, sum_weighted
from geoseg.grid.window import Window

__all__ = ["SUMMED", "Axis", "Resampler"]

_HALF = 0.5 - 1e-9
"""Share of valid source pixels from which a resampled pixel is valid: half, as sums of weights round."""

_SNAP = 1e-3
"""Pixels of drift over a whole scene that are rounding in a file's transform, not a shift on the ground."""

_STRIP = 1 << 16
"""Target pixels that are summed at a time: half a megabyte of weights, so that they stay in cache."""

SUMMED: Final = frozenset(["uint8", "uint16", "int16", "float32", "float64"])
"""Types that loops are compiled for, each on its own; others are summed as float64."""


class Taps(NamedTuple):
    """Which source pixels make each target pixel of an interval, and how much."""

    pixel: NDArray[np.intp]
    """Source pixel of each tap, shape (target pixels, taps), clamped into the source."""
    weight: Float64
    """Weight of each tap, same shape, at least 0; a row sums to 1 up to rounding."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a resampling: ``target`` pixels cover the source interval ``[offset, offset + span]``."""

    source: int
    target: int
    span: float
    """Length that all target pixels cover together, in source pixels."""
    offset: float = 0.0
    """Source coordinate of the first target pixel's outer edge."""

    @property
    def identity(self) -> bool:
        """Whether target pixels are the source's own."""
        return self.source == self.target == self.span and self.offset == 0

    def taps(self, start: int, stop: int) -> Taps:
        """The taps of target pixels ``[start, stop)``; a pixel's taps depend on its number alone."""
        pixel = np.arange(start, stop, dtype=np.float64)
        ratio = self.span / self.target
        if ratio > 1:
            low = pixel * self.span / self.target + self.offset
            high = (pixel + 1) * self.span / self.target + self.offset
            first = np.floor(low)
            index = first[:, None] + np.arange(math.ceil(ratio) + 1)
            overlap = np.minimum(high[:, None], index + 1) - np.maximum(low[:, None], index)
            weight = np.maximum(overlap, 0) / ratio
        else:
            center = (pixel + 0.5) * self.span / self.target + self.offset - 0.5
            first = np.floor(center)
            index = first[:, None] + np.arange(2)
            weight = np.stack([1 - (center - first), center - first], axis=1)
        clamped = np.clip(index, 0, self.source - 1).astype(np.intp)
        # A tap of no weight must not make a window read more of the source than its pixels need.
        return Taps(np.where(weight > 0, clamped, clamped[:, :1]), weight)

    def nearest(self, start: int, stop: int) -> NDArray[np.intp]:
        """The source pixel under the center of each target pixel ``[start, stop)``."""
        center = (np.arange(start, stop, dtype=np.float64) + 0.5) * self.span / self.target + self.offset
        return np.clip(np.floor(center), 0, self.source - 1).astype(np.intp)


def _axis(source: int, target: int, scale: float, offset: float) -> Axis:
    span = scale * target
    span = float(round(span)) if abs(span - round(span)) <= _SNAP else span
    offset = float(round(offset)) if abs(offset - round(offset)) <= _SNAP else offset
    slack = max(1.0, span / target) + _SNAP
    if abs(offset) > slack or abs(offset + span - source) > slack:
        raise GridError(
            f"the grids cover different ground: {target} pixels reach over"
            f" [{offset:.2f}, {offset + span:.2f}] of {source} source pixels"
        )
    return Axis(source, target, span, offset)


@dataclass(frozen=True, slots=True)
class Resampler:
    """Values of a target grid from windows of a source grid with the same footprint and orientation.

    Laws: equal grids give the same bits back; a constant stays that constant; where both grids share their
    edges, the mean of the target is the mean of the source; two windows agree bit for bit where they overlap.
    """

    rows: Axis
    cols: Axis

    @classmethod
    def between(cls, source: GeoBox, target: GeoBox) -> Resampler:
        """The resampler from one grid to another; CRS is the caller's to compare.

        Grids may differ by up to one of the coarser pixels at each edge, as the bands of Landsat do.

        Raises:
            GridError: one grid is rotated, sheared or mirrored against the other, or covers other ground.
        """
        move = ~source.transform @ target.transform
        skew = max(abs(move.b) * target.height, abs(move.d) * target.width)
        if skew > 0.5 or move.a <= 0 or move.e <= 0:  # noqa: PLR2004 - half a source pixel over the whole scene
            raise GridError("one grid is rotated or mirrored against the other")
        return cls(
            _axis(source.height, target.height, move.e, move.f),
            _axis(source.width, target.width, move.a, move.c),
        )

    @property
    def identity(self) -> bool:
        """Whether both grids are one."""
        return self.rows.identity and self.cols.identity

    def source_window(self, window: Window) -> Window:
        """The source pixels that a window of the target, inside it, is made of."""
        if self.identity:
            return window
        rows = self.rows.taps(window.row, window.row_stop).pixel
        cols = self.cols.taps(window.col, window.col_stop).pixel
        row, col = int(rows.min()), int(cols.min())
        return Window(row, col, int(rows.max()) + 1 - row, int(cols.max()) + 1 - col)

    def values(self, bands: Sequence[Array], valid: Bool, window: Window) -> tuple[Float32, Bool]:
        """Resample what was read at ``source_window(window)``.

        Args:
            bands: C arrays of real numbers (h, w); what invalid pixels hold, NaN too, does not matter.
            valid: (h, w), True where a pixel counts.
            window: target pixels, inside the target grid.

        Returns:
            Values float32 (C, H, W) and bool (H, W), True where at least half of a target pixel is valid;
            values of others are meaningless. Of equal grids, the latter is ``valid`` itself.
        """
        values = np.empty((len(bands), *window.shape), np.float32)
        if self.identity:
            with np.errstate(over="ignore"):
                for band, target in zip(bands, values, strict=True):
                    target[...] = band
            return values, valid
        return values, self._sums(bands, valid, window, values)

    def covered(self, mask: Bool, window: Window) -> Bool:
        """Where a mask covers at least half of a target pixel, bool (H, W); see :meth:`values`."""
        if self.identity:
            return mask
        return self._sums((), mask, window, np.empty((0, *window.shape), np.float32))

    def _sums(self, bands: Sequence[Array], valid: Bool, window: Window, values: Float32) -> Bool:
        """Fill the values of a window, a strip of rows at a time; see :meth:`values`."""
        rows, cols = self._taps(window, self.source_window(window))
        cols = Taps(np.ascontiguousarray(cols.pixel.T), np.ascontiguousarray(cols.weight.T))
        # By its name, since an array may hold bytes in the other order.
        types = [band.dtype.name if band.dtype.name in SUMMED else "float64" for band in bands]
        bands = [np.ascontiguousarray(band, kind) for band, kind in zip(bands, types, strict=True)]
        valid = np.ascontiguousarray(valid)
        whole = np.asarray(valid.all(axis=1))
        known = np.empty(window.shape, np.bool_)
        step = max(1, _STRIP // window.width)
        for top in range(0, window.height, step):
            strip = slice(top, min(top + step, window.height))
            some, total = Taps(rows.pixel[strip], rows.weight[strip]), np.empty(known[strip].shape)
            sum_valid(valid, whole, some, cols, total)
            for band, target in zip(bands, values, strict=True):
                sum_weighted(band, valid, whole, some, cols, total, target[strip])
            np.greater_equal(total, _HALF, out=known[strip])
        return known

    def nearest_window(self, window: Window) -> Window:
        """The source pixels that :meth:`nearest` needs for a window of the target."""
        rows = self.rows.nearest(window.row, window.row_stop)
        cols = self.cols.nearest(window.col, window.col_stop)
        row, col = int(rows[0]), int(cols[0])
        return Window(row, col, int(rows[-1]) + 1 - row, int(cols[-1]) + 1 - col)

    def nearest(self, values: Array, window: Window) -> Array:
        """What was read at ``nearest_window(window)``, (h, w), under the centers of the target's pixels."""
        rows = self.rows.nearest(window.row, window.row_stop)
        cols = self.cols.nearest(window.col, window.col_stop)
        return values[np.ix_(rows - rows[0], cols - cols[0])]

    def _taps(self, window: Window, source: Window) -> tuple[Taps, Taps]:
        """Taps of both axes, counted from the source window's first pixel."""
        rows = self.rows.taps(window.row, window.row_stop)
        cols = self.cols.taps(window.col, window.col_stop)
        return Taps(rows.pixel - source.row, rows.weight), Taps(cols.pixel - source.col, cols.weight)
