"""What bands are called: the common names of STAC's eo extension 2.0, and other spellings of them.

A text is a **common name** where one is left of it, in whatever case, once what says nothing is taken away:
numbers, wavelengths, signs, and words such as "band" or "reflectance", sensors and statistics. "Red",
"Band 4 (Red)", "red_665nm", "vis-red", "S2_red", "red_median" and "R" are red; "near infrared" and "NIR" are
nir, "Coastal aerosol" is coastal. Other languages are not known, nor are the codes of sensors: "B04" is red
for one satellite and near infrared for another.

"" and "gray" **say nothing**, nor do "Band 1", "b1" and "layer_1" of the first band in its file; of any other
they are a sensor's code, which names no color either. A statistic or a sensor alone says something, as in a
file of "min", "median" and "max", but names no color.

Where a band has no name, the center of its wavelengths gives one, by the ranges of the extension.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = [
    "COMMON_NAMES",
    "agree",
    "believed",
    "common_name",
    "contradict",
    "fits_wavelength",
    "is_measurement",
    "is_sensor_code",
    "micrometers",
    "name_at",
    "names_mask",
    "plain",
    "says_nothing",
]

_RANGES: Final = {
    "pan": (0.40, 1.00), "coastal": (0.40, 0.45), "blue": (0.45, 0.53), "green": (0.50, 0.60),
    "green05": (0.51, 0.55), "yellow": (0.58, 0.62), "red": (0.60, 0.70), "rededge": (0.69, 0.79),
    "rededge071": (0.69, 0.73), "rededge075": (0.73, 0.76), "rededge078": (0.76, 0.79), "nir": (0.75, 1.05),
    "nir08": (0.75, 0.90), "nir09": (0.85, 1.05), "cirrus": (1.35, 1.40), "swir16": (1.55, 1.75),
    "swir22": (2.08, 2.35), "lwir": (10.4, 12.5), "lwir11": (10.4, 11.5), "lwir12": (11.5, 12.5),
}  # fmt: skip
COMMON_NAMES: Final = frozenset(_RANGES)
"""Common names of the eo extension 2.0."""
_CENTERS: Final = (
    (0.40, 0.45, "coastal"), (0.45, 0.51, "blue"), (0.51, 0.585, "green"), (0.585, 0.62, "yellow"),
    (0.62, 0.70, "red"), (0.70, 0.785, "rededge"), (0.785, 1.05, "nir"), (1.35, 1.40, "cirrus"),
    (1.55, 1.75, "swir16"), (2.08, 2.35, "swir22"), (10.4, 12.5, "lwir"),
)  # fmt: skip
"""The widest bands, parted in the middle where their ranges overlap."""
_TOLERANCE = 0.03
"""Part of a wavelength by which centers of one color differ between sensors."""

_LARGEST_MICROMETER = 100
"""A wavelength without a unit that is larger is in nanometers."""

_SPELLINGS: Final = {name: name for name in COMMON_NAMES} | {
    "r": "red", "g": "green", "b": "blue", "panchromatic": "pan", "coastalaerosol": "coastal",
    "coastalblue": "coastal", "greeni": "green05", "nearinfrared": "nir", "nearir": "nir",
}  # fmt: skip
_FILLERS: Final = frozenset(
    {
        "band",
        "bands",
        "channel",
        "ch",
        "layer",
        "vis",
        "visible",
        "color",
        "colour",
        "spectral",
        "reflectance",
    }
    | {"surface", "toa", "boa", "sr", "wavelength", "micrometers", "nanometers", "um", "nm"}
)
_STATISTICS: Final = frozenset(
    {"median", "medoid", "geomedian", "mean", "average", "avg", "min", "minimum", "max", "maximum", "mode"}
    | {"first", "last", "percentile", "composite", "mosaic", "dn", "radiance", "refl", "ms", "multispectral"}
)
"""What was made of a color, which is that color still; a "red_std" or "red_count" is not."""
_SENSORS: Final = frozenset(
    {"s2", "s2a", "s2b", "s2c", "sentinel", "sentinel2", "sentinel2a", "sentinel2b", "sentinel2c", "msi"}
    | {"landsat", "l4", "l5", "l7", "l8", "l9", "lc08", "lc09", "le07", "lt04", "lt05", "tm", "etm", "oli"}
    | {"landsat4", "landsat5", "landsat7", "landsat8", "landsat9", "hls", "l1c", "l2a", "modis", "viirs"}
    | {"planet", "planetscope", "psscene", "dove", "superdove", "skysat", "rapideye", "naip", "aster"}
    | {"worldview", "worldview2", "worldview3", "wv2", "wv3", "wv4", "geoeye", "geoeye1", "quickbird"}
    | {"ikonos", "pleiades", "pneo", "spot", "spot5", "spot6", "spot7", "uav", "drone"}
)
_PERCENTILE = re.compile(r"[pq]\d{1,3}")
_SPACED_NUMBER = re.compile(r"(?<![a-z0-9])b[ _.-](?=\d{1,2}(?!\d))")
"""The b of "B 04", which is no blue."""
_NUMBER = re.compile(r"(?:b|band|bd|ch|channel|layer)?0*(\d+)(?:nm|um)?")
_NOTHING: Final = frozenset({"gray", "grey", "undefined", "unknown", "none", "data", "image"})
_MEASUREMENTS: Final = frozenset(
    {"infrared", "ir", "thermal", "tir", "swir", "mwir", "dem", "dsm", "dtm", "ndsm", "height", "elevation"}
    | {"ndvi", "ndwi", "evi", "savi", "cir", "chm", "slope", "intensity", "temperature"}
)
_MASKS = re.compile(r"alpha|^a$|mask|valid|opacity|transparen|no.?data")


def plain(text: str | None) -> str:
    """A text in lower case, with single spaces."""
    return " ".join((text or "").lower().split())


def _words(text: str | None) -> list[str]:
    return [word for word in _tokens(text) if not _NUMBER.fullmatch(word)]


def _tokens(text: str | None) -> list[str]:
    """The words and numbers of a text that may say something."""
    spelled = _SPACED_NUMBER.sub("b", plain(text))
    return [word for word in re.split(r"[^a-z0-9]+", spelled) if word and word not in _FILLERS]


def common_name(text: str | None) -> str | None:
    """The common name that a text means; None: it means none.

    >>> common_name("Band 4 (Red)"), common_name("Near-Infrared"), common_name("S2_R"), common_name("B04")
    ('red', 'nir', 'red', None)
    """
    beside = _STATISTICS | _SENSORS
    words = [word for word in _words(text) if word not in beside and not _PERCENTILE.fullmatch(word)]
    found = {_SPELLINGS.get(word) for word in words}
    return found.pop() if len(found) == 1 and None not in found else _SPELLINGS.get("".join(words))


def says_nothing(text: str | None, number: int) -> bool:
    """Whether a text says no more of a band than its number, from 1."""
    words = _words(text)
    return (not words and not is_sensor_code(text, number)) or (len(words) == 1 and words[0] in _NOTHING)


def is_sensor_code(text: str | None, number: int) -> bool:
    """Whether a text is numbers, and not that which the band has in its file: a sensor's, such as B04.

    >>> is_sensor_code("B04", 1), is_sensor_code("B04", 4), is_sensor_code("red", 1)
    (True, False, False)
    """
    found = [_NUMBER.fullmatch(token) for token in _tokens(text)]
    return all(found) and any(one is not None and int(one[1]) != number for one in found)


def is_measurement(text: str | None) -> bool:
    """Whether a text names what a sensor measures, so that its band is no mask."""
    return common_name(text) is not None or bool(set(_words(text)) & _MEASUREMENTS)


def names_mask(text: str | None) -> bool:
    """Whether a text says that a band marks where there is data."""
    return _MASKS.search(plain(text)) is not None


def agree(one: str, other: str) -> bool:
    """Whether two common names can be those of one band: nir and nir08 can, red and rededge cannot."""
    return one == other or one == _family(other) or _family(one) == other


def _family(name: str) -> str:
    return name.rstrip("0123456789")


def micrometers(text: str, unit: str = "") -> float | None:
    """A wavelength in µm, from a number with or without its unit; None: it is none.

    >>> micrometers("665 nm"), micrometers("0.665"), micrometers("665"), micrometers("0.665", "Micrometers")
    (0.665, 0.665, 0.665, 0.665)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-zµμ]*)\s*", text.lower())
    if found is None or not float(found[1]):
        return None
    unit = found[2] or unit.lower()
    nanometers = unit.startswith("n") or (not unit and float(found[1]) > _LARGEST_MICROMETER)
    return float(found[1]) / 1000 if nanometers else float(found[1])


def name_at(center: float) -> str | None:
    """The common name of a band with this center of its wavelengths, in µm; None: none is defined there."""
    return next((name for low, high, name in _CENTERS if low <= center < high), None)


def fits_wavelength(name: str, center: float) -> bool:
    """Whether a band of this common name can have this center, in µm, give or take 3 %."""
    low, high = _RANGES.get(_family(name), _RANGES[name])
    return low * (1 - _TOLERANCE) <= center <= high * (1 + _TOLERANCE)


def contradict(stated: Sequence[str | None], colors: Sequence[str | None]) -> bool:
    """Whether the common names stated of a file's bands contradict its color interpretation of any."""
    pairs = list(zip(stated, colors, strict=True))
    return any(name and color and not agree(name, color) for name, color in pairs) or any(
        color in stated for name, color in pairs if color and not name
    )


def believed(stated: Sequence[str | None], colors: Sequence[str | None]) -> list[str | None]:
    """Common names of the bands of one file, from what is stated of them and its color interpretation.

    What is stated wins. Where it contradicts the color interpretation of any band, that is a default which
    the program that wrote the file left, and nothing of it is believed; else it names what is not stated.
    """
    if contradict(stated, colors):
        return list(stated)
    return [name or color for name, color in zip(stated, colors, strict=True)]
