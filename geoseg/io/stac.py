"""STAC catalogs on local disk: read scenes from them, make one from a folder of GeoTIFFs."""

from __future__ import annotations

from geoseg.io._stac_make import describe_file, make_catalog, write_catalog
from geoseg.io._stac_read import Catalog, LocalStacIO, Refusal, load_catalog

__all__ = [
    "Catalog",
    "LocalStacIO",
    "Refusal",
    "describe_file",
    "load_catalog",
    "make_catalog",
    "write_catalog",
]
