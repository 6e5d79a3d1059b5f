"""Windows of a scene: pixels, one validity mask, any place, any resolution.

:func:`describe` opens headers and refuses what cannot be mapped; its :class:`Scene` is a value that
travels. :class:`SceneReader` turns it into pixels where they are needed. What it reads is a picture of
infinite extent: the scene, mirrored at its edges again and again as ``numpy.pad(mode="reflect")`` does. Every
pixel of it has one value, the same bits in whatever window it is read.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass
from operator import itemgetter
from typing import NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import GridError
from geoseg.grid.geobox import GeoBox
from geoseg.grid.resample import HALF, Resampler
from geoseg.grid.window import Window, mirrored
from geoseg.io.raster.gdal import CACHE_BYTES, environment
from geoseg.io.raster.scene import Scene, describe, grid_of
from geoseg.io.raster.source import MaskSource, Source, Stored

__all__ = ["CACHE_BYTES", "Raster", "Scene", "SceneReader", "describe", "grid_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """The pixels of a window."""

    pixels: NDArray[np.float32]
    """Shape (bands, height, width): stored × scale + offset; 0 where invalid, always finite."""
    valid: NDArray[np.bool_]
    """Shape (height, width): True where the scene has data."""
    geobox: GeoBox
    """Where the pixels lie; beyond a scene's edge they are mirror images of the ground."""


@dataclass(frozen=True, slots=True)
class _Group:
    """The bands that share one grid."""

    geobox: GeoBox
    resampler: Resampler
    sources: tuple[Source, ...]
    mask: MaskSource | None
    positions: tuple[int, ...]
    """Where the group's bands go among the scene's, in the order of the sources' bands."""
    nodata: NDArray[np.float32]
    """Stored nodata of each band, 0 where it has none, shape (bands, 1)."""


class SceneReader:
    """Reads windows of one scene; a context manager.

    Files are opened at the first read and kept open. Reads of several threads wait for each other: decode in
    parallel with a reader per thread. A reader does not pickle, its :class:`Scene` does.

    A pixel is valid unless all selected bands hold nodata (the catalog's value, else each file's tag), a
    selected band is NaN or infinite, alpha is 0, the file's internal mask is 0, or the scene's mask asset
    holds one of its invalid values. A resampled pixel averages what is valid of its ground, and is valid
    itself when that is at least half.

    Args:
        scene: from :func:`describe`.
        grid: pixels to deliver: the scene's footprint in another number of pixels. None: the scene's own.

    Raises:
        GridError: the grid is of another CRS, turned against the scene's, or covers other ground.
    """

    def __init__(self, scene: Scene, grid: GeoBox | None = None) -> None:
        self.scene = scene
        self.grid = scene.geobox if grid is None else grid
        if self.grid.crs != scene.geobox.crs:
            raise GridError(
                f"scene {scene.ref.id} is not read in another CRS: derive the grid from its geobox"
            )
        Resampler.between(scene.geobox, self.grid)
        self._lock = threading.Lock()
        self._files = ExitStack()
        self._groups: tuple[_Group, ...] | None = None
        self._scale = np.array([[[band.scale]] for band in scene.bands])
        self._offset = np.array([[[band.offset]] for band in scene.bands])
        self._plain = bool((self._scale == 1).all() and (self._offset == 0).all())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a SceneReader holds open files and does not pickle: send its scene and read it there"
        )

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._groups = None
        self._files.close()

    def read(self, window: Window) -> Raster:
        """The pixels of a window of the grid, which may reach past its edges or lie outside.

        Raises:
            SceneError: a file went away, changed since it was described, or cannot be decoded here.
        """
        inside, (rows, cols) = mirrored(window, self.grid.shape)
        with self._lock, environment(self.scene.ref.trust):
            try:
                pixels, valid = self._read(inside)
            except BaseException:
                # GDAL keeps a damaged block in its cache and would hand it out without a word next time.
                self._close()
                raise
        if inside != window:
            pixels, valid = pixels[:, rows, cols], valid[rows, cols]
        return Raster(pixels, valid, self.grid[window])

    def _read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """A window inside the grid."""
        if self._groups is None:
            self._groups = self._open()
        if len(self._groups) == 1:
            pixels, valid = _read_alone(self._groups[0], window)
        else:
            pixels, valid = _read_together(self._groups, len(self.scene.bands), window)
        if not valid.all():
            pixels[:, ~valid] = 0
        if not self._plain:
            with np.errstate(over="ignore"):
                pixels = (pixels * self._scale + self._offset).astype(np.float32)
            valid &= np.isfinite(pixels).all(axis=0)
            pixels[:, ~valid] = 0
        return pixels, valid

    def _open(self) -> tuple[_Group, ...]:
        sources = [
            self._files.enter_context(Source(self.scene, href))
            for href in dict.fromkeys(band.href for band in self.scene.bands)
        ]
        grids: dict[GeoBox, list[Source]] = {}
        for source in sources:
            grids.setdefault(source.geobox, []).append(source)
        ref = self.scene.ref.mask
        mask = self._files.enter_context(MaskSource(self.scene, ref)) if ref else None
        return tuple(
            _Group(
                geobox=geobox,
                resampler=Resampler.between(geobox, self.grid),
                sources=tuple(members),
                mask=mask,
                positions=tuple(position for source in members for position in source.positions),
                nodata=np.array([[v] for source in members for v in source.fill], np.float32),
            )
            for geobox, members in grids.items()
        )


def _stored(group: _Group, window: Window) -> Stored:
    """A group's bands as stored, with validity, in a window of the group's own grid."""
    parts = [source.read(window) for source in group.sources]
    sound = parts[0].sound
    blank = parts[0].blank
    for part in parts[1:]:
        sound = sound & part.sound
        blank = blank & part.blank
    if group.mask is not None:
        sound = sound & group.mask.read(window, group.geobox)
    return Stored([band for part in parts for band in part.bands], sound, blank)


def _read_alone(group: _Group, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The usual scene: all bands on one grid."""
    stored = _stored(group, group.resampler.source_window(window))
    valid = stored.sound & ~stored.blank
    ordered = [band for _, band in sorted(zip(group.positions, stored.bands, strict=True), key=itemgetter(0))]
    pixels, share = group.resampler.values(ordered, valid, window)
    return pixels, share >= HALF


def _read_together(
    groups: tuple[_Group, ...], bands: int, window: Window
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Bands on several grids: nodata still means that *all* bands hold it.

    Where one grid has only nodata but another has data, the first one's bands keep their stored nodata value,
    just as a single pixel of a many-band file would.
    """
    pixels = np.empty((bands, *window.shape), np.float32)
    sound = np.ones(window.shape, np.bool_)
    any_data = np.zeros(window.shape, np.bool_)
    for group in groups:
        resampler = group.resampler
        stored = _stored(group, resampler.source_window(window))
        values, share = resampler.values(stored.bands, stored.sound & ~stored.blank, window)
        data = share >= HALF
        pixels[list(group.positions)] = np.where(data, values, group.nodata[..., None])
        sound &= resampler.share(stored.sound, window) >= HALF
        any_data |= data
    return pixels, sound & any_data
