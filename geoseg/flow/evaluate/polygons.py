"""Score polygons that any tool made: rasterized, they are a map, and all else is as for a run's."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import ProjError

from geoseg.arrays import Float64, Objects
from geoseg.config.model.contract import ClassSpec
from geoseg.config.stac.refs import LabelRef
from geoseg.engine.finished import ITEM_NAME
from geoseg.errors import LabelError, OutputError
from geoseg.flow.evaluate.evaluate import SCORE_NAME, check_reference, evaluate_pairs
from geoseg.flow.evaluate.objects import CONFIDENCE_FIELDS, ERRORS_NAME, Outlined, single
from geoseg.flow.evaluate.scene import Pair, strips
from geoseg.grid.crs import transformer
from geoseg.grid.geobox import GeoBox
from geoseg.io.crs import bounds_in, written_crs
from geoseg.io.files import check_writable, staged, write_json
from geoseg.io.labels.layers import vector_polygons
from geoseg.io.labels.rasters import label_grid
from geoseg.io.labels.reader import area_layer, label_kind, label_layer
from geoseg.io.labels.vector_file import Bounds, Layer
from geoseg.io.raster.cog import write_cog
from geoseg.io.vector.features import Features
from geoseg.io.vector.writer import write_features
from geoseg.polygons.attributes import CONFIDENCE
from geoseg.score.pixels.boundary import DEFAULT_WIDTH, BoundaryWidth
from geoseg.score.report.values import ScoreReport

__all__ = ["ScoredPolygons", "evaluate_polygons"]

_CLASSES: Final = (
    ClassSpec(id=0, name="background", title="Background", color="#e8e6e1", background=True),
    ClassSpec(id=1, name="object", title="Object", color="#d7301f"),
)
_LAYER: Final = "objects"
_SCHEMA: Final = {"id": "text", "class_id": "integer", CONFIDENCE: "real"}
_MARGIN: Final = 4
"""Pixels around all polygons where no area is given, so that the edge cuts none."""
_SLACK: Final = 1e-3
"""Part of a pixel that an extent may exceed whole pixels by, rounded as it is."""
_MOST_PIXELS: Final = 4_000_000_000


@dataclass(frozen=True, slots=True)
class ScoredPolygons:
    """The score of a file of polygons."""

    report: ScoreReport
    grid: GeoBox
    """The pixels that were scored."""
    notes: tuple[str, ...]
    """What the user should know of it, each in one sentence."""


def evaluate_polygons(
    polygons: Path,
    reference: LabelRef,
    folder: Path,
    *,
    layer: str | None = None,
    resolution: float = 0.3,
    width: BoundaryWidth = DEFAULT_WIDTH,
) -> ScoredPolygons:
    """Score a vector file against a reference; write ``score.json`` and ``errors.gpkg`` into a folder.

    The grid lies in the polygons' CRS (of longitude and latitude: in the zone of UTM at their middle), from
    the upper left corner of the labeled area, else around all that either side has. Each part of a
    polygon is one object of class 1. An attribute ``conf_mean`` or ``confidence`` from 0 to 1 ranks them.

    Args:
        layer: of the polygons; None: the only one.
        resolution: side of a pixel in meters of the CRS.

    Raises:
        LabelError: polygons or reference cannot be read, have no CRS, do not meet, or make too many pixels.
        OutputError: the folder cannot be written, or holds a run.
    """
    check_reference(reference)
    check_writable(folder)
    if any(folder.glob(f"*/{ITEM_NAME}")):
        raise OutputError(f"{folder} holds a run, whose score would be replaced; give another --output")
    if label_kind(polygons) != "vector":
        raise LabelError(f"{polygons}: is a raster, needed polygons: make them with geoseg vectorize")
    found = label_layer(polygons, layer)
    if not found.crs:
        raise LabelError(f"{found.where}: has no CRS; assign the one its coordinates are in")
    grid = _grid(found, reference, resolution)
    shapes, confidence, notes = _objects(found, grid)
    with tempfile.TemporaryDirectory(prefix="geoseg-score-") as scratch:
        classes_tif = Path(scratch) / "classes.tif"
        burned = vector_polygons(found, grid, None)
        write_cog(classes_tif, grid, ["classes"], ((w, burned.burn(w)[None]) for w in strips(grid)))
        names = np.array([f"{polygons.stem}-{n}" for n in range(len(shapes))], np.object_)
        attributes = {"id": names, "class_id": np.ones(len(shapes), np.int64), CONFIDENCE: confidence}
        objects = classes_tif.with_name(f"{_LAYER}.gpkg")
        write_features(objects, _LAYER, [Features(shapes, attributes)], geobox=grid, schema=_SCHEMA)
        pair = Pair(polygons.stem, classes_tif, reference, lambda: grid)
        scored = evaluate_pairs([pair], _CLASSES, width=width, outlined=Outlined(_LAYER, None))
        with staged(folder / ERRORS_NAME) as temporary:
            temporary.write_bytes(classes_tif.with_name(ERRORS_NAME).read_bytes())
    write_json(folder / SCORE_NAME, scored.report.to_dict())
    return ScoredPolygons(scored.report, grid, notes)


def _objects(layer: Layer, grid: GeoBox) -> tuple[Objects, Float64, tuple[str, ...]]:
    """Single valid polygons in the grid's CRS, the confidence of each, and what is to be said of it."""
    sure = next((name for name in CONFIDENCE_FIELDS if name in layer.fields), None)
    shapes, given = layer.read(sure, None)
    confidence = np.ones(len(shapes)) if given is None else np.asarray(given, np.float64)
    notes: tuple[str, ...] = ()
    if given is None or not ((confidence >= 0) & (confidence <= 1)).all():
        confidence = np.ones(len(shapes))
        named = " or ".join(CONFIDENCE_FIELDS)
        notes = (f"no attribute {named} from 0 to 1 ranks the polygons: AP and calibr. take all as sure",)
    assert layer.crs is not None, "it was looked at"
    source = written_crs(layer.crs)
    if source != written_crs(grid.crs):
        move = transformer(source, grid.crs)
        shapes = np.asarray(
            shapely.transform(shapes, lambda xy: np.column_stack(move.transform(*xy.T))), np.object_
        )
    parts, owner = single(shapes)
    return parts, confidence[owner], notes


def _grid(layer: Layer, reference: LabelRef, resolution: float) -> GeoBox:
    """Pixels over the labeled area, else over the polygons and the reference."""
    assert layer.crs is not None, "it was looked at"
    try:
        own = CRS.from_user_input(layer.crs)
    except ProjError as error:
        raise LabelError(f"{layer.where}: its CRS cannot be read ({error})") from error
    crs = _utm(layer) if own.is_geographic else written_crs(layer.crs)
    area = area_layer(reference)
    if area is not None:
        boxes = [_bounds(area, crs)]
    else:
        boxes = [_bounds(layer, crs)]
        path = Path(reference.href)
        if label_kind(path) == "raster":
            grid = label_grid(path)
            if grid is None:
                raise LabelError(f"labels {path}: has no CRS; assign one with gdal_edit.py -a_srs EPSG:n")
            boxes.append(bounds_in(grid, crs))
        else:
            boxes.append(_bounds(label_layer(path, reference.layer), crs))
    known = [box for box in boxes if box is not None]
    if not known:
        raise LabelError(f"{layer.where}: has no polygon, and neither has the reference; give --area")
    pixel = resolution / CRS.from_user_input(crs).axis_info[0].unit_conversion_factor
    margin = 0 if area is not None else _MARGIN * pixel
    west, south = (min(box[side] for box in known) - margin for side in (0, 1))
    east, north = (max(box[side] for box in known) + margin for side in (2, 3))
    columns, rows = (max(1, math.ceil(side / pixel - _SLACK)) for side in (east - west, north - south))
    if columns * rows > _MOST_PIXELS:
        raise LabelError(
            f"{layer.where}: {columns:,}×{rows:,} px of {resolution:g} m are too many to score; give the "
            "labeled area with --area, or a coarser --resolution"
        )
    return GeoBox(rows, columns, Affine(pixel, 0, west, 0, -pixel, north), crs)


def _bounds(layer: Layer, crs: str) -> Bounds | None:
    """Of a layer's features in a CRS; None: it has none."""
    if layer.bounds is None or not layer.crs:
        return None
    west, south, east, north = transformer(written_crs(layer.crs), crs).transform_bounds(*layer.bounds)
    if not all(map(math.isfinite, (west, south, east, north))):
        raise LabelError(f"{layer.where}: has no place in {crs[:60]}; check its CRS")
    return west, south, east, north


def _utm(layer: Layer) -> str:
    """The zone of UTM (WGS 84) at the middle of a layer in longitude and latitude."""
    if layer.bounds is None:
        raise LabelError(f"{layer.where}: has no polygons, so no place; give them in a CRS of meters")
    west, south, east, north = layer.bounds
    zone = min(60, max(1, int(((west + east) / 2 + 180) // 6) + 1))
    return f"EPSG:{(326 if south + north >= 0 else 327) * 100 + zone}"
