"""From one CRS to another, easting or longitude first."""

from __future__ import annotations

from functools import lru_cache

from pyproj import CRS, Transformer

__all__ = ["LONGITUDE_LATITUDE", "between", "equal_crs", "transformer"]

LONGITUDE_LATITUDE = "EPSG:4326"


@lru_cache(maxsize=64)
def transformer(source: str, target: str) -> Transformer:
    """From a CRS to another one, both as codes, WKT or PROJ text; raises CRSError and ProjError of pyproj."""
    return Transformer.from_crs(CRS.from_user_input(source), CRS.from_user_input(target), always_xy=True)


@lru_cache(maxsize=64)
def equal_crs(one: str, other: str) -> bool:
    """Whether two CRS are the same but for the order of their axes, which raster grids do not have."""
    return one == other or bool(
        CRS.from_user_input(one).equals(CRS.from_user_input(other), ignore_axis_order=True)
    )


def between(source: str, target: str) -> Transformer | None:
    """:func:`transformer`, or None where :func:`equal_crs`."""
    return None if equal_crs(source, target) else transformer(source, target)
