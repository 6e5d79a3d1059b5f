"""What a map's folder gets: rasters, polygons and their styles, from encoded probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from geoseg.arrays import UInt8
from geoseg.config.slug import scene_slug
from geoseg.engine.bounds import POLYGON_STRIP
from geoseg.engine.finished import CLASSES_NAME, PROBABILITY_NAME, ReusedProbabilities
from geoseg.engine.loops.exercise import compile_loops
from geoseg.engine.plan import Plan
from geoseg.engine.probabilities import PartialProbabilities
from geoseg.engine.sections import FoundObjects, joined_shapes
from geoseg.engine.vectorize import ProbabilityRaster, find_shapes
from geoseg.grid.encoding import SCALE
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import ground_resolution
from geoseg.grid.window import Window
from geoseg.io.files import write_text
from geoseg.io.qgis.scales import thinning_qml
from geoseg.io.qgis.style import ClassStyle, classes_qml, palette, polygons_qml, probability_qml
from geoseg.io.raster.cog import strip_rows, write_cog
from geoseg.io.raster.maps import BORDER_TAG, TOP_BAND
from geoseg.io.vector.features import LayerStyle, features_of
from geoseg.io.vector.writer import layer_file, layer_files, write_features
from geoseg.polygons.attributes import FIELDS, Calibrated, Provenance
from geoseg.score.pixels.isotonic import Isotonic
from geoseg.stages import each, stage

__all__ = [
    "Probabilities",
    "calibrated_by_class",
    "class_styles",
    "provenance_of",
    "write_classes",
    "write_polygons",
    "write_probability",
]

Probabilities = PartialProbabilities | ReusedProbabilities


def class_styles(plan: Plan) -> list[ClassStyle]:
    """Title and color of each class of the model."""
    return [ClassStyle(c.id, c.title, c.color, c.background) for c in plan.bundle.spec.classes]


def _raster_strips(plan: Plan, probabilities: Probabilities) -> Iterator[tuple[Window, UInt8]]:
    """Probabilities on the grid that the rasters are written on."""
    if isinstance(probabilities, PartialProbabilities) and plan.write.grid == "scene":
        return probabilities.scene_strips(strip_rows(plan.scene.geobox.width))
    return probabilities.strips(strip_rows(plan.grid.width))


def _polygon_strips(plan: Plan, probabilities: Probabilities) -> Iterator[UInt8]:
    return (stored for _, stored in probabilities.strips(max(1, POLYGON_STRIP // plan.grid.width)))


def _written_on(plan: Plan) -> GeoBox:
    """The grid of the rasters."""
    return plan.scene.stored if plan.write.grid == "scene" else plan.grid


def write_classes(plan: Plan, probabilities: Probabilities) -> tuple[Path, ...]:
    """Write ``classes.tif`` with its style."""
    encoding, styles, path = plan.encoding, class_styles(plan), plan.folder / CLASSES_NAME
    strips = _raster_strips(plan, probabilities)
    with stage("rasters") as writing:
        write_cog(
            path,
            _written_on(plan),
            ["class"],
            ((window, encoding.classify(stored)[None]) for window, stored in strips),
            colormap=palette(styles),
            tags={"GEOSEG_MODEL": plan.bundle.spec.name, "GEOSEG_FINGERPRINT": plan.fingerprint},
        )
        writing.count(path.stat().st_size)
    write_text(path.with_suffix(".qml"), classes_qml(styles))
    return path, path.with_suffix(".qml")


def write_probability(plan: Plan, probabilities: Probabilities) -> tuple[Path, ...]:
    """Write ``probability.tif`` with its style; only the style where the raster is there and reused."""
    encoding, path = plan.encoding, plan.folder / PROBABILITY_NAME
    top = plan.write.probability == "top"
    if not isinstance(probabilities, ReusedProbabilities):
        names = encoding.band_names([style.title for style in class_styles(plan)])
        tags = {
            "GEOSEG_MODEL": plan.bundle.spec.name,
            "GEOSEG_PREDICTION_FINGERPRINT": plan.prediction_fingerprint,
        }
        strips = _raster_strips(plan, probabilities)
        with stage("rasters") as writing:
            write_cog(
                path,
                _written_on(plan),
                [TOP_BAND] if top else names,
                (
                    (window, encoding.confidence(stored, encoding.classify(stored))[None] if top else stored)
                    for window, stored in strips
                ),
                scale=1 / SCALE,
                overviews="average",
                tags=tags | ({BORDER_TAG: str(encoding.count)} if encoding.border and not top else {}),
            )
            writing.count(path.stat().st_size)
    write_text(path.with_suffix(".qml"), probability_qml())
    return path, path.with_suffix(".qml")


def write_polygons(
    plan: Plan,
    probabilities: Probabilities,
    found: FoundObjects | None = None,
) -> tuple[int, tuple[Path, ...]]:
    """Write the layer of polygons, of the objects that were found if any were; their number and the files."""
    assert plan.vectorize is not None
    options, spec, names = plan.vectorize, plan.bundle.spec, plan.outlined
    path = layer_file(plan.folder, options.layer, options.format)
    compile_loops(options.mode)
    if found is not None:
        assert isinstance(probabilities, PartialProbabilities)
        shapes = joined_shapes(plan, probabilities, found)
    else:
        raster = ProbabilityRaster(plan.grid, plan.encoding, lambda: _polygon_strips(plan, probabilities))
        shapes = find_shapes(raster, list(names), options)
    styles = [style for style in class_styles(plan) if style.id in names]
    titles = ", ".join(style.title for style in styles)
    shapes = each("outlines", shapes)
    features = features_of(shapes, plan.grid, names, provenance_of(plan), calibrated_by_class(plan))
    with stage("layer") as writing:
        count = write_features(
            path,
            options.layer,
            each("attributes", features),
            geobox=plan.grid,
            schema=FIELDS,
            style=LayerStyle(thinning_qml(polygons_qml(styles), ground_resolution(plan.grid).mean)),
            description=f"{plan.scene.ref.id}: {titles} by {spec.name} {spec.version}",
        )
        writing.count(path.stat().st_size)
    return count, tuple(layer_files(path))


def provenance_of(plan: Plan) -> Provenance:
    """Where the plan's polygons come from."""
    spec = plan.bundle.spec
    return Provenance(
        scene=plan.scene.ref.id,
        slug=scene_slug(plan.scene.ref.id),
        model=f"{spec.name} {spec.version}",
        model_sha256=spec.sha256,
        run_id=plan.fingerprint[:16],
        acquired=plan.scene.ref.acquired,
    )


def calibrated_by_class(plan: Plan) -> Mapping[int, Calibrated]:
    """The model's calibration by class id, where the polygons are of the kind that it was fitted to."""
    found = plan.calibration
    if found is None:
        return {}
    predicted, observed = np.array(found.knots).T
    return {
        c.id: Isotonic(predicted, observed).apply
        for c in plan.bundle.spec.classes
        if c.name == found.class_name
    }
