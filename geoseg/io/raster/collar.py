"""Collars of lossy files: nodata that came back from compression as almost nodata.

A footprint on black, written as JPEG with nodata 0: the blocks of 8 or 16 pixels that its edge crosses come
back with 1 to 12 where there was 0, and a network sees a seam of dark ground there. With ``scenes.collar:
auto`` such pixels are invalid::

    0 0 0 0 0 0 0 0 0│2 1 4 0│ photograph
    0 0 0 0 0 0 0 0 0│1 7 3 9│ 81 79 90 …      0: nodata       1…12: collar, by this rule
    ← all nodata ───→│← block →

    collar = near nodata, and joined to solid nodata by at most REACH steps over pixels near nodata

*Near* means within the file's tolerance in every band; *solid* is nodata (in every band) that a square of
SIDE pixels fits into, beyond the image's edge, too, so that a seam along the edge counts. A step goes to any
of the eight neighbors. So a dark roof stays unless it lies next to nodata; then it loses up to REACH px.

GDAL's ``nearblack`` goes inwards from the edge along whole rows and columns instead, as far as it is dark.
That needs all of a row before the first pixel is known, and eats dark objects whole. Here a pixel depends on
its surroundings of :data:`MARGIN` pixels alone: it is the same in whatever window it is read, and memory is
that of the window and its margin. REACH is twice the largest block of the lossy codecs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from geoseg.arrays import Array, Bool

__all__ = ["MARGIN", "Collar", "lossy_tolerance"]

REACH: Final = 32
SIDE: Final = 7
MARGIN: Final = REACH + SIDE
"""Pixels around a window that decide what is collar in it."""

_OF_BYTES: Final = 15
"""Tolerance of nearblack, for values of 0 to 255."""


def lossy_tolerance(structure: dict[str, str], dtype: str, bits: int) -> float:
    """How far from nodata a collar's values may be, in stored values; 0: the file is lossless.

    Args:
        structure: GDAL's ``IMAGE_STRUCTURE`` of the file.
        dtype: numpy's name.
        bits: of a value, as the file says.
    """
    error = structure.get("MAX_Z_ERROR")  # of LERC
    if error is not None:
        return float(error)
    lossy = (
        "JPEG" in structure.get("COMPRESSION", "") or structure.get("COMPRESSION_REVERSIBILITY") == "LOSSY"
    )
    if not lossy or np.dtype(dtype).kind not in "iu":
        return 0.0
    return _OF_BYTES * ((1 << bits) - 1) / 255


@dataclass(frozen=True, slots=True)
class Collar:
    """What is collar among bands of one grid."""

    nodata: tuple[float, ...]
    """Of each band, as it is read."""
    tolerance: tuple[float, ...]

    def find(self, bands: Sequence[Array], edges: tuple[tuple[bool, bool], tuple[bool, bool]]) -> Bool:
        """Where bands (height, width) hold collar or solid nodata.

        ``edges``: whether they begin and end at the image's edge, in rows and in columns; at other sides, the
        answer is right from :data:`MARGIN` pixels on.
        """
        from scipy import ndimage  # noqa: PLC0415 - slow to import, and rarely needed

        near = self._within(bands, self.tolerance)
        exact = self._within(bands, (0.0,) * len(bands))
        sides = [(SIDE * before, SIDE * after) for before, after in edges]
        beyond = np.pad(exact, sides, constant_values=True)
        eroded = ndimage.minimum_filter(beyond, SIDE, mode="nearest")
        solid = ndimage.maximum_filter(eroded, SIDE, mode="nearest")
        rows, cols = (slice(before, before + n) for (before, _), n in zip(sides, exact.shape, strict=True))
        solid = solid[rows, cols] & exact
        steps = np.ones((3, 3), np.bool_)
        found: Bool = ndimage.binary_dilation(solid, steps, iterations=REACH, mask=near)
        return found

    def _within(self, bands: Sequence[Array], tolerance: Sequence[float]) -> Bool:
        inside = np.ones(bands[0].shape, np.bool_)
        for band, nodata, most in zip(bands, self.nodata, tolerance, strict=True):
            low, high = nodata - most, nodata + most
            inside &= (band >= low) & (band <= high)
        return inside
