"""Compare two output folders of geoseg bit for bit; what is left out is named here, with its reason.

Rasters are compared by pixels and metadata, vector layers by sorted normalized WKB, columns and attributes,
weights tensor by tensor, scores and logs value by value. benchmarks/same_outputs.py makes the folders.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import rasterio
import safetensors
import shapely
from numpy.typing import NDArray

__all__ = ["LEFT_OUT_NAMES", "SHOWN", "Comparison", "compare_folders"]

SHOWN = 20
"""Differences of one file that are listed; more are counted."""
NO_NAMES: Mapping[str, str] = {}
WKB = "normalized WKB"
"""Column of a table of features that holds their geometries."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that may differ between two commits."""

    files: str
    """Pattern of the files' paths in the output folder."""
    reason: str
    name: str = ""
    """JSON key, raster tag or column whose values are left out; empty: the whole file."""


LEFT_OUT_FILES = (
    LeftOut("*.geoseg.lock", "empty"),
    LeftOut("*/run.json", "state of a run: digests of files that hold dates"),
    LeftOut("*/run.qgz", "refers to the checkout's files by path; its layers and styles are compared"),
    LeftOut("*.png", "text is drawn into the picture; what it shows is compared as numbers"),
    LeftOut(
        "*/last.pt",
        "holds the training's fingerprint and timings; weights and every step's loss are compared",
    ),
    LeftOut("*/tensorboard/*", "repeats the log, with dates"),
    LeftOut("*/timing.json", "timings and fingerprints"),
    LeftOut("*/comparison.md", "the text of comparison.json, with speeds"),
)
LEFT_OUT_NAMES = (
    LeftOut("*.tif", "fingerprint", "GEOSEG_FINGERPRINT"),
    LeftOut("*.tif", "fingerprint", "GEOSEG_PIXELS"),
    LeftOut("*.tif", "fingerprint", "GEOSEG_PREDICTION_FINGERPRINT"),
    LeftOut("*", "derived from the fingerprint", "run_id"),
    LeftOut("*.gpkg", "date of writing, in the table of styles", "update_time"),
    LeftOut("*/item.json", "fingerprint", "geoseg:fingerprint"),
    LeftOut("*/item.json", "fingerprint", "geoseg:pixels"),
    LeftOut("*/item.json", "fingerprint", "geoseg:prediction_fingerprint"),
    LeftOut("*/item.json", "date of writing", "processing:datetime"),
    LeftOut("*/item.json", "software version", "processing:version"),
    LeftOut("*/item.json", "software versions", "processing:software"),
    LeftOut("*/item.json", "software versions", "geoseg:software"),
    LeftOut("*/item.json", "digest of a file that holds dates or fingerprints", "file:checksum"),
    LeftOut("*/item.json", "size of a file that holds dates or fingerprints", "file:size"),
    LeftOut("*/roofs-demo/item.json", "date of the training", "datetime"),
    LeftOut("*/roofs-demo/item.json", "prose", "procedure"),
    LeftOut("*/roofs-demo/item.json", "prose of the workflow file", "title"),
    LeftOut("*/log.jsonl", "date", "time"),
    LeftOut("*/log.jsonl", "timing", "seconds"),
    LeftOut("*/log.jsonl", "prose", "where"),
    LeftOut("*/log.jsonl", "prose", "reason"),
    LeftOut("*/score*.json", "prose", "definitions"),
    LeftOut("*/comparison*.json", "prose", "machine"),
    LeftOut("*/comparison*.json", "timing", "network_mpx_per_second"),
    LeftOut("*/comparison*.json", "timing", "map_mpx_per_second"),
    LeftOut("*/vectorize*.json", "path of the output folder", "file"),
)


@dataclass(slots=True)
class Comparison:
    """One compared thing."""

    path: str
    """Path in the output folder."""
    what: str
    """What was compared, with its size."""
    differences: list[str] = field(default_factory=list)
    """Empty where all is equal."""
    left_out: bool = False
    """Nothing but the file's being there was compared; ``what`` is the reason."""


def compare_folders(base: Path, new: Path, renamed: Mapping[str, str] = NO_NAMES) -> Iterator[Comparison]:
    """Every file of two output folders, one after the other.

    Args:
        base: the folder that holds what is expected.
        new: the folder to hold against it.
        renamed: base's names of files, folders, JSON keys and raster tags, each with its name in ``new``.
    """
    expected, found = _tree(base, renamed), _tree(new, renamed)
    for path in sorted(expected.keys() | found.keys()):
        if path not in expected or path not in found:
            only = "new" if path in found else "base"
            yield Comparison(path, "file", [f"only in {only}"])
            continue
        reason = next((left.reason for left in LEFT_OUT_FILES if fnmatch(path, left.files)), None)
        if reason is None:
            yield compare_files(expected[path], found[path], path, renamed)
        else:
            yield Comparison(path, reason, left_out=True)


def compare_files(base: Path, new: Path, path: str, renamed: Mapping[str, str] = NO_NAMES) -> Comparison:
    """Two files of one kind, by what they hold.

    Args:
        base: the file that holds what is expected.
        new: the file to hold against it.
        path: its path in the output folder, which decides what is left out.
        renamed: as for :func:`compare_folders`.

    Raises:
        ValueError: there is no comparison for files of this kind.
    """
    left_out = frozenset(left.name for left in LEFT_OUT_NAMES if fnmatch(path, left.files))
    match new.suffix:
        case ".tif":
            what, differences = compare_rasters(base, new, left_out, renamed)
        case ".gpkg" | ".fgb" | ".parquet":
            what, differences = compare_layers(base, new, left_out)
        case ".safetensors":
            what, differences = compare_weights(base, new)
        case ".json" | ".jsonl" | ".csv" | ".qml":
            expected, found = _values(base), _values(new)
            differences = list(compare_values(expected, found, "", left_out, renamed))
            what = f"{_count(expected)} values"
        case other:
            raise ValueError(f"{path}: no comparison for {other or 'files without a suffix'}; add one here")
    return Comparison(path, what, differences)


def compare_values(
    base: object,
    new: object,
    where: str = "",
    left_out: frozenset[str] = frozenset(),
    renamed: Mapping[str, str] = NO_NAMES,
) -> Iterator[str]:
    """Differences of two JSON-like values: types, keys, lengths, numbers to the last bit; NaN equals NaN."""
    if isinstance(base, dict) and isinstance(new, dict):
        expected, found = _named(base, left_out, renamed), _named(new, left_out, renamed)
        for key in [*expected, *(key for key in found if key not in expected)]:
            inner = f"{where}.{key}" if where else str(key)
            if key not in expected or key not in found:
                yield f"{inner}: only in {'new' if key in found else 'base'}"
            else:
                yield from compare_values(expected[key], found[key], inner, left_out, renamed)
    elif isinstance(base, list | tuple) and isinstance(new, list | tuple):
        if len(base) != len(new):
            yield f"{where}: {len(base)} items in base, {len(new)} in new"
        for number, (one, other) in enumerate(zip(base, new, strict=False)):
            yield from compare_values(one, other, f"{where}[{number}]", left_out, renamed)
    elif _canonical(base) != _canonical(new):
        yield f"{where or 'value'}: {base!r} in base, {new!r} in new"


def compare_rasters(
    base: Path, new: Path, left_out: frozenset[str] = frozenset(), renamed: Mapping[str, str] = NO_NAMES
) -> tuple[str, list[str]]:
    """Two rasters: what their files say of them, and every pixel of every band and overview.

    Returns:
        What was compared, and the differences.
    """
    with rasterio.open(base) as one, rasterio.open(new) as other:
        differences = list(
            compare_values(_raster_facts(one), _raster_facts(other), "", left_out, renamed),
        )
        what = f"{one.count} band{'s' if one.count > 1 else ''} of {one.height}×{one.width} px"
        if one.shape != other.shape or one.count != other.count:
            return what, differences
        levels = [-1, *range(len(one.overviews(1)))] if one.overviews(1) == other.overviews(1) else [-1]
    for level in levels:
        options = {} if level < 0 else {"overview_level": level}
        with rasterio.open(base, **options) as one, rasterio.open(new, **options) as other:
            for band in one.indexes:
                label = f"band {band}" + ("" if level < 0 else f" of overview {level}")
                differences += _pixel_differences(one.read(band), other.read(band), label)
    return what, differences


def compare_layers(base: Path, new: Path, left_out: frozenset[str] = frozenset()) -> tuple[str, list[str]]:
    """Two vector files, layer by layer: names, columns in order, types, CRS, geometries, attributes.

    Geometries are normalized and, with their attributes, sorted: the order of features is left out.

    Returns:
        What was compared, and the differences.
    """
    expected, found = _layers(base), _layers(new)
    differences = [
        f"layer {name}: only in {'new' if name in found else 'base'}"
        for name in sorted(expected.keys() ^ found.keys())
    ]
    for name in sorted(expected.keys() & found.keys()):
        facts = compare_values(expected[name].facts, found[name].facts)
        differences += [f"layer {name}: {difference}" for difference in facts]
        rows = _row_differences(expected[name].table, found[name].table, left_out)
        differences += [f"layer {name}: {difference}" for difference in rows]
    sizes = ", ".join(f"{name} ({len(layer.table)})" for name, layer in expected.items())
    return f"layers with features: {sizes}", differences


def compare_weights(base: Path, new: Path) -> tuple[str, list[str]]:
    """Two files of weights, tensor by tensor: names, shapes, dtypes, bits.

    Returns:
        What was compared, and the differences.
    """
    expected, found = _tensors(base), _tensors(new)
    differences = []
    for name in sorted(expected.keys() | found.keys()):
        if name not in expected or name not in found:
            differences.append(f"tensor {name}: only in {'new' if name in found else 'base'}")
            continue
        one, other = expected[name], found[name]
        if (one["dtype"], one["shape"]) != (other["dtype"], other["shape"]):
            differences.append(
                f"tensor {name}: {one['dtype']} {one['shape']} in base, "
                f"{other['dtype']} {other['shape']} in new"
            )
        elif count := sum(a != b for a, b in zip(one["data"], other["data"], strict=True)):
            differences.append(f"tensor {name}: {count} of {len(one['data'])} bytes differ")
    return f"{len(expected)} tensors", differences


def _tensors(path: Path) -> dict[str, dict[str, Any]]:
    """Name → ``dtype``, ``shape`` and ``data`` (bytes), whatever the framework's types."""
    return dict(safetensors.deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]


def _tree(folder: Path, renamed: Mapping[str, str]) -> dict[str, Path]:
    """Files by path, as they are called in new; TensorBoard's have a date and a process in their names."""
    tree = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            parts = file.relative_to(folder).parts
            if parts[-1].startswith("events.out.tfevents."):
                parts = (*parts[:-1], "events.out.tfevents")
            tree["/".join(renamed.get(part, part) for part in parts)] = file
    return tree


def _named(values: dict[Any, Any], left_out: frozenset[str], renamed: Mapping[str, str]) -> dict[Any, Any]:
    return {renamed.get(key, key): value for key, value in values.items() if key not in left_out}


def _canonical(value: object) -> str:
    """Text that is equal where type and bits are equal, and for all nulls."""
    if value is None or value is pd.NaT:
        return "null"
    if isinstance(value, float | np.floating):
        return f"float {float(value).hex()}"
    if isinstance(value, np.generic):
        value = value.item()
    return f"{type(value).__name__} {value!r}"


def _values(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.loads(text)
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    if path.suffix == ".csv":
        return list(csv.DictReader(text.splitlines()))
    return text.splitlines()


def _count(values: object) -> int:
    if isinstance(values, dict):
        return sum(_count(value) for value in values.values())
    if isinstance(values, list):
        return sum(_count(value) for value in values)
    return 1


def _raster_facts(raster: Any) -> dict[str, Any]:
    profile = raster.profile
    return {
        **{key: profile.get(key) for key in ("driver", "count", "height", "width", "interleave", "compress")},
        "dtypes": raster.dtypes,
        "nodata": raster.nodatavals,
        "transform": tuple(raster.transform),
        "crs": raster.crs and raster.crs.to_wkt(),
        "descriptions": raster.descriptions,
        "units": raster.units,
        "scales": raster.scales,
        "offsets": raster.offsets,
        "colors": [color.name for color in raster.colorinterp],
        "masks": [[flag.name for flag in flags] for flags in raster.mask_flag_enums],
        "blocks": raster.block_shapes,
        "overviews": [raster.overviews(band) for band in raster.indexes],
        "colormaps": [_colormap(raster, band) for band in raster.indexes],
        "tags": raster.tags(),
        "band tags": [raster.tags(band) for band in raster.indexes],
    }


def _colormap(raster: Any, band: int) -> dict[str, Any] | None:
    if raster.colorinterp[band - 1].name != "palette":
        return None
    return {str(value): color for value, color in raster.colormap(band).items()}


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    return values.view(f"u{values.dtype.itemsize}") if values.dtype.kind == "f" else values


def _pixel_differences(base: NDArray[Any], new: NDArray[Any], label: str) -> list[str]:
    if base.dtype != new.dtype or base.shape != new.shape:
        return [f"{label}: {base.dtype} {base.shape} in base, {new.dtype} {new.shape} in new"]
    different = np.argwhere(_bits(base) != _bits(new))
    if not different.size:
        return []
    row, col = (int(place) for place in different[0])
    first = f"row {row}, column {col}: {base[row, col]} in base, {new[row, col]} in new"
    return [f"{label}: {len(different)} of {base.size} px differ, the first one at {first}"]


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    facts: dict[str, Any]
    table: pd.DataFrame
    """Attributes, and normalized WKB as column :data:`WKB`, where the layer has geometries."""


def _layers(path: Path) -> dict[str, _Layer]:
    if path.suffix == ".parquet":
        frame = geopandas.read_parquet(path)
        facts = {"dtypes": [str(dtype) for dtype in frame.dtypes], "crs": frame.crs and frame.crs.to_wkt()}
        return {path.stem: _layer(frame, facts)}
    layers = {}
    for name, geometry in pyogrio.list_layers(path):
        info = pyogrio.read_info(path, layer=name)
        keys = ("fid_column", "geometry_name", "crs", "encoding")
        facts = {
            "geometry type": geometry,
            **{key: info.get(key) for key in keys},
            "dtypes": list(info["dtypes"]),
            "OGR types": [*info["ogr_types"], *info["ogr_subtypes"]],
        }
        layers[name] = _layer(pyogrio.read_dataframe(path, layer=name), facts)
    return layers


def _layer(frame: pd.DataFrame, facts: dict[str, Any]) -> _Layer:
    columns = list(frame.columns)
    table = pd.DataFrame(frame)
    if isinstance(frame, geopandas.GeoDataFrame):
        geometries = shapely.normalize(frame.geometry.to_numpy())
        table = table.drop(columns=frame.geometry.name)
        table[WKB] = ["" if g is None else shapely.to_wkb(g, hex=True, byte_order=1) for g in geometries]
    return _Layer({"columns": columns, **facts}, table)


def _row_differences(base: pd.DataFrame, new: pd.DataFrame, left_out: frozenset[str]) -> Iterator[str]:
    """Features that only one side has; of those with the same geometry, the attributes that differ."""
    if len(base) != len(new):
        yield f"{len(base)} features in base, {len(new)} in new"
    expected, found = Counter(base.get(WKB, ())), Counter(new.get(WKB, ()))
    if lost := (expected - found).total():
        yield f"{lost} of {len(base)} geometries only in base"
    if gained := (found - expected).total():
        yield f"{gained} of {len(new)} geometries only in new"
    names = [name for name in base.columns if name in new.columns and name not in {WKB, *left_out}]
    same = {wkb for wkb, count in expected.items() if found[wkb] == count}
    rows, others = _sorted_rows(base, names, same), _sorted_rows(new, names, same)
    for number, name in enumerate(names):
        pairs = [(one[number], other[number]) for one, other in zip(rows, others, strict=False)]
        different = [(one, other) for one, other in pairs if one != other]
        if different:
            one, other = different[0]
            example = f"such as {one} in base, {other} in new"
            yield f"column {name}: {len(different)} of {len(pairs)} values differ, {example}"


def _sorted_rows(table: pd.DataFrame, names: list[str], same: set[str]) -> list[tuple[str, ...]]:
    """Rows as text, sorted by geometry first; only those whose geometry both sides have."""
    kept = table[table[WKB].isin(same)] if WKB in table else table
    columns = [[_canonical(value) for value in kept[name]] for name in names]
    order = list(kept[WKB]) if WKB in kept else [""] * len(kept)
    keys = sorted((wkb, *(column[row] for column in columns)) for row, wkb in enumerate(order))
    return [key[1:] for key in keys]
