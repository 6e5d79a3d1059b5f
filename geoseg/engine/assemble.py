"""One scene's assembler: parts become rasters, polygons, styles and, last of all, the receipt."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoseg.arrays import UInt8
from geoseg.config.slug import scene_slug
from geoseg.engine.bounds import POLYGON_STRIP
from geoseg.engine.finished import ITEM_NAME, PIXELS, PROBABILITY_NAME, FinishedMap, ReusedProbabilities
from geoseg.engine.partials import PartialManifest, discard_partials
from geoseg.engine.plan import Plan
from geoseg.engine.probabilities import PartialProbabilities
from geoseg.engine.vectorize import Store, find_shapes
from geoseg.errors import OutputError
from geoseg.grid.encoding import SCALE
from geoseg.grid.ground import ground_resolution
from geoseg.grid.window import Window
from geoseg.io.files import output_error, sweep_temporaries, write_json, write_text
from geoseg.io.qgis.scales import thinning_qml
from geoseg.io.qgis.style import ClassStyle, classes_qml, palette, polygons_qml, probability_qml
from geoseg.io.raster.cog import strip_rows, write_cog
from geoseg.io.raster.maps import BORDER_TAG, TOP_BAND
from geoseg.io.raster.scene import verify_checksums
from geoseg.io.stac.write import scene_item
from geoseg.io.vector.from_shapes import features_of
from geoseg.io.vector.writer import FORMATS, LayerStyle, layer_files, write_features
from geoseg.polygons.attributes import FIELDS, Calibrated, Provenance
from geoseg.score.pixels.isotonic import Isotonic

__all__ = ["AssembleTask", "AssembledScene", "assemble"]


@dataclass(frozen=True, slots=True)
class AssembleTask:
    """A scene whose store is there, in parts or in the raster of an older map."""

    plan: Plan
    """The scene's plan."""
    parts: tuple[PartialManifest, ...]
    """Receipts of its parts, top to bottom; none: the store is that of the map that is there."""


@dataclass(frozen=True, slots=True)
class AssembledScene:
    """What an assembler returns; the rest is in the item that it wrote."""

    polygons: int | None
    """Polygons written; None: none were asked for."""


def _clear(folder: Path, kept: Collection[Path]) -> None:
    """Remove the map that is to be made again, its receipt last, and what a crash left of others."""
    sweep_temporaries(folder)
    found = FinishedMap.read(folder)
    for path in (*(found.sizes if found else ()), folder / ITEM_NAME):
        try:
            if path not in kept:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(path, error) from error


def assemble(task: AssembleTask) -> AssembledScene:
    """Make a scene's outputs of its store; ``item.json`` is written last, then all parts are removed.

    A map of another recipe goes first, whole but for the raster that the store is read from: two recipes need
    not write files of the same names.

    Raises:
        SceneError: a file of the scene is not the one that its catalog describes.
        OutputError: a part is gone, or an output cannot be written or verified.
    """
    plan = task.plan
    windows, store = _store(task)
    _clear(plan.folder, [plan.folder / PROBABILITY_NAME] if isinstance(store, ReusedProbabilities) else [])
    outputs = [*_rasters(plan, store)]
    polygons = None
    if plan.vectorize is not None:
        polygons, layer = _polygons(plan, store)
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
            PIXELS: plan.pixels if plan.keeps_store else None,
            "geoseg:polygons": polygons,
            "geoseg:mode": None if plan.vectorize is None else plan.vectorize.mode,
            "geoseg:windows": windows[0],
            "geoseg:windows_without_data": windows[1],
        },
    )
    write_json(plan.folder / ITEM_NAME, item)
    discard_partials(plan.folder)
    return AssembledScene(polygons)


def _store(task: AssembleTask) -> tuple[tuple[int, int], PartialProbabilities | ReusedProbabilities]:
    """Windows (all, without data) and the store that they became."""
    if task.parts:
        verify_checksums(task.plan.scene)
        windows = sum(part.windows for part in task.parts), sum(part.skipped for part in task.parts)
        return windows, PartialProbabilities(task.plan, task.parts)
    found = FinishedMap.read(task.plan.folder)
    if found is None or not found.keeps(task.plan):
        raise OutputError(f"{task.plan.folder}: the map that was to be used has changed; run again")
    return found.windows, ReusedProbabilities(task.plan)


def _styles(plan: Plan) -> list[ClassStyle]:
    return [ClassStyle(c.id, c.title, c.color, c.background) for c in plan.bundle.spec.classes]


def _strips(plan: Plan, store: PartialProbabilities | ReusedProbabilities) -> Iterator[tuple[Window, UInt8]]:
    """The store on the grid that the rasters are written on."""
    if isinstance(store, PartialProbabilities) and plan.write.grid == "scene":
        return store.scene_strips(strip_rows(plan.scene.geobox.width))
    return store.strips(strip_rows(plan.grid.width))


def _rasters(plan: Plan, store: PartialProbabilities | ReusedProbabilities) -> list[Path]:
    """Write ``classes.tif`` and ``probability.tif`` with their styles."""
    layout, styles = plan.layout, _styles(plan)
    geobox = plan.scene.geobox if plan.write.grid == "scene" else plan.grid
    tags = {"GEOSEG_MODEL": plan.bundle.spec.name}
    classes, probability = plan.folder / "classes.tif", plan.folder / PROBABILITY_NAME
    write_cog(
        classes,
        geobox,
        ["class"],
        ((window, layout.decide(stored)[None]) for window, stored in _strips(plan, store)),
        colormap=palette(styles),
        tags=tags | {"GEOSEG_FINGERPRINT": plan.fingerprint},
    )
    names = layout.band_names([style.title for style in styles])
    top = plan.write.probability == "top"
    if not isinstance(store, ReusedProbabilities):
        write_cog(
            probability,
            geobox,
            [TOP_BAND] if top else names,
            (
                (window, layout.confidence(stored, layout.decide(stored))[None] if top else stored)
                for window, stored in _strips(plan, store)
            ),
            scale=1 / SCALE,
            overviews="average",
            tags=tags
            | {"GEOSEG_PIXELS": plan.pixels}
            | ({BORDER_TAG: str(layout.planes)} if layout.border and not top else {}),
        )
    write_text(classes.with_suffix(".qml"), classes_qml(styles))
    write_text(probability.with_suffix(".qml"), probability_qml())
    return [classes, probability, classes.with_suffix(".qml"), probability.with_suffix(".qml")]


def _polygons(plan: Plan, store: PartialProbabilities | ReusedProbabilities) -> tuple[int, Path]:
    """Write the layer of polygons; returns their number and its path."""
    assert plan.vectorize is not None
    options, spec = plan.vectorize, plan.bundle.spec
    everything = options.mode == "coverage"
    chosen = [
        c
        for c in spec.classes
        if (c.name in options.classes if options.classes else everything or not c.background)
    ]
    path = plan.folder / f"{options.layer}{FORMATS[options.format]}"

    def strips() -> Iterator[UInt8]:
        return (stored for _, stored in store.strips(max(1, POLYGON_STRIP // plan.grid.width)))

    shapes = find_shapes(Store(plan.grid, plan.layout, strips), [c.id for c in chosen], options)
    provenance = Provenance(
        scene=plan.scene.ref.id,
        slug=scene_slug(plan.scene.ref.id),
        model=f"{spec.name} {spec.version}",
        model_sha256=spec.sha256,
        run_id=plan.fingerprint[:16],
        acquired=plan.scene.ref.acquired,
    )
    styles = [style for style in _styles(plan) if style.id in {c.id for c in chosen}]
    titles = ", ".join(c.title for c in chosen)
    count = write_features(
        path,
        options.layer,
        features_of(shapes, plan.grid, {c.id: c.name for c in chosen}, provenance, _calibrated(plan)),
        geobox=plan.grid,
        schema=FIELDS,
        style=LayerStyle(thinning_qml(polygons_qml(styles), ground_resolution(plan.grid).mean)),
        description=f"{plan.scene.ref.id}: {titles} by {spec.name} {spec.version}",
    )
    return count, path


def _calibrated(plan: Plan) -> Mapping[int, Calibrated]:
    """The model's calibration by class id, where the polygons are such as it was fitted to."""
    found = plan.calibration
    if found is None:
        return {}
    said, right = np.array(found.knots).T
    return {c.id: Isotonic(said, right).apply for c in plan.bundle.spec.classes if c.name == found.class_name}
