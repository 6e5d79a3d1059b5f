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

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Array, Bool, Float32, Float64
from geoseg.errors import GridError
from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window

__all__ = ["HALF", "Axis", "Resampler"]

HALF = 0.5 - 1e-9
"""Share of valid source pixels from which a resampled pixel is valid: half, as sums of weights round."""

_SNAP = 1e-3
"""Pixels of drift over a whole scene that are rounding in a file's transform, not a shift on the ground."""

_STRIP = 1 << 15
"""Elements of float64 that a strip of rows holds while it is summed: 256 KiB, so that it stays in cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """Which source pixels make each target pixel of an interval, and how much."""

    index: NDArray[np.intp]
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


def _reduce(source: Array, rows: Taps, cols: Taps) -> Float64:
    """``Σ w·source`` over rows, then columns, tap after tap: (h, w) → (target rows, target columns)."""
    # Sums start at +0 so that no tap of zero weight can change the sign of a zero.
    down = np.zeros((len(rows.index), source.shape[1]))
    for k in range(rows.index.shape[1]):
        down += source[rows.index[:, k]] * rows.weight[:, k, None]
    across = np.zeros((len(rows.index), len(cols.index)))
    for k in range(cols.index.shape[1]):
        across += np.take(down, cols.index[:, k], axis=1) * cols.weight[:, k]
    return across


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
        rows = self.rows.taps(window.row, window.row_stop).index
        cols = self.cols.taps(window.col, window.col_stop).index
        row, col = int(rows.min()), int(cols.min())
        return Window(row, col, int(rows.max()) + 1 - row, int(cols.max()) + 1 - col)

    def values(self, bands: Sequence[Array], valid: Bool, window: Window) -> tuple[Float32, Float64]:
        """Resample what was read at ``source_window(window)``.

        Args:
            bands: C arrays of real numbers (h, w); what invalid pixels hold, NaN too, does not matter.
            valid: (h, w), True where a pixel counts.
            window: target pixels, inside the target grid.

        Returns:
            Values float32 (C, H, W), meaningless where no valid pixel contributes, and the share of each
            target pixel that is valid, float64 (H, W) in 0..1.
        """
        values = np.empty((len(bands), *window.shape), np.float32)
        if self.identity:
            with np.errstate(over="ignore"):
                for band, target in zip(bands, values, strict=True):
                    target[...] = band
            return values, valid.astype(np.float64)
        source = self.source_window(window)
        rows, cols = self._taps(window, source)
        share = np.empty(window.shape)
        step = max(1, _STRIP // source.width)
        for top in range(0, window.height, step):
            strip = slice(top, min(top + step, window.height))
            part, inside = _strip(rows, strip)
            weight = _weight(valid[inside], part, cols)
            for band, target in zip(bands, values, strict=True):
                known = band[inside] if valid[inside].all() else np.where(valid[inside], band[inside], 0)
                total = _reduce(known, part, cols)
                target[strip] = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
            share[strip] = weight
        return values, share

    def share(self, mask: Bool, window: Window) -> Float64:
        """The share of each target pixel that a mask covers, float64 (H, W); see :meth:`values`."""
        if self.identity:
            return mask.astype(np.float64)
        rows, cols = self._taps(window, self.source_window(window))
        return _weight(mask, rows, cols)

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
        return Taps(rows.index - source.row, rows.weight), Taps(cols.index - source.col, cols.weight)


def _strip(rows: Taps, strip: slice) -> tuple[Taps, slice]:
    """The taps of a strip of target rows, and the source rows that they are counted in."""
    index = rows.index[strip]
    first, last = int(index.min()), int(index.max())
    return Taps(index - first, rows.weight[strip]), slice(first, last + 1)


def _weight(valid: Bool, rows: Taps, cols: Taps) -> Float64:
    """``Σ w·valid``, shape (target rows, target columns)."""
    if valid.all():
        # One column repeated, summed in the same order: the same bits for a fraction of the work.
        return _reduce(np.ones((len(valid), 1)), rows, Taps(np.zeros_like(cols.index), cols.weight))
    return _reduce(valid.astype(np.float64), rows, cols)
