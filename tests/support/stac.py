"""STAC items and catalogs written by hand: what a user's tool would make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyproj
from pystac.validation.stac_validator import JsonSchemaSTACValidator

__all__ = ["RGB_BANDS", "collection", "stac_item", "stac_validator", "write_catalog"]

Asset = str | Mapping[str, Any]
RGB_BANDS = [{"name": name, "eo:common_name": name} for name in ("red", "green", "blue")]


def stac_item(
    item_id: Any,
    image: Asset | None = None,
    /,
    *,
    version: str = "1.1.0",
    image_key: str = "image",
    **labels: Asset,
) -> dict[str, Any]:
    """An item with an image, by default ``ID/scene.tif``, and labels; an asset is its href or its fields."""
    image = f"{item_id}/scene.tif" if image is None else image
    return {
        "type": "Feature",
        "stac_version": version,
        "id": item_id,
        "geometry": None,
        "properties": {"datetime": "2026-03-01T10:00:00Z"},
        "links": [],
        "assets": {
            image_key: _asset(image, type="image/tiff", roles=["data"]),
            **{name: _asset(label, roles=["labels"]) for name, label in labels.items()},
        },
    }


def _asset(asset: Asset, **fields: Any) -> dict[str, Any]:
    return fields | ({"href": asset} if isinstance(asset, str) else dict(asset))


def collection(*items: Any) -> dict[str, Any]:
    """Items as one FeatureCollection."""
    return {"type": "FeatureCollection", "features": list(items)}


def write_catalog(path: Path, *items: Any) -> Path:
    """A catalog in one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(collection(*items)), encoding="utf-8")
    return path


def stac_validator(schemas: Path | None) -> JsonSchemaSTACValidator:
    """A validator that knows the extensions' schemas of a folder, and PROJJSON; none of them is fetched."""
    validator = JsonSchemaSTACValidator()
    known = {
        f"https://stac-extensions.github.io/{path.parts[-3]}/{path.parts[-2]}/schema.json": path
        for path in (schemas.glob("*/*/schema.json") if schemas else ())
    }
    projjson = Path(pyproj.datadir.get_data_dir(), "projjson.schema.json")
    for uri, path in {**known, "https://proj.org/schemas/v0.7/projjson.schema.json": projjson}.items():
        validator.schema_cache[uri] = json.loads(path.read_text()) | {"$id": uri}
    return validator
