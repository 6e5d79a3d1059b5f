"""One spelling of a CRS for every file of a run."""

from __future__ import annotations

import math
from functools import lru_cache

from pyproj import CRS
from pyproj.exceptions import CRSError

from geoseg.errors import OutputError
from geoseg.grid.crs import equal_crs, transformer
from geoseg.grid.geobox import GeoBox

__all__ = ["bounds_in", "is_code", "same_crs", "written_crs"]

_TWINS = {("OGC", "CRS84"): "EPSG:4326", ("OGC", "CRS83"): "EPSG:4269", ("OGC", "CRS27"): "EPSG:4267"}
"""EPSG's twin of what differs by the order of axes only, which raster and vector files do not keep."""

_NAMELESS = {"", "unknown", "unnamed", "undefined", "unspecified"}


@lru_cache(maxsize=64)
def written_crs(crs: str) -> str:
    """The text of a CRS (code, WKT or PROJ text) as it goes into files: ``AUTHORITY:code``, else WKT2.

    A CRS without a name (PROJ text, and GeoTIFF files made from it) is looked up, and named by its method
    where no authority has a code for it: clients list a CRS by its name.

    Raises:
        OutputError: PROJ does not know the CRS.
    """
    try:
        parsed = CRS.from_user_input(crs)
    except CRSError as error:
        raise OutputError(f"the CRS {crs[:60]!r} cannot be written: {error}") from error
    if is_code(crs) or not _is_nameless(parsed):
        return crs if is_code(crs) else parsed.to_wkt()
    known = _known(parsed)
    if known is not None:
        return known
    described = parsed.to_json_dict()
    operation = parsed.coordinate_operation
    described["name"] = f"custom {operation.method_name if operation else parsed.type_name}"
    base = parsed.source_crs or (parsed.geodetic_crs if "base_crs" in described else None)
    if base is not None and _is_nameless(base) and _known(base) is not None:
        # QGIS compares texts: without a name and code the base comes back differently from each format.
        described["base_crs"] = CRS.from_user_input(_known(base)).to_json_dict()
    return CRS.from_json_dict(described).to_wkt()


def _is_nameless(crs: CRS) -> bool:
    return crs.name.strip().lower() in _NAMELESS


def _known(crs: CRS) -> str | None:
    """The code of a CRS that PROJ text describes without naming it; latitude and longitude as EPSG's."""
    found = crs.to_authority()
    return None if found is None else _TWINS.get(found, ":".join(found))


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
