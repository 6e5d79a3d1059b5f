"""What a quality band's published classes say: which values, or values of some bits, are unusable.

``classification:classes`` lists values of a band, ``classification:bitfields`` fields of bits, each with
classes of its own: offset and length in bits, counted from the least, and value, name and ``nodata`` of each
class. This is how Landsat's ``qa_pixel`` is published. Unusable are, of either:

* classes marked ``nodata: true``;
* by their names (without one, by their descriptions), fill, defective, cloud (dilated cloud, too), shadow of
  clouds and cirrus. A field that gives only how
  confident it is of one of these counts where the confidence is high, and not at all beside a plain field.

Snow and ice are kept apart, since snow on the ground may be what a map is of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geoseg.config.stac.refs import MaskBits

__all__ = ["MOST_BITS", "Flags", "Json", "are_of_mask", "flags_of"]

Json = Mapping[str, Any]

MOST_BITS = 32
"""Bits of a mask's value."""

_CLOUDS = frozenset({"cloud", "clouds", "cirrus", "shadow", "shadows"})
_BAD = _CLOUDS | {"fill", "nodata", "defective", "invalid", "unusable"}
_GOOD = frozenset({"valid", "clear", "good", "usable", "data"})
_SNOW = frozenset({"snow", "ice"})
_NOT = frozenset({"not", "no", "non", "clear", "free", "without", "unlikely", "low", "none", "unset"})
_OF_TERRAIN = frozenset({"terrain", "topographic", "casted", "relief", "forest", "forests"})
_CONFIDENCE = frozenset({"confidence", "probability"})


@dataclass(frozen=True, slots=True)
class Flags:
    """Unusable values of a mask; those of snow apart."""

    values: tuple[int, ...] = ()
    bits: tuple[MaskBits, ...] = ()
    snow_values: tuple[int, ...] = ()
    snow_bits: tuple[MaskBits, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.values or self.bits)


def flags_of(classes: Sequence[Json], bitfields: Sequence[Json]) -> Flags:
    """What the classes and bit fields of a band say; entries of another shape say nothing."""
    named = [(value, _words(entry), entry.get("nodata") is True) for value, entry in _valued(classes)]
    bad = {value for value, words, marked in named if marked or _is_of(_BAD, words)}
    snow = {value for value, words, _ in named if _is_of(_SNOW, words)} - bad
    plain = [words for words in map(_words, bitfields) if not words & _CONFIDENCE]
    bits: list[MaskBits] = []
    snow_bits: list[MaskBits] = []
    for field in bitfields:
        place = _place(field)
        if place is None:
            continue
        words = _words(field)
        known = bool(words & _CONFIDENCE) and words - _CONFIDENCE in plain
        values = () if known else _set_values(field, place[1])
        unusable = {value for value, entry in _valued(field.get("classes")) if entry.get("nodata") is True}
        unusable.update(values if _is_of(_BAD, words) else ())
        if unusable:
            bits.append(MaskBits(*place, tuple(sorted(unusable))))
        elif values and _is_of(_SNOW, words):
            snow_bits.append(MaskBits(*place, values))
    return Flags(tuple(sorted(bad)), tuple(bits), tuple(sorted(snow)), tuple(snow_bits))


def are_of_mask(classes: Sequence[Json]) -> bool:
    """Whether classes are a mask's and no land cover's: some are clouds, or all are no data or valid."""
    unusable = set(flags_of(classes, ()).values)
    named = [(value in unusable, _words(entry)) for value, entry in _valued(classes)]
    usable = [words for bad, words in named if not bad]
    return any(bad and _is_of(_CLOUDS, words) for bad, words in named) or (
        bool(unusable and usable) and all(words & _GOOD for words in usable)
    )


def _words(entry: Json) -> frozenset[str]:
    """The words of a name such as ``cloud_shadow``, ``Cloud shadow`` or ``CloudShadow``, lower case."""
    name = entry.get("name") or entry.get("title") or entry.get("description") or ""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(name))
    return frozenset(re.findall(r"[a-z0-9]+", re.sub(r"no[ _-]data", "nodata", parted.lower())))


def _is_of(subjects: frozenset[str], words: frozenset[str]) -> bool:
    return bool(words & subjects) and not words & (_NOT | _OF_TERRAIN)


def _valued(classes: object) -> list[tuple[int, Json]]:
    """Classes with their values."""
    entries = [entry for entry in classes if isinstance(entry, dict)] if isinstance(classes, list) else []
    return [(entry["value"], entry) for entry in entries if type(entry.get("value")) is int]


def _place(field: Json) -> tuple[int, int] | None:
    """Offset and length of a field, in bits."""
    offset, length = field.get("offset"), field.get("length")
    if type(offset) is not int or type(length) is not int:
        return None
    return (offset, length) if offset >= 0 and length >= 1 and offset + length <= MOST_BITS else None


def _set_values(field: Json, length: int) -> tuple[int, ...]:
    """Values of a field that say that what it is called is there."""
    classes = [(value, _words(entry)) for value, entry in _valued(field.get("classes"))]
    if _words(field) & _CONFIDENCE:
        high = tuple(value for value, words in classes if "high" in words)
        return high or (() if classes else ((1 << length) - 1,))
    there = tuple(value for value, words in classes if not words & _NOT)
    return there if classes and len(there) < len(classes) else (1,) if length == 1 else ()
