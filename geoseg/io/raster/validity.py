"""Which stored values mean that a pixel has no data: the one rule of nodata, for files, stacks and arrays.

NaN, infinity and what float32 cannot hold are invalid in any band. So is a band's nodata value (the
workflow's, else the catalog's, else the file's own), by the rule that holds for its band:

====================================  ======================================================================
the band counts **alone** (any)       the pixel is invalid wherever this band holds its nodata value
the band counts **jointly** (all)     the pixel is invalid where *all* bands that count jointly hold theirs
====================================  ======================================================================

``any`` and ``all`` of ``scenes.nodata_rule`` decide for all bands. ``auto`` decides band by band, by the type
as stored and the value alone, so that no pixel needs to be looked at:

* 8-bit bands (``uint8``, ``int8``, ``bool``) with a value in 0…255 count jointly. Every byte is a brightness
  that a roof, a shadow or snow can have in one band; black or white in all bands is a collar.
* All others count alone: 16 bits and more, floats, and negative values of ``int8``. A fill of -9999, -32768,
  65535 or -3.4e38 is no measurement; 0 is the fill of Sentinel-2 and Landsat, whose zero is below any
  surface; and where the footprints of bands differ, what is missing in one is missing.

What follows from it:

* Bands may differ in their nodata values, types, files and grids; each is compared with its own value.
* A band without a nodata value never holds it. An 8-bit band without one among others with one therefore
  keeps all pixels valid; :meth:`Nodata.doubts` says so.
* A value that a type cannot hold (-9999 in ``uint8``, 0.5 in ``int16``) is nowhere; this, too, is said.
* A float with nodata 0 counts alone, as wider integers do: resampled reflectance is filled with it. Where
  zero is a measurement (bytes turned into floats), ``all`` is the rule to set.
* One band alone is the same under every rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

import numpy as np

from geoseg.arrays import Array, Bool
from geoseg.config.stac.refs import MaskRef, NodataRule
from geoseg.words import listed

__all__ = ["LEAST_FILL", "Nodata", "Stored", "judge", "unusable"]

_FLOAT32_MAX = float(np.finfo(np.float32).max)
LEAST_FILL: Final = 1e30
"""Floats from here on are fills such as -3.4e38, which headers round: they are compared to five digits."""
_LARGEST_BYTE = 255


@dataclass(frozen=True, slots=True)
class Nodata:
    """The nodata values of bands, and the rule that holds for each."""

    values: tuple[float | None, ...]
    """As stored; None: the band has none beside NaN and infinity, or its type cannot hold it."""
    joint: tuple[bool, ...]
    """Whether the band counts only together with all others that do."""
    impossible: tuple[float | None, ...] = ()
    """Values that were declared although the band's type cannot hold them, per band; empty: none was."""

    @classmethod
    def of(cls, dtypes: Sequence[str], values: Iterable[float | None], rule: NodataRule = "auto") -> Self:
        """The rule of this module for bands of these types (numpy's names) and declared values."""
        declared = [None if value is None or not np.isfinite(value) else float(value) for value in values]
        held = tuple(
            value if value is not None and _holds(dtype, value) else None
            for dtype, value in zip(dtypes, declared, strict=True)
        )
        lost = tuple(value if kept is None else None for value, kept in zip(declared, held, strict=True))
        joint = tuple(
            rule == "all" or (rule == "auto" and _is_brightness(dtype, value))
            for dtype, value in zip(dtypes, held, strict=True)
        )
        return cls(held, joint, lost if any(value is not None for value in lost) else ())

    @classmethod
    def absent(cls, count: int) -> Self:
        """Of bands without nodata values."""
        return cls((None,) * count, (False,) * count)

    @classmethod
    def of_scores(
        cls, dtypes: Sequence[str], values: Iterable[float | None], scales: Sequence[tuple[float, float]]
    ) -> Self:
        """The same for bands of probabilities; ``scales`` are scale and offset of each.

        There 0 to 1 are measurements, in whatever type: such a value counts jointly, any other alone.
        """
        found = cls.of(dtypes, values)
        joint = tuple(
            value is None or 0 <= value * scale + offset <= 1
            for value, (scale, offset) in zip(found.values, scales, strict=True)
        )
        return cls(found.values, joint)

    def of_bands(self, positions: Iterable[int]) -> Nodata:
        """The same of some of the bands."""
        places = list(positions)
        return Nodata(tuple(self.values[p] for p in places), tuple(self.joint[p] for p in places))

    @property
    def rule(self) -> Literal["any", "all", "mixed", "none"]:
        """The rule that holds: of bands that have a nodata value, or ``none`` where no band has one."""
        kinds = {joint for joint, value in zip(self.joint, self.values, strict=True) if value is not None}
        if not kinds:
            return "none"
        return "mixed" if len(kinds) > 1 else "all" if kinds.pop() else "any"

    def doubts(
        self, names: Sequence[str], *, nodata: str = "scenes.nodata", rule: str = "scenes.nodata_rule"
    ) -> tuple[str, ...]:
        """What contradicts itself, one sentence each.

        Args:
            names: of the bands.
            nodata: by what a user declares a nodata value.
            rule: by what a user sets the rule.
        """
        found = []
        impossible = [
            (name, value) for name, value in zip(names, self.impossible, strict=False) if value is not None
        ]
        if impossible:
            bands = listed([name for name, _ in impossible])
            found.append(
                f"nodata is declared as {impossible[0][1]:g}, a value that the type of {bands} cannot hold, "
                f"so no pixel is nodata by it: set {nodata} to the value that means no data"
            )
        together = [
            (name, value) for name, value, joint in zip(names, self.values, self.joint, strict=True) if joint
        ]
        without = [name for name, value in together if value is None]
        if without and len(without) < len(together):
            name, value = next(pair for pair in together if pair[1] is not None)
            found.append(
                f"nodata is declared as {value:g} in {name} but not in {listed(without)}, and values of 8 "
                f"bits are nodata only where all bands hold theirs: set {nodata}, such as {value:g}, or "
                f"{rule} to any"
            )
        return tuple(found)


def _holds(dtype: str, value: float) -> bool:
    kind = np.dtype(dtype).kind
    if kind not in "iu":
        return kind != "b" or value in (0, 1)
    limits = np.iinfo(dtype)
    return value.is_integer() and limits.min <= value <= limits.max


def _is_brightness(dtype: str, value: float | None) -> bool:
    """Whether a band is of 8 bits and its nodata value, if any, is one that a measurement can take."""
    return np.dtype(dtype).itemsize == 1 and (value is None or 0 <= value <= _LARGEST_BYTE)


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Bands of one grid in a window, as stored."""

    bands: list[Array]
    """One array (height, width) per band, each of its file's dtype."""
    sound: Bool
    """False where a band is NaN or infinite, or alone makes the pixel invalid, or alpha and masks say so."""
    blank: Bool | None
    """True where all bands that count jointly hold their nodata value; None: no band counts jointly."""

    @property
    def valid(self) -> Bool:
        """Where the pixels have data, as far as these bands tell."""
        return self.sound & ~self.blank if self.blank is not None and self.blank.any() else self.sound


def judge(bands: list[Array], nodata: Nodata) -> Stored:
    """Bands with their validity, as far as their values tell: the rule of this module.

    Args:
        bands: one array (height, width) of real numbers per band.
        nodata: of the same bands.
    """
    sound = np.ones(bands[0].shape, np.bool_)
    together = [value for value, joint in zip(nodata.values, nodata.joint, strict=True) if joint]
    # A band that counts jointly and has no nodata value keeps every pixel from being blank.
    blank = np.full(sound.shape, None not in together) if together else None
    for band, value, joint in zip(bands, nodata.values, nodata.joint, strict=True):
        if band.dtype.kind == "f":
            # A float64 that float32 cannot hold would become infinite on its way to the network.
            wide = band.dtype.itemsize > np.dtype(np.float32).itemsize
            sound &= np.abs(band) <= _FLOAT32_MAX if wide else np.isfinite(band)
        if value is None:
            continue
        if not joint:
            sound &= ~_equals(band, value)
        elif blank is not None and None not in together:
            blank &= _equals(band, value)
    return Stored(bands, sound, blank)


def unusable(values: Array, mask: MaskRef) -> Bool:
    """Where the values of a mask say that a pixel is unusable: as a whole or by some of their bits."""
    found = np.isin(values, mask.invalid)
    for bits in mask.bits:
        field = (values.astype(np.int64) >> bits.offset) & ((1 << bits.length) - 1)
        found |= np.isin(field, bits.values)
    return found


def _equals(band: Array, nodata: float) -> Bool:
    """Where a band holds a value, compared as stored."""
    if band.dtype.kind != "f":
        return np.asarray(band == band.dtype.type(int(nodata)))
    with np.errstate(over="ignore"):
        stored = band.dtype.type(nodata)
    if abs(nodata) >= LEAST_FILL:
        return np.asarray(np.isclose(band, stored, rtol=1e-5, atol=0))
    return np.asarray(band == stored)
