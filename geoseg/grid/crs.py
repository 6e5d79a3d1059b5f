"""From one CRS to another, easting or longitude first."""

from __future__ import annotations

from functools import lru_cache

from pyproj import CRS, Transformer

__all__ = ["LONGITUDE_LATITUDE", "between", "transformer"]

LONGITUDE_LATITUDE = "EPSG:4326"


@lru_cache(maxsize=64)
def transformer(source: str, target: str) -> Transformer:
    """From a CRS to another one, both as codes, WKT or PROJ text.

    Raises:
        CRSError, ProjError: pyproj's; a text is no CRS, or no operation leads from one to the other.
    """
    return Transformer.from_crs(CRS.from_user_input(source), CRS.from_user_input(target), always_xy=True)


def between(source: str, target: str) -> Transformer | None:
    """The same; None where both CRS are equal but for the order of axes."""
    if CRS.from_user_input(source).equals(CRS.from_user_input(target), ignore_axis_order=True):
        return None
    return transformer(source, target)
