"""One spelling of a CRS for every file of a run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pyproj import CRS
from pyproj.exceptions import CRSError, ProjError
from rasterio.enums import WktVersion

from geoseg.errors import GeosegError, OutputError
from geoseg.grid.crs import LONGITUDE_LATITUDE, equal_crs, transformer
from geoseg.grid.geobox import GeoBox

if TYPE_CHECKING:
    import rasterio.crs

__all__ = [
    "bounds_in",
    "crs_doubts",
    "crs_name",
    "crs_of",
    "crs_text",
    "datum_gap",
    "is_code",
    "same_crs",
    "written_crs",
]

_TWINS = {("OGC", "CRS84"): "EPSG:4326", ("OGC", "CRS83"): "EPSG:4269", ("OGC", "CRS27"): "EPSG:4267"}
"""EPSG's twin of what differs by the order of axes only, which raster and vector files do not keep."""

_NAMELESS = {"", "unknown", "unnamed", "undefined", "unspecified"}
_UNKNOWN_DATUM = re.compile(
    r"(d[ _])?(unknown|unnamed|undefined|unspecified|not[ _]specified)", re.IGNORECASE
)
"""How the name of a datum begins that is none, as PROJ, GDAL, Esri and EPSG write it."""

_LEAST_AREA = 2.0
"""Degrees that the area of a CRS is taken to be large at least."""

_LEAST_CONFIDENCE = 25
"""PROJ's confidence from which a code is compared: from here on, other properties than the name agree."""


@lru_cache(maxsize=64)
def _parsed(crs: str) -> CRS:
    return CRS.from_user_input(crs)


@lru_cache(maxsize=64)
def crs_text(crs: str) -> str:
    """The text that a CRS of any spelling is known by: the code of exactly this CRS, else WKT2.

    Only what images on the ground have is kept: the horizontal part of a compound or three-dimensional CRS,
    and no shift to WGS 84 of zero, to which older programs tie every CRS.

    Raises:
        CRSError: PROJ does not know the CRS.
    """
    horizontal = _horizontal(_parsed(crs))
    return _code_of(horizontal) or horizontal.to_wkt()


def crs_of(found: rasterio.crs.CRS, refusal: Callable[[str], GeosegError]) -> str:
    """The text (:func:`crs_text`) of a raster's CRS; one without a place on the globe is refused.

    Args:
        refusal: the error to raise, by what follows the name of the raster ("is in the local CRS …").

    Raises:
        CRSError: PROJ does not know the CRS.
    """
    crs = crs_text(found.to_wkt(version=WktVersion.WKT2_2019))
    fault = _off_the_globe(crs)
    if fault is not None:
        raise refusal(fault)
    return crs


def _horizontal(crs: CRS) -> CRS:
    if crs.is_compound:
        return _horizontal(crs.sub_crs_list[0])
    if crs.is_bound and crs.source_crs is not None:
        shift = crs.coordinate_operation.towgs84 if crs.coordinate_operation else []
        return _horizontal(crs.source_crs) if shift and not any(shift) else crs
    return crs.to_2d() if len(crs.axis_info) > 2 and not crs.is_geocentric else crs  # noqa: PLR2004 - axes


def _code_of(crs: CRS) -> str | None:
    """The code of a CRS that is the same with its datum: a map on another datum lies some 100 m off.

    The order of axes does not count; EPSG's codes come first, then those with the CRS's own order.
    """
    if (crs.is_bound or _is_without_datum(crs)) and "id" not in crs.to_json_dict():
        return None  # no code stands for a CRS of this kind, and to look for one takes half a second
    named = crs.to_authority(min_confidence=100)
    if named is not None and _is_same(crs, code := _TWINS.get(named, ":".join(named))):
        return code
    found = [(match.auth_name, match.code) for match in crs.list_authority(min_confidence=_LEAST_CONFIDENCE)]
    codes = dict.fromkeys(_TWINS.get(pair, ":".join(pair)) for pair in found)
    same = [code for code in codes if _is_same(crs, code)]
    own = {code: _parsed(code).equals(crs) for code in same}
    return min(same, key=lambda code: (not code.startswith("EPSG:"), not own[code]), default=None)


def _is_same(crs: CRS, code: str) -> bool:
    other = _east_first(_parsed(code))
    return bool(_east_first(crs).equals(other, ignore_axis_order=True))


def _east_first(crs: CRS) -> CRS:
    """The same CRS with easting before northing, where it has these the other way round."""
    described: dict[str, Any] = crs.to_json_dict()
    axes = described.get("coordinate_system", {}).get("axis", [])
    if not crs.is_projected or [axis["direction"] for axis in axes] != ["north", "east"]:
        return crs
    axes.reverse()
    described.pop("id", None)
    return CRS.from_json_dict(described)


def crs_doubts(geobox: GeoBox, assign: str = "gdal_edit.py -a_srs EPSG:n") -> tuple[str, ...]:
    """What to know of a grid's CRS where it may not be the one that is meant, a sentence each.

    Args:
        assign: how to give the image another CRS.
    """
    parsed = _parsed(geobox.crs)
    return (*_datum_doubts(parsed, assign), *_area_doubts(parsed, geobox, assign))


def _datum_doubts(parsed: CRS, assign: str) -> tuple[str, ...]:
    """An ellipsoid but no datum, nor a shift to one."""
    if not _is_without_datum(parsed):
        return ()
    name = parsed.ellipsoid.name if parsed.ellipsoid else ""
    ellipsoid = "an ellipsoid" if name.lower() in _NAMELESS else f"an ellipsoid ({name})"
    doubt = f"its CRS names {ellipsoid} but no datum, so it may lie some 100 m off: the map keeps this CRS; "
    return (f"{doubt}assign the right one with {assign}",)


def _area_doubts(parsed: CRS, geobox: GeoBox, assign: str) -> tuple[str, ...]:
    """Far from the area of the CRS: coordinates in feet for meters, another zone, or swapped."""
    area = parsed.area_of_use
    x, y = geobox.transform @ (geobox.width / 2, geobox.height / 2)
    lon, lat = transformer(geobox.crs, LONGITUDE_LATITUDE).transform(x, y)
    if area is None or not (math.isfinite(lon) and math.isfinite(lat)):
        return ()
    width, height = (area.east - area.west) % 360 or 360.0, area.north - area.south
    # As far again as the area is large: neighboring zones, and the south in a zone of the north, are usual.
    east = (lon - (area.west + width / 2) + 180) % 360 - 180
    north = lat - (area.south + area.north) / 2
    if abs(east) <= 1.5 * max(width, _LEAST_AREA) and abs(north) <= 1.5 * max(height, _LEAST_AREA):
        return ()
    used = f"longitude {area.west:.1f} to {area.east:.1f}, latitude {area.south:.1f} to {area.north:.1f}"
    doubt = f"its center has longitude {lon:.1f}, latitude {lat:.1f}, far from where {parsed.name} is used "
    return (f"{doubt}({used}): check CRS and unit; assign the right one with {assign}",)


def _is_without_datum(crs: CRS) -> bool:
    return not crs.is_bound and crs.datum is not None and bool(_UNKNOWN_DATUM.match(crs.datum.name))


def datum_gap(crs: str, grid: GeoBox) -> str | None:
    """Why coordinates in a CRS cannot be placed on a grid: one of both has no datum; None: they can."""
    lacking = [_is_without_datum(_parsed(one)) for one in (crs, grid.crs)]
    if lacking[0] == lacking[1]:
        return None
    which = "its CRS" if lacking[0] else "the scene's CRS"
    return f"{which} names an ellipsoid but no datum, so both may lie some 100 m apart; assign the right one"


@lru_cache(maxsize=64)
def _off_the_globe(crs: str) -> str | None:
    """Why nothing in a CRS can have a place on the globe; None: it can."""
    parsed = _parsed(crs)
    if parsed.is_geocentric:
        return f"is in the geocentric CRS {parsed.name}, whose coordinates are not on a map"
    if parsed.is_engineering:
        return f"is in the local CRS {parsed.name!r}, which has no place on the globe"
    try:
        transformer(crs, LONGITUDE_LATITUDE)
    except ProjError as error:
        what = (
            "is on another body than the Earth" if "celestial" in str(error) else "has no place on the globe"
        )
        return f"is in the CRS {parsed.name!r}, which {what}"
    return None


@lru_cache(maxsize=64)
def written_crs(crs: str) -> str:
    """The text of a CRS (code, WKT or PROJ text) as it goes into files: ``AUTHORITY:code``, else WKT2.

    A CRS without a name (PROJ text, and GeoTIFF files made from it) has the code of exactly this CRS, datum
    included, or is named by its method: clients list a CRS by its name.

    Raises:
        OutputError: PROJ does not know the CRS.
    """
    try:
        text = crs_text(crs)
    except CRSError as error:
        raise OutputError(f"the CRS {crs[:60]!r} cannot be written: {error}") from error
    parsed = _parsed(text)
    if is_code(text) or not _is_nameless(parsed):
        return text
    described = parsed.to_json_dict()
    operation = parsed.coordinate_operation
    described["name"] = f"custom {operation.method_name if operation else parsed.type_name}"
    base = parsed.source_crs or (parsed.geodetic_crs if "base_crs" in described else None)
    known = _code_of(base) if base is not None and _is_nameless(base) else None
    if known is not None:
        # QGIS compares texts: without a name and code the base comes back differently from each format.
        described["base_crs"] = _parsed(known).to_json_dict()
    return CRS.from_json_dict(described).to_wkt()


def _is_nameless(crs: CRS) -> bool:
    return crs.name.strip().lower() in _NAMELESS


def crs_name(crs: str) -> str:
    """A CRS in a line of text: its code, else the name that files have for it."""
    text = written_crs(crs)
    return text if is_code(text) else _parsed(text).name


def is_code(crs: str) -> bool:
    """Whether the text of a CRS is an authority's code, such as ``EPSG:26914``."""
    authority, _, code = crs.partition(":")
    return bool(code) and authority.isalnum() and " " not in code


def same_crs(found: str | None, geobox: GeoBox) -> bool:
    """Whether the CRS that a library read back from a file (None: none) is a grid's own.

    The order of axes does not count: files keep easting or longitude first. Formats round the numbers of a
    CRS that has no code; it is the same when it moves no corner of the grid by a thousandth of a pixel.
    """
    if found is None:
        return False
    expected = written_crs(geobox.crs)
    if equal_crs(expected, found):
        return True
    if is_code(geobox.crs):
        return False
    project = transformer(found, expected)
    moved = [~geobox.transform @ project.transform(x, y) for x, y in geobox.corners]
    return all(math.dist(a, b) < 1e-3 for a, b in zip(moved, geobox.pixel_corners, strict=True))  # noqa: PLR2004 - a thousandth of a pixel


def bounds_in(geobox: GeoBox, crs: str) -> tuple[float, float, float, float]:
    """``(min x, min y, max x, max y)`` of a grid in another CRS; OutputError where it has no place there."""
    found = transformer(written_crs(geobox.crs), written_crs(crs)).transform_bounds(*geobox.bounds)
    if not all(map(math.isfinite, found)):
        raise OutputError(f"a scene in {geobox.crs[:60]!r} has no place in the CRS {crs[:60]!r}")
    west, south, east, north = found
    return west, south, east, north
