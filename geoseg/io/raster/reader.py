"""Windows of an image: pixels and one validity mask, at any place and resolution, from files or an array.

An image reads as a picture of infinite extent, mirrored at its edges again and again as
``numpy.pad(mode="reflect")`` does. Every pixel has one value, the same bits in whatever window it is read.
A read goes down and up again::

    window of the reader's grid                Raster: scaled, 0 where invalid
      ↓ mirrored                                 ↑ show: the mirror images
    window inside the grid                     pixels, valid
      ↓ Resampler.source_window                  ↑ scaled
    window of the pixels as stored             values, share of them that is valid
      ↓ StoredBands.read                         ↑ Resampler.values
    arrays of the file's dtype   ─ judge ─→    Stored: values, sound, blank

A pixel is valid unless its values are nodata by the rule of :mod:`geoseg.io.raster.validity`, or its file
says so (alpha, masks). A resampled pixel averages what is valid of its ground, and is valid itself when that
is at least half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Protocol

import numpy as np

from geoseg.arrays import Array, Bool, Float32, UInt8
from geoseg.grid.geobox import GeoBox
from geoseg.grid.resample import Resampler
from geoseg.grid.window import Window, mirrored, shown
from geoseg.io.raster.collar import MARGIN, Collar
from geoseg.io.raster.validity import Nodata, Stored, judge

__all__ = [
    "ArrayReader",
    "BandGroup",
    "Raster",
    "Reader",
    "read_bands",
    "scaled",
    "show",
    "stretched",
]


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """The pixels of a window."""

    pixels: Float32 | UInt8
    """Shape (bands, height, width): stored × scale + offset; 0 where invalid, always finite. Of float32, but
    for a reader that was told to keep bytes."""
    valid: Bool
    """Shape (height, width): True where the scene has data."""
    geobox: GeoBox
    """Where the pixels lie; beyond a scene's edge they are mirror images of the ground."""


class Reader(Protocol):
    """What a map, a prediction and a training read their pixels from."""

    @property
    def grid(self) -> GeoBox:
        """The pixels that are delivered."""

    def read(self, window: Window) -> Raster:
        """The pixels of a window of the grid, which may reach past its edges or lie outside."""


class StoredBands(Protocol):
    """One file or array: some of the image's bands on one grid."""

    @property
    def geobox(self) -> GeoBox:
        """The grid of its pixels."""

    @property
    def positions(self) -> tuple[int, ...]:
        """Where its bands go among the image's."""

    @property
    def fill(self) -> tuple[float, ...]:
        """Stored nodata of each band, 0 where it has none."""

    def read(self, window: Window) -> Stored:
        """The bands in a window inside the grid."""


class BandGroup:
    """The bands that share one grid.

    Args:
        sources: files or arrays of the same grid.
        grid: pixels to deliver: the same footprint in any number of pixels.
        masks: each says which pixels of a window of the sources' grid are valid.
        collar: what is collar, too, of bands in the order of ``positions``; None: nothing is.
    """

    def __init__(
        self,
        sources: Sequence[StoredBands],
        grid: GeoBox,
        masks: Sequence[Callable[[Window], Bool]] = (),
        collar: Collar | None = None,
    ) -> None:
        self.resampler = Resampler.between(sources[0].geobox, grid)
        self.positions = tuple(position for source in sources for position in source.positions)
        self.fill = np.array([[[value]] for source in sources for value in source.fill], np.float32)
        self._sources = sources
        self._masks = masks
        self._collar = collar

    def read(self, window: Window) -> Stored:
        """The bands as stored under a window of the grid to deliver, in the order of ``positions``."""
        place = self.resampler.source_window(window)
        stored = self._stored(place) if self._collar is None else self._without_collar(place, self._collar)
        for mask in self._masks:
            stored = replace(stored, sound=stored.sound & mask(place))
        return stored

    def _stored(self, place: Window) -> Stored:
        """The bands of all sources in a window of their grid."""
        parts = [source.read(place) for source in self._sources]
        sound, blank = parts[0].sound, parts[0].blank
        for part in parts[1:]:
            sound = sound & part.sound
            blank = part.blank if blank is None else blank if part.blank is None else blank & part.blank
        return Stored([band for part in parts for band in part.bands], sound, blank)

    def _without_collar(self, place: Window, collar: Collar) -> Stored:
        """The same, read with the margin that decides what is collar, which is not sound."""
        image = self._sources[0].geobox.window
        wide = place.pad(MARGIN).intersect(image)
        assert wide is not None
        read = self._stored(wide)
        edges = (wide.row == 0, wide.row_stop == image.height), (wide.col == 0, wide.col_stop == image.width)
        inside = place.relative_to(wide).slices
        return Stored(
            [band[inside] for band in read.bands],
            (read.sound & ~collar.find(read.bands, edges))[inside],
            None if read.blank is None else read.blank[inside],
        )


def read_bands(
    groups: Sequence[BandGroup], window: Window, *, keep_bytes: bool = False
) -> tuple[Float32 | UInt8, Bool]:
    """Values (bands, height, width), unscaled, and validity of a window inside the grid.

    The values are float32, or bytes where these are to be kept, all bands hold bytes and none is resampled.
    """
    if len(groups) > 1:
        return _read_together(groups, window)
    (group,) = groups  # the usual image: all bands on one grid
    stored = group.read(window)
    ordered = [band for _, band in sorted(zip(group.positions, stored.bands, strict=True), key=itemgetter(0))]
    if keep_bytes and group.resampler.identity and all(band.dtype == np.uint8 for band in ordered):
        return np.stack(ordered), stored.valid
    return group.resampler.values(ordered, stored.valid, window)


def _read_together(groups: Sequence[BandGroup], window: Window) -> tuple[Float32, Bool]:
    """Bands on several grids, by the same rule: those that count jointly do so across the grids.

    Where all such bands of one grid hold nodata but another grid's have data, the first one's keep their
    stored nodata value, just as a single pixel of a many-band file would.
    """
    pixels = np.empty((sum(len(group.positions) for group in groups), *window.shape), np.float32)
    sound = np.ones(window.shape, np.bool_)
    any_data: Bool | None = None
    for group in groups:
        stored = group.read(window)
        values, data = group.resampler.values(stored.bands, stored.valid, window)
        if stored.blank is None:
            sound &= data
        else:
            values = np.where(data, values, group.fill)
            sound &= group.resampler.covered(stored.sound, window)
            any_data = data if any_data is None else any_data | data
        pixels[list(group.positions)] = values
    return pixels, sound if any_data is None else sound & any_data


def scaled(
    pixels: Float32 | UInt8, valid: Bool, factors: tuple[Array, Array] | None
) -> tuple[Float32 | UInt8, Bool]:
    """Stored values × scale + offset, 0 where invalid; what float32 cannot hold becomes invalid.

    Args:
        pixels: (bands, height, width), overwritten.
        valid: (height, width).
        factors: scale and offset, each (bands, 1, 1); None: 1 and 0.
    """
    _clear(pixels, valid)
    if factors is not None:
        with np.errstate(over="ignore"):
            pixels = (pixels * factors[0] + factors[1]).astype(np.float32)
        valid = valid & np.isfinite(pixels).all(axis=0)
        _clear(pixels, valid)
    return pixels, valid


def _clear(pixels: Float32 | UInt8, valid: Bool) -> None:
    """Set invalid pixels to 0."""
    if not valid.all():
        bits = pixels.view(f"u{pixels.itemsize}")
        bits *= valid  # as numbers, NaN times 0 would be NaN


def show(window: Window, grid: GeoBox, read: Callable[[Window], tuple[Float32 | UInt8, Bool]]) -> Raster:
    """Any window of a grid whose image is mirrored at its edges.

    ``read`` gives pixels and validity of a window inside the grid.
    """
    inside, place = mirrored(window, grid.shape)
    pixels, valid = read(inside)
    if inside != window:
        pixels, valid = shown(pixels, place), shown(valid, place)
    return Raster(pixels, valid, grid[window])


def stretched(pixels: Float32 | UInt8, stretch: tuple[float, float] | None) -> Float32 | UInt8:
    """Values, after scale and offset, for a model of 8 bits: two become 0 and 255, all beyond is clipped."""
    if stretch is None:
        return pixels
    low, high = stretch
    moved: Float32 = pixels - np.float32(low)
    moved *= np.float32(255 / (high - low))
    return np.clip(moved, np.float32(0), np.float32(255), out=moved)


@dataclass(frozen=True, slots=True, eq=False)
class _ArrayBands:
    """Rows of an array as a source of all bands."""

    pixels: Array
    geobox: GeoBox
    nodata: Nodata
    first: int

    @property
    def positions(self) -> tuple[int, ...]:
        return tuple(range(len(self.pixels)))

    @property
    def fill(self) -> tuple[float, ...]:
        return tuple(value or 0.0 for value in self.nodata.values)

    def read(self, window: Window) -> Stored:
        part = self.pixels[:, *window.shift(-self.first, 0).slices]
        return judge(list(part), self.nodata)


class ArrayReader:
    """Reads windows of an array; a :class:`Reader`.

    Args:
        pixels: (bands, rows, width), any real dtype: all rows of the geobox, or those from ``first`` on that
            the windows to read need.
        geobox: where the whole array's pixels lie.
        grid: pixels to deliver: the same footprint in another number of pixels. None: the array's own.
        nodata: which values of its bands mean no data; None: NaN and infinity alone.
        factors: scale and offset of the values, each (bands, 1, 1); None: 1 and 0.
        first: row of the geobox that ``pixels`` begin with.
        keep_bytes: give uint8 where that is what the array holds, and it is neither resampled nor scaled.

    Raises:
        GridError: the grid is turned against the array's or covers other ground.
    """

    def __init__(
        self,
        pixels: Array,
        geobox: GeoBox,
        grid: GeoBox | None = None,
        *,
        nodata: Nodata | None = None,
        factors: tuple[Array, Array] | None = None,
        first: int = 0,
        keep_bytes: bool = False,
    ) -> None:
        self._factors = factors
        self._keep_bytes = keep_bytes and factors is None
        self.grid = geobox if grid is None else grid
        if pixels.dtype.kind == "b":
            pixels = pixels.view(np.uint8)
        if nodata is None:
            nodata = Nodata.absent(len(pixels))
        self._groups = (BandGroup([_ArrayBands(pixels, geobox, nodata, first)], self.grid),)

    def read(self, window: Window) -> Raster:
        """See :class:`Reader`."""
        return show(window, self.grid, self._inside)

    def _inside(self, window: Window) -> tuple[Float32 | UInt8, Bool]:
        return scaled(*read_bands(self._groups, window, keep_bytes=self._keep_bytes), self._factors)
