"""Strips of a raster of probabilities or class ids, as the store holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.config.stac.refs import BandRef
from geoseg.errors import SceneError
from geoseg.grid.encoding import NODATA, SCALE
from geoseg.grid.window import Window
from geoseg.io.raster.gdal import refusal
from geoseg.io.raster.probability import MOST_CLASSES, ScoreRaster
from geoseg.io.raster.reader import Raster
from geoseg.io.raster.scene_reader import SceneReader

__all__ = ["ScoreReader"]

_BEYOND: Final = 1e-6
"""How far a probability may be outside 0 to 1: what float32 makes of 1."""
_LARGEST_ID: Final = 1 << 24
"""From here on float32, in which pixels are read, does not hold every whole number."""
_PIECE: Final = 1 << 20
"""Values that are decoded at a time, or those of one block."""
_CHUNK_BYTES: Final = 1 << 27
"""Stored values of the block rows that are held at a time, at most."""
_NO_PROBABILITY: Final = (
    "and a probability lies in 0 to 1: scale it (gdal_edit.py -scale), declare the value nodata "
    "(gdal_edit.py -a_nodata), or read class ids with --as classes"
)
_NO_ID: Final = (
    f"and class ids are whole numbers below {_LARGEST_ID:,}: read probabilities with --as probability"
)


class ScoreReader:
    """Reads a raster of scores from the top, each block once; a context manager.

    Args:
        raster: from :func:`describe_scores`.
        pixels: most pixels of a strip, though at least a row.
    """

    def __init__(self, raster: ScoreRaster, pixels: int) -> None:
        self.raster = raster
        self._reader = SceneReader(raster.scene)
        self._rows = max(1, pixels // raster.scene.geobox.width)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def probabilities(self) -> Iterator[NDArray[np.uint8]]:
        """Stored probabilities.

        Yields:
            uint8 (bands, rows, width): ``round(200 p)``, 255 where there is no data.

        Raises:
            SceneError: pixels that cannot be decoded, or a value that is no probability.
        """
        return self._strips(self._stored, len(self.raster.scene.bands))

    def class_ids(self, known: NDArray[np.int32]) -> Iterator[NDArray[np.uint8]]:
        """Class ids by their place among those known.

        Args:
            known: ids, rising, shape (n,), at most 255; every id of the raster is among them.

        Yields:
            uint8 (1, rows, width): 0 … n - 1, 255 where there is no data.

        Raises:
            SceneError: pixels that cannot be decoded, or a value that is no class id.
        """

        def place(raster: Raster, window: Window) -> NDArray[np.uint8]:
            places = np.searchsorted(known, self._ids(raster, window)).astype(np.uint8)
            places[~raster.valid] = NODATA
            return places[None]

        return self._strips(place, 1)

    def check_probabilities(self) -> None:
        """Read everything once, so that what cannot be vectorized is refused before any work.

        Raises:
            SceneError: as :meth:`probabilities`, or no pixel has data.
        """
        has_data = False
        for strip in self.probabilities():
            has_data |= bool((strip[0] != NODATA).any())
        if not has_data:
            raise self._no_data()

    def found_ids(self) -> NDArray[np.int32]:
        """The class ids of the raster, rising, int32 (n,); everything is read once.

        Raises:
            SceneError: as :meth:`class_ids`, no pixel has data, or there are more than 255 classes.
        """
        found: set[int] = set()

        def gather(raster: Raster, window: Window) -> NDArray[np.uint8]:
            found.update(np.unique(self._ids(raster, window)[raster.valid]).tolist())
            if len(found) > MOST_CLASSES:
                raise self._refusal(
                    f"holds more than {MOST_CLASSES} different values, which are hardly class ids: "
                    "read bytes as probabilities with --as probability"
                )
            return np.zeros((0, *window.shape), np.uint8)

        for _ in self._strips(gather, 0):
            pass
        if not found:
            raise self._no_data()
        return np.array(sorted(found), np.int32)

    def _strips(
        self, convert: Callable[[Raster, Window], NDArray[np.uint8]], bands: int
    ) -> Iterator[NDArray[np.uint8]]:
        """Strips of converted pixels, read in whole rows of blocks where these are not too large."""
        height, width = self.raster.scene.geobox.shape
        down, across = self.raster.block
        tall = max(down, self._rows // down * down)
        tall = max(1, min(tall, _CHUNK_BYTES // (max(1, bands) * width)))
        wide = max(1, _PIECE // (len(self.raster.scene.bands) * tall))
        wide = min(width, max(across, wide // across * across))
        for first in range(0, height, tall):
            rows = min(tall, height - first)
            chunk = np.empty((bands, rows, width), np.uint8)
            for left in range(0, width, wide):
                window = Window(first, left, rows, min(wide, width - left))
                chunk[:, :, left : left + window.width] = convert(self._reader.read(window), window)
            for row in range(0, rows, self._rows):
                yield chunk[:, row : row + self._rows]

    def _stored(self, raster: Raster, window: Window) -> NDArray[np.uint8]:
        pixels, bands = raster.pixels, self.raster.scene.bands
        for band, values in zip(bands, pixels, strict=True):
            outside = raster.valid & ((values < -_BEYOND) | (values > 1 + _BEYOND))
            if outside.any():
                raise self._wrong(values, outside, window, band, _NO_PROBABILITY)
        np.clip(pixels, 0, 1, out=pixels)
        stored: NDArray[np.uint8] = np.rint(pixels * np.float32(SCALE)).astype(np.uint8)
        stored[:, ~raster.valid] = NODATA
        return stored

    def _ids(self, raster: Raster, window: Window) -> NDArray[np.int32]:
        (values,) = raster.pixels
        strange = raster.valid & ((values != np.rint(values)) | (np.abs(values) >= _LARGEST_ID))
        if strange.any():
            raise self._wrong(values, strange, window, self.raster.scene.bands[0], _NO_ID)
        ids: NDArray[np.int32] = values.astype(np.int32)
        return ids

    def _wrong(
        self,
        values: NDArray[np.float32],
        where: NDArray[np.bool_],
        window: Window,
        band: BandRef,
        why: str,
    ) -> SceneError:
        row, col = (int(place[0]) for place in np.nonzero(where))
        return self._refusal(
            f"has the value {float(values[row, col]):.8g} in band {band.index} (row {window.row + row}, "
            f"column {window.col + col}), {why}"
        )

    def _no_data(self) -> SceneError:
        return self._refusal("has no pixel with data: give another file, or correct its nodata value or mask")

    def _refusal(self, text: str) -> SceneError:
        return refusal(self.raster.scene.ref.id, self.raster.href, text)
