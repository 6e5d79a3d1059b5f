"""A model's contract as a STAC item with the machine learning model extension (MLM 1.5.2), and back.

Keys for which STAC has no word begin with ``geoseg:``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from geoseg.config.model.contract import BundleSpec, GraphFile
from geoseg.config.stac.refs import SHA256_MULTIHASH
from geoseg.errors import BundleError
from geoseg.words import did_you_mean

__all__ = ["GRAPH_NAME", "INT8_NAMES", "WEIGHTS_NAME", "from_item", "item_text", "to_item"]

WEIGHTS_NAME = "weights.safetensors"
"""Name of a bundle's weights beside its ``item.json``."""
GRAPH_NAME = "graph.onnx"
"""Name of its graph."""
INT8_NAMES = ("int8.xml", "int8.bin")
"""Names of its operations in 8-bit integers and of their weights."""
_INT8 = "geoseg:int8"

_EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("mlm/v1.5.2", "raster/v1.1.0", "classification/v1.1.0", "file/v2.1.0")
)

_STORED_AS = {"receptive_field_radius": "radius"}
# Fields that are one property of the item: the same table serves both directions.
_PROPERTIES = {
    "name": "mlm:name",
    "title": "title",
    "description": "description",
    "license": "license",
    "architecture": "mlm:architecture",
} | {
    field: f"geoseg:{_STORED_AS.get(field, field)}"
    for field in (
        "version", "arguments", "value_dtype", "values", "value_range", "fill", "resolution",
        "resolution_tolerance", "coarsest_resolution", "alignment", "receptive_field_radius", "halo",
        "halo_agreement", "window", "cropping", "measured", "training", "metrics", "calibration", "border",
        "counted",
    )
}  # fmt: skip
_IF_KNOWN = frozenset(
    {
        "calibration",
        "border",
        "counted",
        "values",
        "value_range",
        "coarsest_resolution",
        "cropping",
        "measured",
    }
)
"""Fields that an item leaves out where they are None, false or empty."""
_SOFTWARE = "geoseg:software"
_BACKGROUND = "geoseg:background"


def to_item(spec: BundleSpec) -> dict[str, Any]:
    """A saved bundle as a STAC 1.1 item with MLM, classification, raster and file extensions."""
    weights = spec.saved
    fields = spec.model_dump(mode="json")
    properties: dict[str, Any] = {
        "datetime": weights.created.isoformat().replace("+00:00", "Z"),
        **{
            key: fields[field]
            for field, key in _PROPERTIES.items()
            if fields[field] or field not in _IF_KNOWN
        },
        _SOFTWARE: {"geoseg": weights.geoseg},
        **({_INT8: {"made_of": spec.int8.made_of, "data": spec.int8.data}} if spec.int8 else {}),
        "mlm:framework": "PyTorch",
        "mlm:framework_version": weights.torch,
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:total_parameters": weights.parameters,
        "mlm:pretrained": True,
        "mlm:pretrained_source": "; ".join(source.name for source in spec.training.data),
        "mlm:accelerator": None,
        "mlm:hyperparameters": spec.arguments | {"seed": spec.training.seed},
        "mlm:input": [_input(spec)],
        "mlm:output": [_output(spec)],
    }
    asset = {
        "href": f"./{WEIGHTS_NAME}",
        "type": "application/octet-stream",
        "title": "Weights",
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": "safetensors.torch.save_file",
        "file:size": weights.size,
        "file:checksum": SHA256_MULTIHASH + weights.sha256,
        "raster:bands": [{"name": band, "data_type": spec.value_dtype} for band in spec.bands],
    }
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        "id": spec.name,
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": {"weights": asset, **_graphs(spec)},
    }


def _graphs(spec: BundleSpec) -> dict[str, dict[str, Any]]:
    files: list[tuple[str, str, GraphFile, str]] = []
    if spec.graph is not None:
        title = f"Operations (ONNX); their weights are those of {WEIGHTS_NAME}"
        files.append(("graph", GRAPH_NAME, spec.graph, title))
    if spec.int8 is not None:
        operations, weights = INT8_NAMES
        files.append(("int8", operations, spec.int8.operations, "Operations in 8-bit integers (OpenVINO)"))
        files.append(("int8-weights", weights, spec.int8.weights, "Weights of the operations in integers"))
    return {
        key: {
            "href": f"./{name}",
            "type": "application/octet-stream",
            "title": title,
            "roles": ["graph"],
            "file:size": file.size,
            "file:checksum": SHA256_MULTIHASH + file.sha256,
        }
        for key, name, file, title in files
    }


def _input(spec: BundleSpec) -> dict[str, Any]:
    return {
        "name": "pixels",
        "bands": list(spec.bands),
        "input": {
            "shape": [-1, len(spec.bands), -1, -1],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": [
            {"type": "z-score", "mean": mean, "stddev": std}
            for mean, std in zip(spec.scaling.mean, spec.scaling.std, strict=True)
        ],
        "resize_type": None,
    }


def _output(spec: BundleSpec) -> dict[str, Any]:
    return {
        "name": "logits",
        "tasks": ["semantic-segmentation"],
        "result": {
            "shape": [-1, spec.channels, -1, -1],
            "dim_order": ["batch", "class", "height", "width"],
            "data_type": "float32",
        },
        "classification:classes": [
            {
                "value": c.id,
                "name": c.name,
                "description": c.title,
                "color_hint": c.color.removeprefix("#"),
                _BACKGROUND: c.background,
            }
            for c in spec.classes
        ],
    }


def item_text(spec: BundleSpec) -> str:
    """The item of :func:`to_item` as one line of JSON."""
    return json.dumps(to_item(spec), ensure_ascii=False)


def from_item(item: Mapping[str, Any], source: str = "item.json") -> BundleSpec:
    """Read a model's contract from its STAC item; what :func:`to_item` writes comes back equal.

    Raises:
        BundleError: no such item: names the source, the key, what came and what was needed.
    """
    properties = item.get("properties")
    if item.get("type") != "Feature" or not isinstance(properties, dict) or "mlm:name" not in properties:
        raise BundleError(
            f"{source} describes no model; give a bundle that geoseg saved (a STAC item with mlm: keys)"
        )
    known = {*_PROPERTIES.values(), _SOFTWARE, _INT8}
    for key in properties:
        if key.startswith("geoseg:") and key not in known:
            raise BundleError(f"{source}: unknown key {key!r}{did_you_mean(key, known)}")
    try:
        fields = {field: properties[key] for field, key in _PROPERTIES.items() if key in properties}
        fields |= _translated(item, properties, source)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        missing = error.args[0] if isinstance(error, KeyError) else "mlm:input, mlm:output or assets"
        raise BundleError(
            f"{source}: {missing!r} is missing or of another form than geoseg writes; save the bundle again"
        ) from error
    try:
        return BundleSpec.model_validate(fields)
    except ValidationError as error:
        raise BundleError(f"{source}: {_first_mistake(error)}") from error


def _translated(item: Mapping[str, Any], properties: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Fields that are not one property of the item."""
    given, result, assets = properties["mlm:input"][0], properties["mlm:output"][0], item["assets"]
    sha256, size = _file(assets, "weights", WEIGHTS_NAME, source)
    for scale in given["value_scaling"]:
        if scale["type"] != "z-score":
            raise BundleError(
                f"{source}: mlm:input: value scaling {scale['type']!r:.40} is unknown; geoseg reads z-score"
            )
    return {
        "bands": given["bands"],
        "scaling": {
            "mean": [scale["mean"] for scale in given["value_scaling"]],
            "std": [scale["stddev"] for scale in given["value_scaling"]],
        },
        "classes": [
            {
                "id": c["value"],
                "name": c["name"],
                "title": c["description"],
                "color": f"#{c['color_hint']}",
                "background": c.get(_BACKGROUND, False),
            }
            for c in result["classification:classes"]
        ],
        "weights": {
            "sha256": sha256,
            "size": size,
            "parameters": properties["mlm:total_parameters"],
            "created": properties["datetime"],
            "geoseg": properties[_SOFTWARE]["geoseg"],
            "torch": properties["mlm:framework_version"],
        },
        "graph": _graph_of(assets, "graph", GRAPH_NAME, source) if "graph" in assets else None,
        "int8": _int8_of(properties[_INT8], assets, source) if _INT8 in properties else None,
    }


def _int8_of(stated: Mapping[str, Any], assets: Mapping[str, Any], source: str) -> dict[str, Any]:
    files = zip(("operations", "weights"), ("int8", "int8-weights"), INT8_NAMES, strict=True)
    return {**stated, **{field: _graph_of(assets, key, name, source) for field, key, name in files}}


def _graph_of(assets: Mapping[str, Any], key: str, name: str, source: str) -> dict[str, Any]:
    sha256, size = _file(assets, key, name, source)
    return {"sha256": sha256, "size": size}


def _file(assets: Mapping[str, Any], key: str, name: str, source: str) -> tuple[str, Any]:
    """Sha256 and size of one of the bundle's files."""
    href, checksum = assets[key]["href"], assets[key]["file:checksum"]
    if href not in (f"./{name}", name):
        raise BundleError(f"{source}: assets.{key}: href must be ./{name}, got {href!r:.80}")
    if not re.fullmatch(SHA256_MULTIHASH + "[0-9a-f]{64}", checksum):
        raise BundleError(
            f"{source}: assets.{key}: file:checksum must be a sha2-256 multihash, got {checksum!r:.80}"
        )
    return checksum.removeprefix(SHA256_MULTIHASH), assets[key]["file:size"]


def _first_mistake(error: ValidationError) -> str:
    """The first mistake of a contract in one sentence, under the item's name for its key."""
    first = error.errors(include_url=False)[0]
    head, *rest = first["loc"] or ("contract",)
    key = ".".join(map(str, (_PROPERTIES.get(str(head), head), *rest)))
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    given = "" if first["type"] in ("missing", "value_error") else f", got {first['input']!r:.80}"
    return f"{key}: {reason[0].lower()}{reason[1:]}{given}"
