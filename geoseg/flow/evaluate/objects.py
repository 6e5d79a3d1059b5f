"""Score the polygons of one scene against its reference, object by object.

Both sides become objects in pixels of the map: those of the map are the polygons that were written beside it,
those of the reference its polygons, or the components of its raster. What became
of each is written as ``errors.gpkg``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import shapely

from geoseg.arrays import Array, Bool, Float64, Int64, Objects, UInt8
from geoseg.config.slug import scene_slug
from geoseg.errors import OutputError
from geoseg.flow.evaluate.scene import Pair, label_reader, strips
from geoseg.grid.encoding import IGNORE
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import ground_resolution
from geoseg.grid.polygons import moved, repaired
from geoseg.io.crs import same_crs
from geoseg.io.files import output_error
from geoseg.io.labels.reader import LabelReader
from geoseg.io.qgis.style import ClassStyle, kinds_qml
from geoseg.io.raster.maps import MapReader
from geoseg.io.vector import geojson
from geoseg.io.vector.features import Features, LayerStyle
from geoseg.io.vector.reader import layer_info, read_pieces
from geoseg.io.vector.writer import find_layer, write_features
from geoseg.polygons.attributes import CONFIDENCE
from geoseg.polygons.geodesic import AreaMeter
from geoseg.polygons.trace.exact import exact_polygons
from geoseg.polygons.trace.regions import to_ground
from geoseg.score.objects.matching import Matching, Outcome, match_objects
from geoseg.score.objects.shapes import shape_measures
from geoseg.score.objects.tally import ObjectTally, object_tally
from geoseg.score.tally import SceneTally

if TYPE_CHECKING:
    from geoseg.config.model.contract import ClassSpec
    from geoseg.config.workflow import Vectorize

__all__ = [
    "CONFIDENCE_FIELDS", "ERRORS_LAYER", "ERRORS_NAME", "Outlined", "read_columns", "score_objects",
    "write_errors",
]  # fmt: skip

ERRORS_NAME = "errors.gpkg"
"""The layer of errors in a scene's folder."""
ERRORS_LAYER: Final = "errors"
"""Its name in the file."""
_SCHEMA: Final = {
    "error": "text",
    "side": "text",
    "class_name": "text",
    "iou": "real",
    CONFIDENCE: "real",
    "area_m2": "real",
    "id": "text",
}
_KINDS: Final = (
    ClassStyle(0, "matched", "#1b9e77", background=True),
    ClassStyle(1, "false", "#d7191c"),
    ClassStyle(2, "missed", "#2b6cb0"),
    ClassStyle(3, "merged", "#7b3294"),
    ClassStyle(4, "split", "#e08214"),
)
CONFIDENCE_FIELDS: Final = ("conf_mean", "confidence")
"""Attributes that may hold how sure the map is of an object, 0 to 1; the first that is there counts."""
_BESIDE: Final = 0.75
"""Pixels from the edge of the labeled area within which an object counts as cut: a drawn edge lies up to √½
of a pixel beside that of the pixels in it."""


@dataclass(frozen=True, slots=True)
class Outlined:
    """The layer of polygons that a workflow makes, and the names of its classes; None: all but background."""

    layer: str
    classes: tuple[str, ...] | None

    @classmethod
    def of(cls, vectorize: Vectorize | None) -> Self | None:
        """Those of a workflow; None: it makes no polygons."""
        return None if vectorize is None else cls(vectorize.layer, vectorize.classes)


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """The objects of a scene with what became of them, excluded ones left out: a batch of each class."""

    grid: GeoBox
    """The map's, whose CRS they are in."""
    features: tuple[Features, ...]


def write_errors(errors: Errors | None, folder: Path) -> None:
    """Write ``errors.gpkg`` into a scene's folder; without errors, remove that of an older score.

    Raises:
        OutputError: it cannot be written or removed.
    """
    path = folder / ERRORS_NAME
    if errors is None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(path, error) from error
        return
    write_features(
        path,
        ERRORS_LAYER,
        errors.features,
        geobox=errors.grid,
        schema=_SCHEMA,
        style=LayerStyle(kinds_qml(_KINDS, "error")),
        description="mapped and reference objects by what became of them",
    )


def score_objects(
    pair: Pair, tally: SceneTally, classes: Sequence[ClassSpec], outlined: Outlined
) -> tuple[SceneTally, Errors | None]:
    """Add the objects of a scene to its tally, and give the errors; without polygons, the tally and None.

    The polygons beside a map are compared with the objects of its reference: its polygons (each part of a
    multipolygon is one), or the 4-connected components of a raster's classes. All is compared in the map's
    pixels. Objects that the edge of what is both labeled and mapped cuts are excluded. Memory holds all
    polygons of the scene.

    Raises:
        LabelError: the reference cannot be read.
        OutputError: the map or its polygons cannot be read, or do not belong together.
        GridError: the scene has no longitude and latitude, so areas cannot be measured.
        SceneError: the scene, which the reference counts in, cannot be opened.
    """
    path = find_layer(pair.classes_tif.parent, outlined.layer)
    if path is None:
        return tally, None
    chosen = [
        one for one in classes if (one.name in outlined.classes if outlined.classes else not one.background)
    ]
    with MapReader(pair.classes_tif) as reader:
        grid = reader.grid
        labels = label_reader(pair, grid)
        area = ScoredArea.of(reader, labels)
        mapped = mapped_objects(path, outlined.layer, area)
        reference = reference_objects(labels, [one.id for one in chosen], scene_slug(pair.scene), area)
    tallies: dict[int, ObjectTally] = {}
    features: list[Features] = []
    counts = np.zeros((len(tally.places), 3, len(classes)), np.int64)
    for spec in chosen:
        one, other = mapped.of(spec.id), reference.of(spec.id)
        found = match_objects(one.shapes, other.shapes, cut=one.cut, reference_cut=other.cut)
        tallies[spec.id] = _tally(one, other, found, grid)
        _count(counts[:, :, spec.id], tally, one, other, found)
        features += [_features(one, found, spec.name), _features(other, found, spec.name, reference=True)]
    return replace(tally, objects=counts, object_tallies=tallies), Errors(grid, tuple(features))


def _tally(one: ObjectSet, other: ObjectSet, found: Matching, grid: GeoBox) -> ObjectTally:
    ground = ground_resolution(grid)
    matched = np.flatnonzero(found.outcome == Outcome.MATCHED)

    def meters(shapes: Objects) -> Objects:
        return np.asarray(shapely.transform(shapes, lambda xy: xy * (ground.across, ground.down)), object)

    shapes = shape_measures(
        meters(one.shapes[matched]), meters(other.shapes[found.partner[matched]]), step=ground.mean
    )
    return object_tally(
        found, confidence=one.confidence, area=one.area, reference_area=other.area, shapes=shapes
    )


def _count(counts: Int64, tally: SceneTally, one: ObjectSet, other: ObjectSet, found: Matching) -> None:
    """Add objects to the cells (N, 3) that they lie in; a pair to that of its object of the reference."""
    mapped = np.flatnonzero(found.outcome != Outcome.EXCLUDED)
    truth = np.flatnonzero(found.reference_outcome != Outcome.EXCLUDED)
    partner = found.partner[mapped]
    places = one.shapes[mapped]
    places[partner >= 0] = other.shapes[partner[partner >= 0]]
    of_mapped, of_truth = (_cells(tally, shapes) for shapes in (places, other.shapes[truth]))
    for place, cells in enumerate((of_mapped[partner >= 0], of_truth, of_mapped)):
        counts[:, place] += np.bincount(cells, minlength=len(counts))


def _cells(tally: SceneTally, shapes: Objects) -> Int64:
    inside = shapely.get_coordinates(shapely.point_on_surface(shapes)).astype(np.int64)
    return tally.cell_of(inside[:, 1], inside[:, 0])


def _features(side: ObjectSet, found: Matching, name: str, *, reference: bool = False) -> Features:
    """The objects of a side that are scored; of matched pairs, the mapped one alone."""
    outcome = found.reference_outcome if reference else found.outcome
    shown = (outcome != Outcome.EXCLUDED) & ~(reference & (outcome == Outcome.MATCHED))
    kinds = [Outcome(code).name.lower() for code in outcome[shown].tolist()]
    attributes: Mapping[str, Any] = {
        "error": kinds,
        "side": ["reference" if reference else "map"] * len(kinds),
        "class_name": [name] * len(kinds),
        "iou": (found.reference_iou if reference else found.iou)[shown],
        CONFIDENCE: side.confidence[shown],
        "area_m2": side.area[shown],
        "id": side.id[shown],
    }
    values = {
        field: np.asarray(attributes[field], np.object_ if kind == "text" else np.float64)
        for field, kind in _SCHEMA.items()
    }
    return Features(side.ground[shown], values)


@dataclass(frozen=True, slots=True, eq=False)
class ObjectSet:
    """Objects of one side of a scene, each array of shape (n,)."""

    shapes: Objects
    """Single polygons in pixels of the map, (column, row)."""
    class_id: Int64
    id: Objects
    confidence: Float64
    """NaN: not known, of a reference."""
    ground: Objects
    """The same polygons in the map's CRS."""
    area: Float64
    """In m²."""
    cut: Bool
    """Whether the edge of what is labeled and mapped cuts it, or it lies outside."""

    def of(self, class_id: int) -> ObjectSet:
        """The objects of a class."""
        chosen = self.class_id == class_id
        return ObjectSet(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def _components(raster: Iterator[UInt8], width: int, classes: Sequence[int]) -> tuple[Objects, Int64]:
    """Outlines of the 4-connected components of strips of a raster, in its pixels, and their classes."""
    found = list(exact_polygons(((strip, np.zeros_like(strip)) for strip in raster), width, classes))
    none = np.zeros(0, np.object_)
    return (
        np.concatenate([none, *(batch.polygons for batch in found)]),
        np.concatenate([np.zeros(0, np.int64), *(batch.components.class_id for batch in found)]),
    )


def _labeled(reader: MapReader, labels: LabelReader) -> Iterator[UInt8]:
    """0 where there is both a label and a map, else 255, by strips."""
    for window in strips(reader.grid):
        (mapped,) = reader.read(window)
        counted = (labels.read(window) != IGNORE) & (mapped != IGNORE)
        yield np.where(counted, 0, IGNORE).astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class ScoredArea:
    """Where a scene has both a label and a map, and how areas are measured there."""

    grid: GeoBox
    meter: AreaMeter
    whole: shapely.MultiPolygon
    """In pixels of the map, as its edge."""
    edge: shapely.Geometry

    @classmethod
    def of(cls, reader: MapReader, labels: LabelReader) -> Self:
        """The scored area of a map and its labels."""
        parts, _ = _components(_labeled(reader, labels), reader.grid.width, [0])
        whole = shapely.MultiPolygon(list(parts))
        edge = whole.boundary
        shapely.prepare(whole)
        shapely.prepare(edge)
        return cls(reader.grid, AreaMeter.of(reader.grid), whole, edge)

    def objects(self, shapes: Objects, class_id: Array, names: Array, confidence: Array) -> ObjectSet:
        """Objects from single valid polygons in pixels, each with its class, id and confidence: (n,)."""
        ground = to_ground(shapely.orient_polygons(shapes), self.grid.transform)
        return ObjectSet(
            shapes=shapes,
            class_id=class_id.astype(np.int64),
            id=names,
            confidence=confidence.astype(np.float64),
            ground=ground,
            area=self.meter.measure(ground),
            cut=~shapely.covers(self.whole, shapes) | shapely.dwithin(self.edge, shapes, _BESIDE),
        )


def mapped_objects(path: Path, layer: str, area: ScoredArea) -> ObjectSet:
    """The polygons that a run wrote.

    Raises:
        OutputError: they cannot be read, lie in another CRS, or have no confidence.
    """
    info = layer_info(path, layer)
    in_degrees = path.suffix == geojson.SUFFIX
    if in_degrees and not info.count:  # then it has no fields
        return area.objects(*(np.zeros(0, object) for _ in range(4)))
    if not in_degrees and not same_crs(info.crs, area.grid):
        raise OutputError(f"{path} has the CRS {str(info.crs)[:60]!r}, not the map's; map the scene again")
    sure = next((name for name in CONFIDENCE_FIELDS if name in info.kinds), None)
    if sure is None:
        raise OutputError(
            f"{path} has no attribute {' or '.join(CONFIDENCE_FIELDS)}, needed to rank its objects; map the "
            "scene again"
        )
    polygons, *columns = read_columns(path, layer, {"class_id": np.int64, "id": np.object_, sure: np.float64})
    if in_degrees:
        polygons = geojson.from_degrees(polygons, area.grid)
    shapes, owner = single(moved(polygons, ~area.grid.transform))
    return area.objects(shapes, *(column[owner] for column in columns))


def read_columns(path: Path, layer: str, fields: Mapping[str, type[np.generic]]) -> list[Array]:
    """A whole layer's geometry, then its attributes by name; of a layer without features, of these types."""
    pieces = [piece.features for piece in read_pieces(path, layer, list(fields))]
    return [
        np.concatenate([np.zeros(0, np.object_), *(piece.geometry for piece in pieces)]),
        *(
            np.concatenate([np.zeros(0, kind), *(piece.attributes[name] for piece in pieces)])
            for name, kind in fields.items()
        ),
    ]


def reference_objects(labels: LabelReader, classes: Sequence[int], slug: str, area: ScoredArea) -> ObjectSet:
    """The objects of some classes of a reference, numbered in its order; ids start with ``slug``."""
    found = labels.polygons
    if found is not None:
        shapes, owner = single(found.shapes)
        class_id = found.values[owner].astype(np.int64)
    else:
        raster = (labels.read(window) for window in strips(labels.grid))
        shapes, class_id = _components(raster, labels.grid.width, classes)
    names = np.array([f"{slug}-reference-{number}" for number in range(len(shapes))], np.object_)
    wanted = np.isin(class_id, classes)
    return area.objects(shapes[wanted], class_id[wanted], names[wanted], np.full(int(wanted.sum()), np.nan))


def single(shapes: Objects) -> tuple[Objects, Int64]:
    """Valid single polygons with an area, and which shape each comes from."""
    parts, owner = shapely.get_parts(repaired(shapes), return_index=True)
    some = shapely.area(parts) > 0
    return parts[some], owner[some].astype(np.int64)
