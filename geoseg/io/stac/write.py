"""STAC items that geoseg writes: of an image and of a finished map."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import pystac
import rasterio
from pystac.utils import datetime_to_str

from geoseg.config.band_names import COMMON_NAMES
from geoseg.config.model.contract import BundleSpec
from geoseg.config.stac.item import UNKNOWN_DATE
from geoseg.config.stac.refs import SHA256_MULTIHASH, Trust
from geoseg.errors import GridError, OutputError, SceneError, of_scene
from geoseg.grid.footprint import footprint
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import ground_resolution
from geoseg.io.crs import is_code, written_crs
from geoseg.io.files import output_error, sha256_of, write_text
from geoseg.io.raster.bands import own_names
from geoseg.io.raster.dates import OLDEST, date_properties
from geoseg.io.raster.gdal import GDAL_VERSION, TIFF_SIGNATURES, reading_back
from geoseg.io.raster.header import Header, read_header

__all__ = [
    "IMAGE_MEDIA",
    "LAYER_MEDIA",
    "describe_file",
    "relative_href",
    "scene_item",
    "write_catalog",
    "write_collection",
]

_FLAT = re.compile(r"[\[{]\n([^\[\]{}]*)[\]}]")
_FLAT_LENGTH = 90
_OF_MAPS: Final = (
    "classification/v1.1.0", "file/v2.1.0", "processing/v1.2.0", "projection/v2.0.0", "raster/v1.1.0",
)  # fmt: skip
"""Extensions of a map's item."""
LAYER_MEDIA: Final = {
    ".gpkg": pystac.MediaType.GEOPACKAGE,
    ".geojson": pystac.MediaType.GEOJSON,
    ".fgb": pystac.MediaType.FLATGEOBUF,
}
"""Media types of vector files by suffix."""
_MEDIA: Final = {
    ".tif": pystac.MediaType.COG,
    **LAYER_MEDIA,
    ".parquet": "application/vnd.apache.parquet",
    ".qml": pystac.MediaType.XML,
}
IMAGE_MEDIA: Final = {
    ".jp2": pystac.MediaType.JPEG2000,
    ".png": pystac.MediaType.PNG,
    ".jpg": pystac.MediaType.JPEG,
    ".jpeg": pystac.MediaType.JPEG,
}
"""Media types of images that are no TIFF by suffix."""
_COMPLEX: Final = {"complex64": "cfloat32", "complex128": "cfloat64", "complex_int16": "cint16"}
"""numpy type → STAC's name, which is that of its parts."""
_SOFTWARE: Final = ("geoseg", "torch", "numpy", "rasterio", "pyogrio", "shapely", "pyproj")


def write_catalog(output: Path, collection: pystac.ItemCollection) -> None:
    """Write an item collection, whole or not at all: indented, what is short and flat on one line."""
    write_collection(output, {"type": "FeatureCollection", **collection.extra_fields, **collection.to_dict()})


def write_collection(output: Path, content: Mapping[str, Any]) -> None:
    """The same of an item collection's JSON."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(output, _FLAT.sub(_on_one_line, text) + "\n")


def _on_one_line(found: re.Match[str]) -> str:
    text = re.sub(r"\n\s*", " ", found[1]).strip()  # no text of JSON holds a line break of its own
    return f"{found[0][0]}{text}{found[0][-1]}" if len(text) <= _FLAT_LENGTH else found[0]


def describe_file(
    file: Path, item_id: str, relative_to: Path, trust: Trust = "catalog", *, checksum: bool = True
) -> pystac.Item:
    """One image as a STAC 1.1 item: bands, CRS, grid, footprint, date; its size and checksum where asked for.

    Its href is relative to the folder ``relative_to``. A file that cannot be opened, has no place on the
    globe, or a name that is not text, is a SceneError.
    """
    path = Path(os.path.abspath(file))  # noqa: PTH100 a link stays the name that the user gave
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise SceneError(f"{str(path)!a} is not UTF-8; rename the file", scene=ascii(item_id)) from error
    with of_scene(item_id):
        header = read_header(str(path), trust)
        try:
            geometry, bbox = footprint(header.geobox)
            resolution = ground_resolution(header.geobox).mean
        except GridError as error:
            raise SceneError(f"{path} has no place on the globe: {error}") from error
    stated = replace(header, colors=(None,) * header.count)  # a color interpretation may be a default
    names = own_names(stated)
    properties = date_properties(header.tags, path.name, path.stat().st_mtime)
    moment = properties.pop("datetime")
    item = pystac.Item(
        id=item_id,
        geometry=geometry,
        bbox=bbox,
        datetime=None if moment is None else datetime.fromisoformat(moment),
        properties={**properties, "gsd": float(f"{resolution:.6g}"), **_projection(header.geobox)},
        stac_extensions=_used_extensions(header, names),
    )
    asset = _asset(header, names, path, relative_to)
    asset.extra_fields |= _file(path) if checksum else {}
    item.add_asset("data", asset)
    return item


def _used_extensions(header: Header, names: Sequence[str]) -> list[str]:
    used = ["file/v2.1.0", "projection/v2.0.0"]
    if COMMON_NAMES & set(names):
        used.append("eo/v2.0.0")
    if _scaled(header):
        used.append("raster/v2.0.0")
    return _extensions(used)


def _scaled(header: Header) -> bool:
    return set(header.scales) != {1.0} or set(header.offsets) != {0.0}


def _asset(header: Header, names: Sequence[str], path: Path, relative_to: Path) -> pystac.Asset:
    return pystac.Asset(
        relative_href(path, relative_to),
        media_type=pystac.MediaType.COG if header.is_cog else _image_type(path),
        roles=["data"],
        extra_fields={"bands": [_band(header, i, name) for i, name in enumerate(names)]},
    )


def relative_href(path: Path, folder: Path) -> str:
    """The href of a file in a catalog of this folder."""
    href = Path(os.path.relpath(path, Path(os.path.abspath(folder)))).as_posix()  # noqa: PTH100 as above
    return href if href.startswith("../") else f"./{href}"  # a name such as `$a` or `c:1.tif` is not an href


def _image_type(path: Path) -> str | None:
    """Media type of an image; None where there is none for it, and its suffix counts."""
    with path.open("rb") as file:
        if file.read(4).startswith(TIFF_SIGNATURES):
            return pystac.MediaType.GEOTIFF
    return IMAGE_MEDIA.get(path.suffix.lower())


def _band(header: Header, i: int, name: str) -> dict[str, Any]:
    nodata, dtype = header.nodata[i], header.dtypes[i]
    band: dict[str, Any] = {"name": name, "data_type": _COMPLEX.get(dtype, dtype)}
    if name in COMMON_NAMES:
        band["eo:common_name"] = name
    if nodata is not None:
        band["nodata"] = (
            int(nodata) if nodata.is_integer() else nodata if math.isfinite(nodata) else str(nodata)
        )
    if _scaled(header):
        band["raster:scale"], band["raster:offset"] = header.scales[i], header.offsets[i]
    return band


def scene_item(
    *,
    scene: str,
    geobox: GeoBox,
    acquired: str | None,
    outputs: Sequence[Path],
    folder: Path,
    model: BundleSpec,
    properties: Mapping[str, Any],
    now: datetime | None = None,
) -> dict[str, Any]:
    """Committed outputs of a scene as a STAC item (JSON): place, date, checksums, classes, model, software.

    Args:
        scene: the catalog's id of the scene; the item's id too.
        geobox: the scene's grid: its footprint becomes the item's.
        acquired: date, date-time or ``start/end``, ISO 8601; None: unknown, and then the dates only frame it
            (1900 to now) and ``geoseg:datetime_source`` is ``unknown``.
        outputs: rasters (``.tif``), layers and styles (``.qml``) in ``folder``. An asset is called like the
            file without its suffix (styles: with ``_style``).
        folder: where the item goes; hrefs are relative to it.
        model: the contract of a saved bundle.
        properties: further properties, such as run id and fingerprint (``geoseg:…``).
        now: time of processing, with a time zone; None: now.

    Raises:
        OutputError: a file cannot be read, or has no place on the globe.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    try:
        geometry, bbox = footprint(geobox)
    except GridError as error:
        raise OutputError(f"{folder}: scene {scene} has no place on the globe: {error}") from error
    dates = _dates(acquired, moment)
    item = pystac.Item(
        id=scene,
        geometry=geometry,
        bbox=bbox,
        datetime=dates["datetime"],
        properties={
            **dates,
            "title": f"{scene} mapped by {model.name} {model.version}",
            **_projection(replace(geobox, crs=written_crs(geobox.crs))),
            "processing:level": "L4",
            "processing:datetime": datetime_to_str(moment),
            "processing:version": version("geoseg"),
            "processing:software": _software(),
            "geoseg:model": {"name": model.name, "version": model.version, "sha256": model.sha256},
            "geoseg:attribution": model.attribution,
            **properties,
        },
        stac_extensions=_extensions(_OF_MAPS),
    )
    for path in outputs:
        key = f"{path.stem}_style" if path.suffix == ".qml" else path.stem
        item.add_asset(key, _output(path, folder, model))
    return item.to_dict(include_self_link=False)


def _output(path: Path, folder: Path, model: BundleSpec) -> pystac.Asset:
    try:
        return pystac.Asset(
            href=f"./{path.relative_to(folder).as_posix()}",
            media_type=_MEDIA[path.suffix],
            roles=["style" if path.suffix == ".qml" else "data"],
            extra_fields={**_file(path), **(_raster(path, model) if path.suffix == ".tif" else {})},
        )
    except OSError as error:
        raise output_error(path, error) from error


def _raster(path: Path, model: BundleSpec) -> dict[str, Any]:
    """Grid, bands and classes of a raster, from its header."""
    with reading_back(path), rasterio.open(path, driver="GTiff") as source:
        bands = [
            {"name": name or f"b{i + 1}", "data_type": dtype, "nodata": int(nodata), "scale": scale}
            for i, (name, dtype, nodata, scale) in enumerate(
                zip(source.descriptions, source.dtypes, source.nodatavals, source.scales, strict=True)
            )
        ]
        facts: dict[str, Any] = {
            "proj:shape": list(source.shape),
            "proj:transform": list(source.transform[:6]),
            "raster:bands": bands,
        }
        if source.colorinterp[0].name == "palette":
            facts["classification:classes"] = [
                {"value": c.id, "name": c.name, "description": c.title, "color_hint": c.color[1:].upper()}
                for c in model.classes
            ]
    return facts


def _dates(acquired: str | None, now: datetime) -> dict[str, Any]:
    """STAC's date properties: an instant, or null with the interval that holds it."""
    if acquired is None:
        return {**_span(OLDEST, now), "geoseg:datetime_source": UNKNOWN_DATE}
    first, _, last = acquired.partition("/")
    start, end = _moment(first), _moment(last or first)
    if len(last or first) <= len("2000-01-01"):  # a day, to its last second
        end += timedelta(days=1, seconds=-1)
    return {"datetime": start} if start == end else _span(start, end)


def _span(start: datetime, end: datetime) -> dict[str, Any]:
    ends = {"start_datetime": datetime_to_str(start), "end_datetime": datetime_to_str(end)}
    return {"datetime": None, **ends}


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise OutputError(f"the acquisition date {text!r} is not ISO 8601, such as 2024-05-31") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@cache
def _software() -> dict[str, str]:
    """Versions of what decides pixels and polygons."""
    found = {}
    for name in _SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a stripped-down installation has fewer
            continue
    return found | {"GDAL": GDAL_VERSION}


def _extensions(names: Sequence[str]) -> list[str]:
    return [f"https://stac-extensions.github.io/{name}/schema.json" for name in names]


def _file(path: Path) -> dict[str, Any]:
    return {"file:size": path.stat().st_size, "file:checksum": SHA256_MULTIHASH + sha256_of(path)}


def _projection(geobox: GeoBox) -> dict[str, Any]:
    coded = is_code(geobox.crs)
    return {
        "proj:code": geobox.crs if coded else None,
        **({} if coded else {"proj:wkt2": geobox.crs}),
        "proj:shape": list(geobox.shape),
        "proj:transform": list(geobox.transform[:6]),
    }
