"""Score the maps of a run against reference labels.

:func:`evaluate_workflow` loads what was run; :func:`evaluate_run` pairs each map with its reference
(:func:`pairs_of`), counts each pair's pixels and objects, makes the report (:func:`evaluate_pairs`) and
writes it; at the end the worst windows are drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.config.slug import scene_slug
from geoseg.config.stac.refs import LabelRef, SceneRef
from geoseg.config.workflow import Workflow, category_ids
from geoseg.engine.finished import CLASSES_NAME
from geoseg.errors import GeosegError, LabelError, of_scene
from geoseg.flow.evaluate.objects import Outlined, score_objects, write_errors
from geoseg.flow.evaluate.scene import Pair, evaluate_scene
from geoseg.flow.evaluate.worst import WORST_NAME, check_drawable, draw_worst
from geoseg.grid.geobox import GeoBox
from geoseg.io.files import write_json
from geoseg.io.labels.reader import label_kind
from geoseg.io.raster.scene import AS_DECLARED, Reading
from geoseg.io.stac.folder import open_catalog
from geoseg.io.stac.read import UnusableItem
from geoseg.io.yaml.files import load_workflow
from geoseg.models.bundle import load_bundle
from geoseg.score.bootstrap import Bootstrap
from geoseg.score.pixels.boundary import DEFAULT_WIDTH, BoundaryWidth
from geoseg.score.report.report import score_report
from geoseg.score.report.values import ScoreReport, Unscored
from geoseg.score.tally import SceneTally
from geoseg.words import did_you_mean, listed

if TYPE_CHECKING:
    from geoseg.config.model.contract import ClassSpec

__all__ = [
    "SCORE_NAME",
    "Evaluated",
    "check_reference",
    "evaluate_pairs",
    "evaluate_run",
    "evaluate_workflow",
    "label_of",
    "none_scored",
    "pairs_of",
]

SCORE_NAME = "score.json"
"""The report in a run's folder."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Scored maps, with map and reference of each scored scene and what was counted of it."""

    report: ScoreReport
    tallies: tuple[SceneTally, ...]
    pairs: tuple[Pair, ...]

    @property
    def scored(self) -> list[tuple[Pair, SceneTally]]:
        """Each scored scene's map and reference, with what was counted."""
        return list(zip(self.pairs, self.tallies, strict=True))


def evaluate_workflow(
    source: str | Path | Workflow,
    overrides: Mapping[str, Any] | None = None,
    *,
    asset: str | None = None,
    reference: LabelRef | None = None,
    width: BoundaryWidth = DEFAULT_WIDTH,
    worst: int = 0,
) -> ScoreReport:
    """Score the maps of a workflow that has been run; draw where they are worst.

    Args:
        overrides: those that the run was given, by dotted key.
        asset: key of the label asset; default: the workflow's ``evaluate.asset``.
        reference: one reference for all scenes, in place of the catalog's.
        worst: windows to draw in ``worst.png`` beside ``score.json``; 0: none.

    Raises:
        ConfigError, CatalogError, BundleError: the workflow, its catalog or its model cannot be read, or its
            polygons have the name of the errors.
        LabelError: no scene could be scored.
        SceneError: a scene cannot be read any more, to be drawn.
        OutputError: the report or the picture cannot be written.
        RunError: a picture is asked for, and matplotlib is not installed.
    """
    check_reference(reference)
    if worst:
        check_drawable()
    loaded = load_workflow(source, overrides)
    workflow = loaded.workflow
    catalog = open_catalog(loaded.catalog, workflow.scenes.trust, workflow.scenes.ids)
    if asset is None and workflow.evaluate is not None:
        asset = workflow.evaluate.asset
    spec = load_bundle(loaded.model).spec
    categories = category_ids(workflow.evaluate, [one.name for one in spec.classes])
    evaluated = evaluate_run(
        loaded.output,
        catalog.scenes,
        spec.classes,
        reading=Reading.of(workflow.scenes, spec.bands),
        asset=asset,
        reference=reference,
        width=width,
        outlined=Outlined.of(workflow.vectorize),
        unusable=catalog.refusals,
        categories=categories,
    )
    picture = loaded.output / WORST_NAME
    try:
        if worst:
            draw_worst(picture, evaluated.scored, catalog.scenes, spec, settings=workflow.scenes, count=worst)
    except GeosegError as error:
        raise type(error)(
            f"{error}; {SCORE_NAME} is written, {WORST_NAME} is not (--worst 0 leaves it out)"
        ) from error
    return evaluated.report


def evaluate_run(
    run: Path,
    scenes: Sequence[SceneRef],
    classes: Sequence[ClassSpec],
    *,
    reading: Reading = AS_DECLARED,
    asset: str | None = None,
    reference: LabelRef | None = None,
    how: Bootstrap | None = None,
    width: BoundaryWidth = DEFAULT_WIDTH,
    outlined: Outlined | None = None,
    unusable: Sequence[UnusableItem] = (),
    categories: Mapping[str, Sequence[int]] | None = None,
) -> Evaluated:
    """Score a run's folder, ``<run>/<scene>/classes.tif``, and write ``<run>/score.json``.

    Args:
        scenes: the catalog's scenes; those without a map in the folder are named in the report.
        reading: how the maps' scenes were read: their bands decide what a scene's own pixels are.
        asset: key of the label asset of each scene, where several.
        reference: one for all scenes, in place of the catalog's.
        unusable: items of the catalog that are no scenes, to be named in the report.
        categories: ids of the classes of each category, see :func:`~geoseg.config.workflow.category_ids`.

    Raises:
        LabelError: no scene could be scored; a key that no scene has; several assets and none named.
        OutputError: the report or the errors cannot be written.
    """
    pairs, without = pairs_of(run, scenes, reading=reading, asset=asset, reference=reference)
    without += [Unscored(scene=item.id, reason=item.reason) for item in unusable]
    evaluated = evaluate_pairs(
        pairs, classes, without=without, how=how, width=width, outlined=outlined, categories=categories
    )
    write_json(run / SCORE_NAME, evaluated.report.to_dict())
    return evaluated


def evaluate_pairs(
    pairs: Iterable[Pair],
    classes: Sequence[ClassSpec],
    *,
    without: Sequence[Unscored] = (),
    how: Bootstrap | None = None,
    width: BoundaryWidth = DEFAULT_WIDTH,
    outlined: Outlined | None = None,
    categories: Mapping[str, Sequence[int]] | None = None,
) -> Evaluated:
    """Score several scenes as one; a scene that cannot be scored is named in the report and leaves the rest.

    Args:
        without: scenes known to have no reference, for the report.
        width: of the boundary.
        outlined: polygons beside the maps, whose objects are scored too; a scene that has them gets an
            ``errors.gpkg`` beside its map, and one that has not loses an older one.

    Raises:
        LabelError: no scene could be scored; says why the first one could not.
        OutputError: the errors cannot be written.
    """
    scored: list[Pair] = []
    tallies: list[SceneTally] = []
    unscored: list[Unscored] = []
    for pair in pairs:
        errors = None
        try:
            with of_scene(pair.scene):
                tally = evaluate_scene(pair, classes, width)
                if outlined is not None:
                    tally, errors = score_objects(pair, tally, classes, outlined)
        except GeosegError as error:
            unscored.append(Unscored(scene=pair.scene, reason=str(error)))
            continue
        tallies.append(tally)
        scored.append(pair)
        write_errors(errors, pair.classes_tif.parent)
    unscored += without
    if not tallies and unscored:
        raise none_scored(unscored)
    names = [spec.name for spec in classes]
    report = score_report(
        tallies, names, how, unscored=unscored, boundary_width=str(width), categories=categories
    )
    return Evaluated(report, tuple(tallies), tuple(scored))


def none_scored(unscored: Sequence[Unscored]) -> LabelError:
    """The error where no scene could be scored: why the first one could not, and how many more there are."""
    if not unscored:
        return LabelError("the catalog has no scene to score")
    others = f" ({len(unscored) - 1} more cannot be scored)" if len(unscored) > 1 else ""
    return LabelError(f"{unscored[0].reason}{others}")


def pairs_of(
    run: Path,
    scenes: Sequence[SceneRef],
    *,
    reading: Reading = AS_DECLARED,
    asset: str | None = None,
    reference: LabelRef | None = None,
) -> tuple[list[Pair], list[Unscored]]:
    """Where the maps of a run are or will be, with their references, and the scenes that have no reference.

    Arguments are those of :func:`evaluate_run`.

    Raises:
        LabelError: a scene has several label assets and none is named.
    """
    pairs: list[Pair] = []
    without: list[Unscored] = []
    for ref in scenes:
        path = run / scene_slug(ref.id) / CLASSES_NAME
        with of_scene(ref.id):
            label = reference or label_of(ref, asset)
        if label is None:
            without.append(
                Unscored(scene=ref.id, reason=str(LabelError(_no_label(scenes, asset), scene=ref.id)))
            )
        else:
            pairs.append(Pair(ref.id, path, label, partial(_own_pixels, ref, reading)))
    return pairs, without


def _own_pixels(ref: SceneRef, reading: Reading) -> GeoBox:
    return reading.describe(ref).stored


def label_of(ref: SceneRef, asset: str | None) -> LabelRef | None:
    """The scene's reference that is named, or its only one; a LabelError where it has several."""
    if asset is not None:
        return dict(ref.labels).get(asset)
    if len(ref.labels) > 1:
        keys = ", ".join(key for key, _ in ref.labels)
        raise LabelError(
            f"has the label assets {keys}; name the one to score against in evaluate.asset, or with --asset"
        )
    return ref.labels[0][1] if ref.labels else None


def _no_label(scenes: Iterable[SceneRef], asset: str | None) -> str:
    if asset is None:
        return "the catalog has no labels of it; give a reference file"
    known = sorted({key for scene in scenes for key, _ in scene.labels})
    hint = did_you_mean(asset, known) or f"; it has {listed(known) or 'none'}"
    return f"has no label asset {asset!r} in the catalog{hint}"


def check_reference(label: LabelRef | None) -> None:
    """Refuse polygons with values, and a raster with layers or attributes, which would be ignored."""
    if label is None:
        return
    kind = label_kind(Path(label.href))
    if kind == "raster" and (label.attribute or label.layer):
        raise LabelError(f"labels {label.href}: are a raster, without layers and attributes; name its values")
    if kind == "vector" and label.classes:
        raise LabelError(f"labels {label.href}: are polygons, not a raster of values; name an attribute")
