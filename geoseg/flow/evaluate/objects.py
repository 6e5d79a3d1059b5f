"""Score the polygons of one scene against its reference, object by object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import shapely

from geoseg.arrays import Int64, Objects
from geoseg.config.slug import scene_slug
from geoseg.flow.evaluate.reference_objects import Ground, Side, mapped_objects, reference_objects
from geoseg.flow.evaluate.scene import Pair, label_reader
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import ground_resolution
from geoseg.io.files import output_error
from geoseg.io.qgis.style import ClassStyle, kinds_qml
from geoseg.io.raster.maps import MapReader
from geoseg.io.vector.writer import FORMATS, Features, LayerStyle, write_features
from geoseg.polygons.attributes import CONFIDENCE
from geoseg.score.objects.matching import Matching, Outcome, match_objects
from geoseg.score.objects.shapes import shape_measures
from geoseg.score.objects.tally import ObjectTally, object_tally
from geoseg.score.tally import SceneTally

if TYPE_CHECKING:
    from geoseg.config.model.contract import ClassSpec
    from geoseg.config.workflow import Vectorize

__all__ = ["ERRORS_LAYER", "ERRORS_NAME", "Errors", "Outlined", "score_objects", "write_errors"]

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


@dataclass(frozen=True, slots=True)
class Outlined:
    """Which polygons a workflow makes."""

    layer: str
    """Their layer, and the name of its file."""
    classes: tuple[str, ...] | None
    """Names of the classes that are outlined; None: all but background."""

    @classmethod
    def of(cls, vectorize: Vectorize | None) -> Self | None:
        """Those of a workflow; None: it makes no polygons."""
        return None if vectorize is None else cls(vectorize.layer, vectorize.classes)

    def file(self, folder: Path) -> Path | None:
        """The layer's file in a scene's folder; None: there is none."""
        paths = (folder / f"{self.layer}{ending}" for ending in FORMATS.values())
        return next((path for path in paths if path.is_file()), None)


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """The objects of a scene with what became of them, excluded ones left out."""

    grid: GeoBox
    """The map's grid, whose CRS they are in."""
    features: tuple[Features, ...]
    """A batch of each class."""


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
    """Compare the polygons beside a map with the objects of its reference.

    The objects of a vector reference are its polygons (each part of a multipolygon is one), those of a raster
    the 4-connected components of its classes. All is compared in the map's pixels. Objects that the edge of
    what is both labeled and mapped cuts are excluded. Memory holds all polygons of the scene.

    Args:
        pair: map and reference.
        tally: what was counted of the pair's pixels.
        classes: of the model that made the map.
        outlined: the polygons to score.

    Returns:
        The tally with its objects, and the errors; as it came, and None, where the scene has no polygons.

    Raises:
        LabelError: the reference cannot be read.
        OutputError: the map or its polygons cannot be read, or do not belong together.
        GridError: the scene has no longitude and latitude, so areas cannot be measured.
        SceneError: the scene, which the reference counts in, cannot be opened.
    """
    path = outlined.file(pair.classes_tif.parent)
    if path is None:
        return tally, None
    chosen = [
        one for one in classes if (one.name in outlined.classes if outlined.classes else not one.background)
    ]
    with MapReader(pair.classes_tif) as reader:
        grid = reader.grid
        labels = label_reader(pair, grid)
        ground = Ground.of(reader, labels)
        mapped = mapped_objects(path, outlined.layer, ground)
        reference = reference_objects(labels, [one.id for one in chosen], scene_slug(pair.scene), ground)
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


def _tally(one: Side, other: Side, found: Matching, grid: GeoBox) -> ObjectTally:
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


def _count(counts: Int64, tally: SceneTally, one: Side, other: Side, found: Matching) -> None:
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


def _features(side: Side, found: Matching, name: str, *, reference: bool = False) -> Features:
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
