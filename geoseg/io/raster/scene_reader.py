"""The files of a scene as one :class:`~geoseg.io.raster.reader.Reader`.

:func:`geoseg.io.raster.scene.describe` opens headers and refuses what cannot be mapped; its
:class:`~geoseg.io.raster.scene.Scene` is a value that travels. :class:`SceneReader` turns it into pixels
where they are needed.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn, Self

import numpy as np
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader

from geoseg.arrays import Array, Bool, Float32, UInt8
from geoseg.config.stac.refs import MaskRef
from geoseg.errors import GridError, SceneError, of_scene
from geoseg.grid.geobox import GeoBox
from geoseg.grid.orientation import Orientation
from geoseg.grid.resample import Resampler
from geoseg.grid.window import Window
from geoseg.io.raster.collar import Collar
from geoseg.io.raster.gdal import (
    collected_warnings,
    environment,
    gdal_errors,
    open_raster,
    raster_window,
    reason,
    refusal,
)
from geoseg.io.raster.header import color_table, file_stamp
from geoseg.io.raster.reader import BandGroup, Raster, read_bands, scaled, show
from geoseg.io.raster.scene import Scene
from geoseg.io.raster.validity import Nodata, Stored, judge, unusable
from geoseg.words import listed

__all__ = ["ReadAhead", "SceneReader", "close_kept_reader", "has_collar", "kept_reader", "without_data"]

_LOOK = 128
"""Side of the windows that are looked at for why a scene has no data, or for its collar."""
_SMEARED = 1e-3
"""Share of what is looked at from which a collar is said."""


class SceneReader:
    """Reads windows of one scene; a context manager.

    Files are opened at the first read and kept open. Reads of several threads wait for each other: decode in
    parallel with a reader per thread. A reader does not pickle, its :class:`Scene` does.

    A pixel is valid unless the selected bands' values are nodata (:mod:`geoseg.io.raster.validity`), alpha is
    0, the file's internal mask is 0, or one of the scene's mask assets holds an invalid value; all of these
    count at once.

    Args:
        scene: from :func:`~geoseg.io.raster.scene.describe`.
        grid: pixels to deliver: the scene's footprint in another number of pixels. None: the scene's own.
        keep_bytes: give uint8 where that is what the files hold, and it is neither resampled nor scaled.

    Raises:
        GridError: the grid is of another CRS, turned against the scene's, or covers other ground.
    """

    def __init__(self, scene: Scene, grid: GeoBox | None = None, *, keep_bytes: bool = False) -> None:
        self.scene = scene
        self.grid = scene.geobox if grid is None else grid
        if self.grid.crs != scene.geobox.crs:
            raise GridError("is not read in another CRS: derive the grid from its geobox", scene=scene.ref.id)
        Resampler.between(scene.geobox, self.grid)
        self._lock = threading.Lock()
        self._files = ExitStack()
        self._groups: tuple[BandGroup, ...] | None = None
        plain = all(band.scale == 1 and band.offset == 0 for band in scene.bands)
        scale = np.array([[[band.scale]] for band in scene.bands])
        offset = np.array([[[band.offset]] for band in scene.bands])
        self._factors = None if plain else (scale, offset)
        self._keep_bytes = keep_bytes and plain
        self._thread: ThreadPoolExecutor | None = None
        self._ahead: dict[Window, Future[Raster]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a SceneReader holds open files and does not pickle: send its scene and read it there"
        )

    def close(self) -> None:
        """Close the files; a later read opens them again. What was read ahead is dropped."""
        self.read_ahead(())
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
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
        ahead = self._ahead.pop(window, None)
        return self._read(window) if ahead is None else ahead.result()

    def read_ahead(self, windows: Sequence[Window]) -> None:
        """Begin to read windows in a thread, one by one: :meth:`read` gives them, once, or their error.

        Others that were read ahead are dropped.
        """
        for window in self._ahead.keys() - set(windows):
            self._ahead.pop(window).cancel()
        for window in windows:
            if window not in self._ahead:
                self._thread = self._thread or ThreadPoolExecutor(1, "read ahead")
                self._ahead[window] = self._thread.submit(self._read, window)

    def _read(self, window: Window) -> Raster:
        with of_scene(self.scene.ref.id), self._lock, environment(self.scene.ref.trust):
            try:
                return show(window, self.grid, self._inside)
            except BaseException:
                # GDAL keeps a damaged block in its cache and would return it without an error next time.
                self._close()
                raise

    def _inside(self, window: Window) -> tuple[Float32 | UInt8, Bool]:
        if self._groups is None:
            self._groups = self._open()
        return scaled(*read_bands(self._groups, window, keep_bytes=self._keep_bytes), self._factors)

    def _open(self) -> tuple[BandGroup, ...]:
        grids: dict[GeoBox, list[_BandFile]] = {}
        for href in dict.fromkeys(band.href for band in self.scene.bands):
            file = self._files.enter_context(_BandFile(self.scene, href))
            grids.setdefault(file.geobox, []).append(file)
        masks = [self._files.enter_context(_MaskFile(self.scene, ref)) for ref in self.scene.ref.masks]
        return tuple(
            BandGroup(
                files, self.grid, [partial(mask.read, geobox=geobox) for mask in masks], self._collar(files)
            )
            for geobox, files in grids.items()
        )

    def _collar(self, files: list[_BandFile]) -> Collar | None:
        tolerance = self.scene.collar
        if tolerance is None:
            return None
        places = [position for file in files for position in file.positions]
        nodata = tuple(value for file in files for value in file.fill)
        return Collar(nodata, tuple(tolerance[place] for place in places))


class ReadAhead:
    """A scene's reader: while a window is used, as many that follow it in an order are read in a thread."""

    def __init__(self, reader: SceneReader, order: Sequence[Window], count: int) -> None:
        self.grid = reader.grid
        self._reader, self._order, self._count = reader, order, count
        self._places = {window: place for place, window in enumerate(order)}

    def read(self, window: Window) -> Raster:
        """The pixels of a window of the order."""
        found = self._reader.read(window)
        following = self._places[window] + 1
        self._reader.read_ahead(self._order[following : following + self._count])
        return found


class _Kept(threading.local):
    """The reader that a thread keeps open."""

    reader: SceneReader | None = None


_kept = _Kept()


def kept_reader(scene: Scene, grid: GeoBox) -> SceneReader:
    """A reader that keeps bytes and stays open for who reads this scene next in this thread.

    So the blocks that one task decodes are still in GDAL's cache for the next. Another scene closes it, as
    does :func:`close_kept_reader`.
    """
    if _kept.reader is None or (_kept.reader.scene, _kept.reader.grid) != (scene, grid):
        close_kept_reader()
        _kept.reader = SceneReader(scene, grid, keep_bytes=True)
    return _kept.reader


def close_kept_reader() -> None:
    """Close what :func:`kept_reader` keeps open in this thread; its blocks leave the memory."""
    if _kept.reader is not None:
        _kept.reader.close()
        _kept.reader = None


def without_data(scene: Scene) -> SceneError:
    """The refusal of a scene of which no pixel is valid: a few windows show what made them so."""
    masks = [Path(mask.href).name for mask in scene.ref.masks]
    nodata = sorted({value for value in scene.nodata.values if value is not None})
    bare = replace(scene, ref=replace(scene.ref, masks=()))
    if masks and _has_data(bare):
        why = (
            f"{listed(masks)} {'calls' if len(masks) == 1 else 'call'} all of them invalid; give the values "
            "that mean invalid (not those that mean valid) as geoseg:invalid of the asset in the catalog"
        )
    elif nodata and _has_data(replace(bare, nodata=Nodata.absent(len(scene.bands)))):
        why = (
            f"all hold nodata {listed([f'{value:g}' for value in nodata])} (rule {scene.nodata.rule}); where "
            "that is wrong, set scenes.nodata or scenes.nodata_rule"
        )
    else:
        why = "alpha, a mask in the file, NaN, or several of these with nodata leave none; look at the file"
    return SceneError(f"0 % of its pixels are valid: {why}")


def has_collar(scene: Scene) -> bool:
    """Whether lossy compression smeared nodata in some windows of a scene, and it is not looked for."""
    if scene.collar is not None or scene.smeared is None:
        return False
    plain, found = _look(scene), _look(replace(scene, collar=scene.smeared))
    lost = sum(int((a & ~b).sum()) for a, b in zip(plain, found, strict=True))
    return lost > _SMEARED * sum(valid.size for valid in plain)


def _has_data(scene: Scene) -> bool:
    """Whether one of a few windows of a scene has a valid pixel."""
    return any(valid.any() for valid in _look(scene))


def _look(scene: Scene) -> list[Bool]:
    """Where a few windows of a scene are valid: corners, edges and center."""
    rows, cols = (sorted({0, (n - _LOOK) // 2, n - _LOOK} if n > _LOOK else {0}) for n in scene.geobox.shape)
    with SceneReader(scene) as reader:
        return [reader.read(Window(row, col, _LOOK, _LOOK)).valid for row in rows for col in cols]


class _File:
    """An open dataset, read as seen from above, whose errors name scene, file and place in the file."""

    def __init__(self, scene: Scene, href: str) -> None:
        self.scene = scene
        self.href = href
        self.dataset = open_raster(href, scene.ref.trust, pixels=True)
        try:
            self._check_unchanged()
            data: DatasetReader = self.dataset
            # Under the scene's CRS: describe found them equal.
            stored = GeoBox(data.height, data.width, data.transform, scene.geobox.crs)
            self._orientation = Orientation.of(stored)
        except BaseException:
            self.dataset.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.dataset.close()

    @property
    def geobox(self) -> GeoBox:
        """The file's own grid, unmirrored, under the scene's CRS."""
        return self._orientation.grid

    def _check_unchanged(self) -> None:
        bands = (*self.scene.bands, *self.scene.ref.bands)
        if any(band.href == self.href and band.checksum for band in bands):
            return
        stamps = {part.partition("=")[2] for part in self.scene.identity.split(";")}
        if file_stamp(self.dataset.files) not in stamps:
            raise refusal(self.href, "has changed since it was described: start the run again")

    def decode(self, window: Window, indexes: list[int], *, mask: bool = False) -> list[Array]:
        """Bands, each of its own type, or their masks, of a window inside :attr:`geobox`: (height, width)."""
        stored = self._orientation.window(window)
        place = raster_window(stored)
        with gdal_errors(lambda error: self._damaged(stored, reason(error))), collected_warnings() as warned:
            if mask:
                data = list(self.dataset.read_masks(indexes, window=place))
            elif len({self.dataset.dtypes[index - 1] for index in indexes}) == 1:
                data = list(self.dataset.read(indexes, window=place))
            else:  # rasterio reads bands of one type together, as a VRT need not have them
                data = [self.dataset.read(index, window=place) for index in indexes]
        damage = [line for line in warned if "JPEGLib" in line]
        if damage:
            raise self._damaged(stored, damage[0])
        return [self._orientation.pixels(band) for band in data]

    def _damaged(self, window: Window, why: str) -> SceneError:
        place = f"rows {window.row}..{window.row_stop - 1}, columns {window.col}..{window.col_stop - 1}"
        return refusal(
            self.href, f"is truncated or corrupt somewhere in {place} ({why}): fetch the file again"
        )


class _BandFile(_File):
    """A file that holds selected bands of a scene."""

    def __init__(self, scene: Scene, href: str) -> None:
        super().__init__(scene, href)
        chosen = [(position, band.index) for position, band in enumerate(scene.bands) if band.href == href]
        self.positions = tuple(position for position, _ in chosen)
        self._indexes = [index for _, index in chosen]
        self._nodata = scene.nodata.of_bands(self.positions)
        self._white = dict(scene.inverted).get(href)
        fill = (0.0 if value is None else value for value in self._nodata.values)
        self.fill = tuple(fill if self._white is None else (self._white - value for value in fill))
        self._components = [scene.bands[position].component for position in self.positions]
        # A color table is that of the only band.
        self._table = color_table(self.dataset, self._indexes[0]) if self._components[0] is not None else None
        self._alpha = dict(scene.alpha).get(href)
        self._masks = self._mask_bands()

    def _mask_bands(self) -> list[int]:
        """Bands whose masks are stored: one for a mask of the whole file, each for masks of single bands."""
        derived = {MaskFlags.all_valid, MaskFlags.nodata, MaskFlags.alpha}
        flags = {i: set(self.dataset.mask_flag_enums[i - 1]) for i in dict.fromkeys(self._indexes)}
        stored = [index for index, kinds in flags.items() if not kinds & derived]
        return stored[:1] if stored and MaskFlags.per_dataset in flags[stored[0]] else stored

    def read(self, window: Window) -> Stored:
        """The bands in a window inside the file; each block is decoded once."""
        wanted = list(dict.fromkeys([*self._indexes, *([self._alpha] if self._alpha else [])]))
        data = self.decode(window, wanted)
        bands = [data[wanted.index(index)] for index in self._indexes]
        stored = judge(bands, self._nodata)
        sound = stored.sound
        if self._alpha:
            sound &= data[wanted.index(self._alpha)] != 0
        if self._masks:
            for mask in self.decode(window, self._masks, mask=True):
                sound &= mask != 0
        if self._white is not None:
            stored.bands[:] = [band.dtype.type(self._white) - band for band in stored.bands]
        if self._table is None:
            return stored
        colors = self._table[np.minimum(bands[0], len(self._table) - 1)]
        sound &= (colors[..., 3] != 0) & (bands[0] < len(self._table))
        return Stored([colors[..., component] for component in self._components], sound, stored.blank)


class _MaskFile(_File):
    """The mask asset of a scene, such as SCL or QA."""

    def __init__(self, scene: Scene, ref: MaskRef) -> None:
        super().__init__(scene, ref.href)
        self._ref = ref

    def read(self, window: Window, geobox: GeoBox) -> Bool:
        """Where the mask calls a window of another grid valid, by its pixel nearest to each center."""
        resampler = Resampler.between(self.geobox, geobox)
        values = self.decode(resampler.nearest_window(window), [self._ref.index])[0]
        return resampler.nearest(~unusable(values, self._ref), window)
