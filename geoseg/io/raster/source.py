"""One open file of a scene: bands as stored, and what it says of their validity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from geoseg.config.stac.refs import MaskRef
from geoseg.grid.geobox import GeoBox
from geoseg.grid.resample import Resampler
from geoseg.grid.window import Window
from geoseg.io.raster.gdal import GDAL_ERRORS, open_raster, reason, refusal, spoken
from geoseg.io.raster.header import alpha_bands, file_stamp
from geoseg.io.raster.scene import Scene, mask_alpha

__all__ = ["MaskSource", "Source", "Stored"]

_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Bands of one grid in a window, as stored."""

    bands: list[NDArray[Any]]
    """One array (height, width) per band, each of its file's dtype."""
    sound: NDArray[np.bool_]
    """True where no band is NaN or infinite, and alpha and masks say valid; (height, width)."""
    blank: NDArray[np.bool_]
    """True where every band holds its nodata value; (height, width)."""


class _File:
    """An open dataset whose errors name scene, file and place."""

    def __init__(self, scene: Scene, href: str) -> None:
        self.scene = scene
        self.href = href
        self.dataset = open_raster(scene.ref.id, href, scene.ref.trust, pixels=True)
        try:
            self._check_unchanged()
        except BaseException:
            self.dataset.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.dataset.close()

    @property
    def geobox(self) -> GeoBox:
        """The file's own grid, under the scene's CRS: :func:`describe` found them equal."""
        data: DatasetReader = self.dataset
        return GeoBox(data.height, data.width, data.transform, self.scene.geobox.crs)

    def _check_unchanged(self) -> None:
        bands = (*self.scene.bands, *self.scene.ref.bands)
        if any(band.href == self.href and band.checksum for band in bands):
            return
        stamps = {part.partition("=")[2] for part in self.scene.identity.split(";")}
        if file_stamp(self.dataset.files) not in stamps:
            raise refusal(
                self.scene.ref.id, self.href, "has changed since it was described: start the run again"
            )

    def decode(self, window: Window, indexes: list[int], *, mask: bool = False) -> NDArray[Any]:
        """Bands, or their masks, of a window inside the file: (bands, height, width).

        Raises:
            SceneError: the file is cut off or corrupt there.
        """
        place = RasterioWindow(window.col, window.row, window.width, window.height)
        try:
            with spoken() as said:
                if mask:
                    data: NDArray[Any] = self.dataset.read_masks(indexes, window=place)
                else:
                    dtypes = {self.dataset.dtypes[index - 1] for index in indexes}
                    data = self.dataset.read(indexes, window=place, out_dtype=np.result_type(*dtypes))
        except GDAL_ERRORS as error:
            raise self._damaged(window, reason(error)) from error
        damage = [line for line in said if "JPEGLib" in line]
        if damage:
            raise self._damaged(window, damage[0])
        return data

    def _damaged(self, window: Window, why: str) -> Exception:
        place = f"rows {window.row}..{window.row_stop - 1}, columns {window.col}..{window.col_stop - 1}"
        return refusal(
            self.scene.ref.id,
            self.href,
            f"is truncated or corrupt somewhere in {place} ({why}): fetch the file again",
        )


class Source(_File):
    """A file that holds selected bands of a scene.

    Raises:
        SceneError: the file cannot be opened, or is not the one that was described.
    """

    def __init__(self, scene: Scene, href: str) -> None:
        super().__init__(scene, href)
        chosen = [(position, band.index) for position, band in enumerate(scene.bands) if band.href == href]
        self.positions = tuple(position for position, _ in chosen)
        """Where this file's bands go among the scene's."""
        self._indexes = [index for _, index in chosen]
        self._nodata = [self._nodata_of(index) for index in self._indexes]
        self.fill = tuple(0.0 if value is None else value for value in self._nodata)
        """Stored nodata of each band, 0 where it has none."""
        self._alpha = mask_alpha(scene, href, alpha_bands(self.dataset))
        self._masks = self._mask_bands()

    def _nodata_of(self, index: int) -> float | None:
        value = (
            self.scene.ref.nodata if self.scene.ref.nodata is not None else self.dataset.nodatavals[index - 1]
        )
        return None if value is None or not np.isfinite(value) else float(value)

    def _mask_bands(self) -> list[int]:
        """Bands whose masks are stored: one for a mask of the whole file, each for masks of single bands."""
        derived = {MaskFlags.all_valid, MaskFlags.nodata, MaskFlags.alpha}
        flags = {i: set(self.dataset.mask_flag_enums[i - 1]) for i in dict.fromkeys(self._indexes)}
        stored = [index for index, kinds in flags.items() if not kinds & derived]
        return stored[:1] if stored and MaskFlags.per_dataset in flags[stored[0]] else stored

    def read(self, window: Window) -> Stored:
        """The bands in a window inside the file; each block is decoded once.

        Raises:
            SceneError: the file is cut off or corrupt there.
        """
        wanted = list(dict.fromkeys([*self._indexes, *([self._alpha] if self._alpha else [])]))
        data = self.decode(window, wanted)
        bands = [data[wanted.index(index)] for index in self._indexes]
        sound = np.ones(window.shape, np.bool_)
        if self._alpha:
            sound &= data[wanted.index(self._alpha)] != 0
        if data.dtype.kind == "f":
            for band in bands:
                # A float64 that float32 cannot hold would become infinite on its way to the network.
                sound &= np.abs(band) <= _FLOAT32_MAX
        if self._masks:
            sound &= (self.decode(window, self._masks, mask=True) != 0).all(axis=0)
        blank = np.ones(window.shape, np.bool_)
        for band, nodata in zip(bands, self._nodata, strict=True):
            blank &= _equals(band, nodata)
        return Stored(bands, sound, blank)


def _equals(band: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | np.bool_:
    """Where a band holds a value, compared as stored; a value that its type cannot hold is nowhere."""
    if nodata is None:
        return np.False_
    if band.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.asarray(band == band.dtype.type(nodata))
    limits = np.iinfo(band.dtype)
    if not float(nodata).is_integer() or not limits.min <= nodata <= limits.max:
        return np.False_
    return np.asarray(band == band.dtype.type(int(nodata)))


class MaskSource(_File):
    """The mask asset of a scene, such as SCL or QA.

    Raises:
        SceneError: the file cannot be opened, or is not the one that was described.
    """

    def __init__(self, scene: Scene, ref: MaskRef) -> None:
        super().__init__(scene, ref.href)
        self._ref = ref

    def read(self, window: Window, geobox: GeoBox) -> NDArray[np.bool_]:
        """Where the mask calls a window of another grid valid: its pixel nearest to each center.

        Args:
            window: inside the other grid.
            geobox: the other grid, of the same footprint.

        Raises:
            SceneError: the file is cut off or corrupt there.
        """
        resampler = Resampler.between(self.geobox, geobox)
        values = self.decode(resampler.nearest_window(window), [self._ref.index])[0]
        return resampler.nearest(~np.isin(values, self._ref.invalid), window)
