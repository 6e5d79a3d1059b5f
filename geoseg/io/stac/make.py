"""A STAC item collection from a folder of GeoTIFFs."""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pystac

from geoseg.config.stac.refs import Trust
from geoseg.errors import CatalogError, GridError, SceneError
from geoseg.grid.footprint import footprint
from geoseg.grid.ground import ground_resolution
from geoseg.io.files import sha256_of, write_text
from geoseg.io.raster.dates import date_properties
from geoseg.io.raster.gdal import GDAL_ERRORS, environment, open_raster, reason, refusal
from geoseg.io.raster.header import Header, read_header
from geoseg.io.stac.read import Catalog, Refusal, load_catalog

__all__ = ["describe_file", "make_catalog", "write_catalog"]

_EXTENSIONS = "https://stac-extensions.github.io"
_SUFFIXES = (".tif", ".tiff")
_SHOWN = 20
_FLAT = re.compile(r"[\[{]\n([^\[\]{}]*)[\]}]")
_FLAT_LENGTH = 90
_SHA2_256 = "1220"  # multihash: the function's code and the digest's length, then the digest
_COMMON_NAMES = frozenset(
    {"pan", "coastal", "blue", "green", "green05", "yellow", "red", "rededge", "rededge071", "rededge075"}
    | {"rededge078", "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir", "lwir11", "lwir12"}
)
"""Common names of the eo extension 2.0."""


def make_catalog(folder: str | Path, output: str | Path, trust: Trust = "catalog") -> Catalog:
    """Describe the GeoTIFFs in a folder and below, and write a STAC item collection.

    An item is called like its file, or like its path in the folder where several files share a name (or one
    that differs by case alone). Hrefs are relative to the catalog. Dates follow
    :func:`geoseg.io.raster.dates.date_properties`.

    Args:
        folder: searched for ``.tif`` and ``.tiff``, with all folders below it but those behind links.
        output: JSON file to write, whole or not at all.
        trust: ``local`` takes georeferences of side files, too.

    Returns:
        The catalog as written and read back. Its ``refusals`` say which files cannot be described and why;
        those are not in the file.

    Raises:
        CatalogError: no such folder, no GeoTIFF in it, or none that can be described.
        OutputError: the catalog cannot be written.
    """
    folder, output = Path(folder), Path(output)
    if not folder.is_dir():
        raise CatalogError(f"{folder}: no such folder; give the folder that holds the GeoTIFFs")
    files = sorted(_tiffs(folder))
    if not files:
        raise CatalogError(f"{folder}: holds no GeoTIFF (.tif, .tiff), in it or below")
    items, refusals = [], []
    for file, item_id in zip(files, _ids(files, folder), strict=True):
        try:
            items.append(describe_file(file, item_id, output.parent, trust))
        except SceneError as error:
            refusals.append(Refusal(item_id, str(error)))
    if not items:
        reasons = "\n".join(f"  {refusal.reason}" for refusal in refusals[:_SHOWN])
        raise CatalogError(f"{folder}: none of its {len(files)} GeoTIFFs can be described:\n{reasons}")
    about = {
        "title": f"GeoTIFFs of {folder.resolve().name}",
        "description": "Made by `geoseg catalog`. Where geoseg:datetime_source is unknown, the dates only "
        "frame the acquisition.",
    }
    collection = pystac.ItemCollection(items, extra_fields=about, clone_items=False)
    write_catalog(output, collection)
    written = load_catalog(output, trust)
    return Catalog(written.path, written.scenes, (*refusals, *written.refusals))


def write_catalog(output: Path, collection: pystac.ItemCollection) -> None:
    """Write an item collection, whole or not at all: indented, what is short and flat on one line.

    Raises:
        OutputError: see :func:`geoseg.io.files.staged`.
    """
    said = {"type": "FeatureCollection", **collection.extra_fields, **collection.to_dict()}
    text = json.dumps(said, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(output, _FLAT.sub(_on_one_line, text) + "\n")


def _on_one_line(found: re.Match[str]) -> str:
    text = re.sub(r"\n\s*", " ", found[1]).strip()  # no text of JSON holds a line break of its own
    return f"{found[0][0]}{text}{found[0][-1]}" if len(text) <= _FLAT_LENGTH else found[0]


def describe_file(file: Path, item_id: str, relative_to: Path, trust: Trust = "catalog") -> pystac.Item:
    """One GeoTIFF as a STAC 1.1 item: bands, CRS, grid, footprint, date, checksum and size.

    Args:
        file: the GeoTIFF.
        item_id: id of the item.
        relative_to: folder that the href is relative to.
        trust: what may be opened.

    Raises:
        SceneError: the file cannot be opened, has no place on the globe, or a name that is no text.
    """
    path = Path(os.path.abspath(file))  # noqa: PTH100 a link stays the name that the user gave
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise SceneError(f"scene {item_id!a}: {str(path)!a} is no UTF-8; rename the file") from error
    header = read_header(item_id, str(path), trust)
    try:
        geometry, bbox = footprint(header.geobox)
        resolution = ground_resolution(header.geobox).mean
    except GridError as error:
        raise SceneError(f"scene {item_id}: {path} has no place on the globe: {error}") from error
    tags = _tags(item_id, path, trust)
    properties = date_properties(tags, path.name, path.stat().st_mtime)
    moment = properties.pop("datetime")
    item = pystac.Item(
        id=item_id,
        geometry=geometry,
        bbox=bbox,
        datetime=None if moment is None else datetime.fromisoformat(moment),
        properties={**properties, "gsd": float(f"{resolution:.6g}"), **_projection(header)},
        stac_extensions=_used_extensions(header),
    )
    item.add_asset("data", _asset(header, path, relative_to, is_cog=tags.get("LAYOUT") == "COG"))
    return item


def _tiffs(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.lower().endswith(_SUFFIXES) and not name.startswith("."):
                yield Path(where, name)


def _ids(files: list[Path], folder: Path) -> list[str]:
    """The shortest of stem, path and path with suffix that nobody else has, whatever the case."""
    paths = [file.relative_to(folder).as_posix() for file in files]
    names = [(file.stem, path.rpartition(".")[0], path) for file, path in zip(files, paths, strict=True)]
    taken = [Counter(name[level].casefold() for name in names) for level in range(3)]
    return [
        next(
            (text for text, counts in zip(name, taken, strict=True) if counts[text.casefold()] == 1), name[-1]
        )
        for name in names
    ]


def _tags(item_id: str, path: Path, trust: Trust) -> dict[str, str]:
    with environment(trust):
        try:
            with open_raster(item_id, str(path), trust, pixels=False) as dataset:
                return {
                    **dataset.tags(),
                    **dataset.tags(ns="IMAGERY"),
                    "LAYOUT": dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT", ""),
                }
        except GDAL_ERRORS as error:
            raise refusal(
                item_id, str(path), f"has metadata that cannot be read ({reason(error)})"
            ) from error


def _projection(header: Header) -> dict[str, Any]:
    box = header.geobox
    authority, _, code = box.crs.partition(":")
    has_code = authority.isalnum() and bool(code) and " " not in code
    return {
        "proj:code": box.crs if has_code else None,
        **({} if has_code else {"proj:wkt2": box.crs}),
        "proj:shape": list(box.shape),
        "proj:transform": list(box.transform[:6]),
    }


def _used_extensions(header: Header) -> list[str]:
    used = [f"{_EXTENSIONS}/file/v2.1.0/schema.json", f"{_EXTENSIONS}/projection/v2.0.0/schema.json"]
    if _COMMON_NAMES & set(header.names):
        used.append(f"{_EXTENSIONS}/eo/v2.0.0/schema.json")
    if _scaled(header):
        used.append(f"{_EXTENSIONS}/raster/v2.0.0/schema.json")
    return used


def _scaled(header: Header) -> bool:
    return set(header.scales) != {1.0} or set(header.offsets) != {0.0}


def _asset(header: Header, path: Path, relative_to: Path, *, is_cog: bool) -> pystac.Asset:
    href = Path(os.path.relpath(path, Path(os.path.abspath(relative_to)))).as_posix()  # noqa: PTH100 as above
    return pystac.Asset(
        href=href if href.startswith("../") else f"./{href}",  # a name such as `$a` or `c:1.tif` is no href
        media_type=pystac.MediaType.COG if is_cog else pystac.MediaType.GEOTIFF,
        roles=["data"],
        extra_fields={
            "bands": [_band(header, i) for i in range(header.count)],
            "file:checksum": _SHA2_256 + sha256_of(path),
            "file:size": path.stat().st_size,
        },
    )


def _band(header: Header, i: int) -> dict[str, Any]:
    name, nodata = header.names[i], header.nodata[i]
    band: dict[str, Any] = {"name": name, "data_type": _data_type(header.dtypes[i])}
    if name in _COMMON_NAMES:
        band["eo:common_name"] = name
    if nodata is not None:
        band["nodata"] = (
            int(nodata) if nodata.is_integer() else nodata if math.isfinite(nodata) else str(nodata)
        )
    if _scaled(header):
        band["raster:scale"], band["raster:offset"] = header.scales[i], header.offsets[i]
    return band


def _data_type(dtype: str) -> str:
    """STAC's name of a numpy type: complex ones are called by their parts."""
    return {"complex64": "cfloat32", "complex128": "cfloat64", "complex_int16": "cint16"}.get(dtype, dtype)
