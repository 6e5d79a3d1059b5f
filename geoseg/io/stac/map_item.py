"""A STAC 1.1 item that says what a scene's outputs are and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import rasterio
from rasterio.errors import RasterioError

from geoseg.config.model.contract import BundleSpec
from geoseg.config.stac.item import UNKNOWN_DATE
from geoseg.errors import GridError, OutputError
from geoseg.grid.footprint import footprint
from geoseg.grid.geobox import GeoBox
from geoseg.io.crs import is_code, written_crs
from geoseg.io.files import output_error, sha256_of

__all__ = ["scene_item"]

_EXTENSIONS: Final = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in (
        "classification/v1.1.0",
        "file/v2.1.0",
        "processing/v1.2.0",
        "projection/v2.0.0",
        "raster/v1.1.0",
    )
)
_SHA2_256: Final = "1220"
"""Multihash: the function's code and the digest's length, before the digest."""
_OLDEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_COG: Final = "image/tiff; application=geotiff; profile=cloud-optimized"
_MEDIA: Final = {
    ".tif": _COG,
    ".gpkg": "application/geopackage+sqlite3",
    ".fgb": "application/vnd.flatgeobuf",
    ".parquet": "application/vnd.apache.parquet",
    ".qml": "application/xml",
}
_SOFTWARE: Final = ("geoseg", "torch", "numpy", "rasterio", "pyogrio", "shapely", "pyproj")


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
    """Describe the committed outputs of a scene: place, date, files with checksums, classes, model, software.

    Args:
        scene: the catalog's id of the scene; the item's id too.
        geobox: the scene's grid: its footprint becomes the item's.
        acquired: date, date-time or ``start/end``, ISO 8601; None: unknown, and then the dates only frame it
            (1900 to now) and ``geoseg:datetime_source`` is ``unknown``.
        outputs: the files, in ``folder``: rasters (``.tif``), layers (``.gpkg``, ``.fgb``, ``.parquet``)
            and styles (``.qml``). An asset is called like the file
            without its suffix (styles: with ``_style``).
        folder: where the item goes; hrefs are relative to it.
        model: the model's contract; its bundle has been saved.
        properties: further properties, such as run id and fingerprint (``geoseg:…``).
        now: time of processing, with a time zone; None: now.

    Returns:
        The item as JSON values.

    Raises:
        OutputError: a file cannot be read, or has no place on the globe.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    try:
        geometry, bbox = footprint(geobox)
    except GridError as error:
        raise OutputError(f"{folder}: scene {scene} has no place on the globe: {error}") from error
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        "id": scene,
        "geometry": geometry,
        "bbox": bbox,
        "properties": {
            **_dates(acquired, moment),
            "title": f"{scene} mapped by {model.name} {model.version}",
            **_projection(geobox),
            "processing:level": "L4",
            "processing:datetime": _rfc3339(moment),
            "processing:version": version("geoseg"),
            "processing:software": _software(),
            "geoseg:model": {"name": model.name, "version": model.version, "sha256": model.sha256},
            "geoseg:attribution": model.attribution,
            **properties,
        },
        "links": [],
        "assets": {_key(path): _asset(path, folder, model) for path in outputs},
    }


def _key(path: Path) -> str:
    return f"{path.stem}_style" if path.suffix == ".qml" else path.stem


def _asset(path: Path, folder: Path, model: BundleSpec) -> dict[str, Any]:
    try:
        facts = {
            "href": f"./{path.relative_to(folder).as_posix()}",
            "type": _MEDIA[path.suffix],
            "roles": ["style" if path.suffix == ".qml" else "data"],
            "file:size": path.stat().st_size,
            "file:checksum": _SHA2_256 + sha256_of(path),
        }
        return facts | _raster(path, model) if path.suffix == ".tif" else facts
    except (OSError, RasterioError) as error:
        raise output_error(path, error) from error


def _raster(path: Path, model: BundleSpec) -> dict[str, Any]:
    """Grid, bands and classes of a raster, from its header."""
    with rasterio.open(path, driver="GTiff") as source:
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
                {
                    "value": one.id,
                    "name": one.name,
                    "description": one.title,
                    "color_hint": one.color[1:].upper(),
                }
                for one in model.classes
            ]
    return facts


def _projection(geobox: GeoBox) -> dict[str, Any]:
    crs = written_crs(geobox.crs)
    coded = is_code(crs)
    return {
        "proj:code": crs if coded else None,
        **({} if coded else {"proj:wkt2": crs}),
        "proj:shape": list(geobox.shape),
        "proj:transform": list(geobox.transform[:6]),
    }


def _dates(acquired: str | None, now: datetime) -> dict[str, Any]:
    """STAC's date properties: an instant, or null with the interval that holds it."""
    if acquired is None:
        return {**_span(_OLDEST, now), "geoseg:datetime_source": UNKNOWN_DATE}
    first, _, last = acquired.partition("/")
    start, end = _moment(first), _moment(last or first)
    if _is_day(last or first):
        end += timedelta(days=1, seconds=-1)
    return {"datetime": _rfc3339(start)} if start == end else _span(start, end)


def _span(start: datetime, end: datetime) -> dict[str, Any]:
    return {"datetime": None, "start_datetime": _rfc3339(start), "end_datetime": _rfc3339(end)}


def _is_day(text: str) -> bool:
    return len(text) <= len("2000-01-01")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise OutputError(f"the acquisition date {text!r} is not ISO 8601, such as 2024-05-31") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds").replace(
        "+00:00", "Z"
    )


def _software() -> dict[str, str]:
    """Versions of what decides pixels and polygons."""
    found = {}
    for name in _SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a stripped-down installation has fewer
            continue
    return found | {"GDAL": rasterio.__gdal_version__}
