"""One scene's assembler: partial results become rasters, polygons, styles and, last of all, the manifest."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoseg.arrays import Array, UInt8
from geoseg.config.slug import scene_slug
from geoseg.engine.bounds import POLYGON_STRIP
from geoseg.engine.finished import (
    CLASSES_NAME,
    ITEM_NAME,
    PREDICTION_FINGERPRINT,
    PROBABILITY_NAME,
    RULES_PROPERTY,
    WARNINGS_PROPERTY,
    FinishedMap,
    ReusedProbabilities,
)
from geoseg.engine.partials import PartialManifest, discard_partials, open_partial
from geoseg.engine.plan import RULES, Plan
from geoseg.engine.vectorize import ProbabilityRaster, find_shapes
from geoseg.errors import OutputError, of_scene
from geoseg.grid.encoding import SCALE, resampled, row_pieces
from geoseg.grid.ground import ground_resolution
from geoseg.grid.orientation import Orientation
from geoseg.grid.resample import Resampler
from geoseg.grid.window import Window, row_windows
from geoseg.io.files import output_error, sweep_temporaries, write_json, write_text
from geoseg.io.qgis.scales import thinning_qml
from geoseg.io.qgis.style import ClassStyle, classes_qml, palette, polygons_qml, probability_qml
from geoseg.io.raster.cog import strip_rows, write_cog
from geoseg.io.raster.maps import BORDER_TAG, TOP_BAND
from geoseg.io.raster.scene import verify_checksums
from geoseg.io.raster.scene_reader import without_data
from geoseg.io.stac.write import scene_item
from geoseg.io.vector.features import LayerStyle, features_of
from geoseg.io.vector.writer import layer_file, layer_files, write_features
from geoseg.polygons.attributes import FIELDS, Calibrated, Provenance
from geoseg.score.pixels.isotonic import Isotonic

__all__ = [
    "AssembleTask",
    "AssembledScene",
    "assemble",
    "calibrated_by_class",
    "class_styles",
    "outlined_classes",
    "provenance_of",
]


@dataclass(frozen=True, slots=True)
class AssembleTask:
    """A scene whose probabilities are there, as partial results or in the raster of an older map."""

    plan: Plan
    partials: tuple[PartialManifest, ...]
    """Manifests of its partial results, top to bottom; empty: those of the map that is there are reused."""


@dataclass(frozen=True, slots=True)
class AssembledScene:
    """What an assembler returns; the rest is in the item that it wrote."""

    polygons: int | None
    """Polygons written; None: none were asked for."""
    warnings: tuple[str, ...]
    """What the user should know of the map."""


def assemble(task: AssembleTask) -> AssembledScene:
    """Write a scene's outputs; ``item.json`` is written last, then all partial results are removed.

    An older map is removed first, except the raster that probabilities are reused from: two configurations
    need not write files of the same names.

    Raises:
        SceneError: a file of the scene is not the one that its catalog describes, or none of its pixels is
            valid: nothing is written.
        OutputError: a partial result is gone, or an output cannot be written or verified.
    """
    with of_scene(task.plan.scene.ref.id):
        return _assemble(task)


def _assemble(task: AssembleTask) -> AssembledScene:
    plan = task.plan
    windows, probabilities = _probabilities(task)
    if not windows[0]:
        raise without_data(plan.scene)
    warnings = _warnings(task)
    reused = isinstance(probabilities, ReusedProbabilities)
    _remove_map(plan.folder, except_for=[plan.folder / PROBABILITY_NAME] if reused else [])
    outputs = [*_rasters(plan, probabilities)]
    polygons = None
    if plan.vectorize is not None:
        polygons, layer = _polygons(plan, probabilities)
        outputs += layer_files(layer)
    item = scene_item(
        scene=plan.scene.ref.id,
        geobox=plan.grid,
        acquired=plan.scene.ref.acquired,
        outputs=outputs,
        folder=plan.folder,
        model=plan.bundle.spec,
        properties={
            "geoseg:fingerprint": plan.fingerprint,
            PREDICTION_FINGERPRINT: plan.prediction_fingerprint if plan.is_reusable else None,
            RULES_PROPERTY: RULES,
            WARNINGS_PROPERTY: list(warnings),
            "geoseg:nodata_rule": plan.scene.nodata.rule,
            "geoseg:nodata": list(plan.scene.nodata.values),
            "geoseg:polygons": polygons,
            "geoseg:mode": None if plan.vectorize is None else plan.vectorize.mode,
            "geoseg:windows": windows[0],
            "geoseg:windows_without_data": windows[1],
        },
    )
    write_json(plan.folder / ITEM_NAME, item)
    discard_partials(plan.folder)
    return AssembledScene(polygons, warnings)


class PartialProbabilities:
    """Encoded probabilities on the model's grid, or on the scene's, read from partial results row by row."""

    def __init__(self, plan: Plan, manifests: Sequence[PartialManifest]) -> None:
        self._plan = plan
        self._folder = plan.partials_folder
        self._manifests = manifests
        self._pieces: list[tuple[int, int, int, bool]] = []
        """First row, row after the last, the task, and whether it shares them with the task above."""
        row = 0
        for index, rows in enumerate(plan.tiles.window_rows):
            first, stop = plan.stitcher.finished_rows(rows)
            for lo, hi, is_overlap in ((row, first, True), (first, stop, False)):
                if hi > lo:
                    self._pieces.append((lo, hi, index, is_overlap))
            row = max(row, stop)
        if len(manifests) != len(plan.tiles.window_rows) or row != plan.grid.height:
            raise OutputError(
                f"{self._folder}: {len(manifests)} partial results cover {row} of {plan.grid.height} "
                "rows; run again to recompute them"
            )

    def _open(self, index: int, array: str) -> Array:
        return open_partial(self._folder, self._manifests[index], array)

    def rows(self, first: int, stop: int) -> UInt8:
        """Encoded rows of the model's grid: uint8 (bands, stop - first, width)."""
        encoding = self._plan.encoding
        out = np.empty((encoding.count, stop - first, self._plan.grid.width), np.uint8)
        for lo, hi, index, is_overlap in self._pieces:
            a, b = max(lo, first), min(hi, stop)
            if a >= b:
                continue
            inside, target = slice(a - lo, b - lo), out[:, a - first : b - first]
            if is_overlap:
                upper = self._open(index - 1, "bottom")[:, inside]
                lower = self._open(index, "top")[:, inside]
                for some in row_pieces(target.shape[1:]):
                    target[:, some] = encoding.encode(upper[:, some] + lower[:, some])
            else:
                target[...] = self._open(index, "probabilities")[:, inside]
        return out

    def strips(self, rows: int) -> Iterator[tuple[Window, UInt8]]:
        """Windows of the model's grid over its full width, from the top, and their values."""
        for window in row_windows(self._plan.grid.shape, rows):
            yield window, self.rows(window.row, window.row_stop)

    def scene_strips(self, rows: int) -> Iterator[tuple[Window, UInt8]]:
        """The same of the scene's own grid as it is stored, resampled."""
        scene = Orientation.of(self._plan.scene.stored)
        resampler = Resampler.between(self._plan.grid, scene.grid)
        for window in row_windows(scene.stored.shape, rows):
            read = scene.window(window)
            source = resampler.source_window(read)
            known = self.rows(source.row, source.row_stop)[:, :, source.col : source.col_stop]
            yield window, scene.pixels(resampled(known, resampler, read))


Probabilities = PartialProbabilities | ReusedProbabilities


def _probabilities(task: AssembleTask) -> tuple[tuple[int, int], Probabilities]:
    """Windows (predicted, without data and so not predicted) and the probabilities made of them."""
    if task.partials:
        verify_checksums(task.plan.scene)
        windows = sum(part.windows for part in task.partials), sum(part.skipped for part in task.partials)
        return windows, PartialProbabilities(task.plan, task.partials)
    found = FinishedMap.read(task.plan.folder)
    if found is None or not found.can_reuse(task.plan):
        raise OutputError(f"{task.plan.folder}: the map that was to be used has changed; run again")
    return found.windows, ReusedProbabilities(task.plan)


def _warnings(task: AssembleTask) -> tuple[str, ...]:
    """Those of the plan, then what a sample of the scene showed, now or when its map was made; each once."""
    found = None if task.partials else FinishedMap.read(task.plan.folder)
    sampled = found.warnings if found else [line for part in task.partials for line in part.warnings]
    return tuple(dict.fromkeys((*task.plan.warnings, *sampled)))


def _remove_map(folder: Path, *, except_for: Collection[Path]) -> None:
    """Remove the map that is to be replaced, its manifest last, and temporary files that a crash left."""
    sweep_temporaries(folder)
    found = FinishedMap.read(folder)
    for path in (*(found.sizes if found else ()), folder / ITEM_NAME):
        try:
            if path not in except_for:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(path, error) from error


def class_styles(plan: Plan) -> list[ClassStyle]:
    """Title and color of each class of the model."""
    return [ClassStyle(c.id, c.title, c.color, c.background) for c in plan.bundle.spec.classes]


def _raster_strips(plan: Plan, probabilities: Probabilities) -> Iterator[tuple[Window, UInt8]]:
    """Probabilities on the grid that the rasters are written on."""
    if isinstance(probabilities, PartialProbabilities) and plan.write.grid == "scene":
        return probabilities.scene_strips(strip_rows(plan.scene.geobox.width))
    return probabilities.strips(strip_rows(plan.grid.width))


def _rasters(plan: Plan, probabilities: Probabilities) -> list[Path]:
    """Write ``classes.tif`` and ``probability.tif`` with their styles."""
    encoding, styles = plan.encoding, class_styles(plan)
    geobox = plan.scene.stored if plan.write.grid == "scene" else plan.grid
    tags = {"GEOSEG_MODEL": plan.bundle.spec.name}
    classes, probability = plan.folder / CLASSES_NAME, plan.folder / PROBABILITY_NAME
    write_cog(
        classes,
        geobox,
        ["class"],
        ((window, encoding.classify(stored)[None]) for window, stored in _raster_strips(plan, probabilities)),
        colormap=palette(styles),
        tags=tags | {"GEOSEG_FINGERPRINT": plan.fingerprint},
    )
    names = encoding.band_names([style.title for style in styles])
    top = plan.write.probability == "top"
    if not isinstance(probabilities, ReusedProbabilities):
        write_cog(
            probability,
            geobox,
            [TOP_BAND] if top else names,
            (
                (window, encoding.confidence(stored, encoding.classify(stored))[None] if top else stored)
                for window, stored in _raster_strips(plan, probabilities)
            ),
            scale=1 / SCALE,
            overviews="average",
            tags=tags
            | {"GEOSEG_PREDICTION_FINGERPRINT": plan.prediction_fingerprint}
            | ({BORDER_TAG: str(encoding.count)} if encoding.border and not top else {}),
        )
    write_text(classes.with_suffix(".qml"), classes_qml(styles))
    write_text(probability.with_suffix(".qml"), probability_qml())
    return [classes, probability, classes.with_suffix(".qml"), probability.with_suffix(".qml")]


def _polygons(plan: Plan, probabilities: Probabilities) -> tuple[int, Path]:
    """Write the layer of polygons; returns their number and its path."""
    assert plan.vectorize is not None
    options, spec, names = plan.vectorize, plan.bundle.spec, outlined_classes(plan)
    path = layer_file(plan.folder, options.layer, options.format)

    def strips() -> Iterator[UInt8]:
        return (stored for _, stored in probabilities.strips(max(1, POLYGON_STRIP // plan.grid.width)))

    shapes = find_shapes(ProbabilityRaster(plan.grid, plan.encoding, strips), list(names), options)
    styles = [style for style in class_styles(plan) if style.id in names]
    titles = ", ".join(style.title for style in styles)
    count = write_features(
        path,
        options.layer,
        features_of(shapes, plan.grid, names, provenance_of(plan), calibrated_by_class(plan)),
        geobox=plan.grid,
        schema=FIELDS,
        style=LayerStyle(thinning_qml(polygons_qml(styles), ground_resolution(plan.grid).mean)),
        description=f"{plan.scene.ref.id}: {titles} by {spec.name} {spec.version}",
    )
    return count, path


def outlined_classes(plan: Plan) -> dict[int, str]:
    """Id and name of each class that becomes polygons."""
    options = plan.vectorize
    assert options is not None
    chosen = (c for c in plan.bundle.spec.classes if options.outlines(c.name, background=c.background))
    return {c.id: c.name for c in chosen}


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
