"""Map labeled scenes with several models, score each, and compare.

Before anything is mapped, every model is loaded and planned (:func:`_candidates`), and the scenes are known
that all of them can map and that have labels (:func:`_labeled_scenes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.config.model.contract import ClassSpec
from geoseg.config.slug import scene_slug
from geoseg.config.stac.refs import LabelRef, SceneRef
from geoseg.config.workflow import Scenes, Workflow, category_ids
from geoseg.engine.plan import Plan
from geoseg.errors import ConfigError, GeosegError, LabelError, of_scene
from geoseg.flow.compare.throughput import Speed, Stopwatch, speed_of
from geoseg.flow.evaluate.evaluate import Evaluated, check_reference, evaluate_run, none_scored, pairs_of
from geoseg.flow.evaluate.scene import Pair, label_reader, strips
from geoseg.flow.evaluate.worst import WORST_NAME, check_drawable, draw_worst
from geoseg.flow.run.events import Event, RunSummary, Watch
from geoseg.flow.run.prepare import Prepared, prepare
from geoseg.flow.run.run import resolve_executor, run
from geoseg.grid.encoding import IGNORE
from geoseg.grid.geobox import GeoBox
from geoseg.io.files import write_json, write_text
from geoseg.io.raster.scene import Reading
from geoseg.io.yaml.files import load_workflow
from geoseg.models.bundle import Bundle, load_bundle
from geoseg.models.cost.operations import count
from geoseg.score.bootstrap import Bootstrap
from geoseg.score.pixels.boundary import DEFAULT_WIDTH, BoundaryWidth
from geoseg.score.pixels.confusion import mean_iou
from geoseg.score.report.report import aligned, compare
from geoseg.score.report.tables import comparison_markdown
from geoseg.score.report.values import Comparison, Cost, ModelScore, ScoredScene, Unscored
from geoseg.words import counted

__all__ = ["evaluate_models"]

FOLDER_NAME = "evaluate"
"""Folder of the models' maps in the workflow's output."""
_COUNTED_SIDE = 1024
"""Side of the image that operations are counted on, in pixels."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison found, and the folder with it and the models' maps."""

    comparison: Comparison
    folder: Path
    exit_code: int
    """0; 2: scenes were refused; 1: scenes failed."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One model and its run."""

    name: str
    """Of its bundle's folder, with the start of its identity where several have the same."""
    bundle: Bundle
    prepared: Prepared
    overrides: Mapping[str, Any]
    where: str = ""
    """What it runs on, such as ``2 processes``."""

    @property
    def plans(self) -> dict[str, Plan]:
        return {plan.scene.ref.id: plan for plan in self.prepared.plans}

    @property
    def machine(self) -> str:
        runtime = self.prepared.runtime
        return (
            f"this machine's {runtime.device} ({runtime.processor}, {runtime.precision}, "
            f"{self.where}, {counted(runtime.threads, 'thread')} a worker, "
            f"{runtime.library})"
        )


def evaluate_models(
    path: Path,
    models: Sequence[str],
    overrides: Mapping[str, Any] | None = None,
    *,
    asset: str | None = None,
    reference: LabelRef | None = None,
    width: BoundaryWidth = DEFAULT_WIDTH,
    worst: int = 0,
    how: Bootstrap | None = None,
    watch: Callable[[str], Watch] | None = None,
) -> Compared:
    """Map a workflow's labeled scenes with each model as ``run`` does, score and compare.

    The maps of a model go to ``<output>/evaluate/<model>``, with ``score.json`` and ``worst.png`` of each;
    finished scenes are not mapped again, those of another configuration are. Models of other ground
    resolutions are all scored on the scene's own pixels, else on the workflow's. ``comparison.json`` and
    ``comparison.md`` are written last.

    Args:
        path: workflow file; its own model does not matter.
        models: names of shipped bundles, or paths of bundles; the others are compared with the first.
        asset: as for :func:`~geoseg.flow.evaluate.evaluate.evaluate_workflow`, and so ``reference``.
        worst: windows of each model to draw; 0: none.
        watch: gives the watcher of a model's run, by the model's name.

    Raises:
        ConfigError, CatalogError, BundleError, GridError: nothing can be run; a model is named twice, or has
            other classes than the first.
        LabelError: the labels have classes that the models have not, or no scene has labels.
        OutputError, RunError: as :func:`~geoseg.flow.run.run.run`, or matplotlib is not installed.
    """
    check_reference(reference)
    if worst:
        check_drawable()
    loaded = load_workflow(path, overrides or {})
    workflow, folder = loaded.workflow, loaded.output / FOLDER_NAME
    if asset is None and workflow.evaluate is not None:
        asset = workflow.evaluate.asset
    everyone = _candidates(path, models, _settings(workflow, overrides or {}), folder)
    categories = category_ids(workflow.evaluate, [one.name for one in everyone[0].bundle.spec.classes])
    scenes, unscored = _labeled_scenes(everyone, asset, reference)
    candidates = _alike([_narrowed(path, one, [ref.id for ref in scenes], everyone) for one in everyone])
    mapped = [_mapped(path, one, watch) for one in candidates]
    summaries = [summary for summary, _ in mapped]
    scenes, lost = _finished(scenes, candidates, summaries)
    how = how or Bootstrap()
    against: dict[str, Any] = {"asset": asset, "reference": reference, "how": how, "width": width}
    against["categories"] = categories
    comparison = _comparison(
        candidates,
        [_score(one, scenes, workflow.scenes, worst, against) for one in candidates],
        [speed for _, speed in mapped],
        unscored=[*unscored, *lost],
        width=width,
        how=how,
    )
    write_json(folder / "comparison.json", comparison.to_dict())
    write_text(folder / "comparison.md", comparison_markdown(comparison))
    failed = any(one.count("failed") for one in summaries)
    refused = any(one.count("refused") for one in summaries)
    return Compared(comparison, folder, 1 if failed else 2 if refused else 0)


def _settings(workflow: Workflow, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides of all models' runs: no polygons, unless their threshold decides the classes."""
    settings = {**overrides, "evaluate": None, "write.probability": "classes"}
    if workflow.vectorize is None or workflow.vectorize.threshold == 0.5:  # noqa: PLR2004 - what holds without
        settings["vectorize"] = None
    return settings


def _score(
    one: _Candidate, scenes: Sequence[SceneRef], settings: Scenes, worst: int, against: dict[str, Any]
) -> Evaluated:
    """Score a model's maps, and draw their worst windows."""
    folder, spec = one.prepared.loaded.output, one.bundle.spec
    found = evaluate_run(folder, scenes, spec.classes, reading=Reading.of(settings, spec.bands), **against)
    if worst:
        draw_worst(folder / WORST_NAME, found.scored, scenes, spec, settings=settings, count=worst)
    return found


def _candidates(
    path: Path, models: Sequence[str], settings: Mapping[str, Any], folder: Path
) -> list[_Candidate]:
    """Each model with its plans, in a folder each: a mistake of one is reported before anything is mapped."""
    bundles = [load_bundle(model) for model in models]
    for place, bundle in enumerate(bundles):
        if bundle.spec.identity in {other.spec.identity for other in bundles[:place]}:
            raise ConfigError(f"--model {models[place]}: is the same model as another one; name each once")
    names = _names_of([(bundle.folder.name, bundle.spec.identity) for bundle in bundles])
    first = bundles[0].spec
    for name, bundle in zip(names, bundles, strict=True):
        theirs = [one.name for one in bundle.spec.classes]
        if theirs != [one.name for one in first.classes]:
            raise ConfigError(
                f"--model {name}: maps {', '.join(theirs)} but {names[0]} maps "
                f"{', '.join(one.name for one in first.classes)}; only models of the same classes compare"
            )
    found = []
    for name, bundle in zip(names, bundles, strict=True):
        own = {**settings, "model": str(bundle.folder), "output": str(folder / scene_slug(name))}
        found.append(_Candidate(name, bundle, prepare(path, own, load=True), own))
    return found


def _labeled_scenes(
    candidates: Sequence[_Candidate], asset: str | None, reference: LabelRef | None
) -> tuple[list[SceneRef], list[Unscored]]:
    """The scenes that every model can map and that have labels; and why the others are left out."""
    first = candidates[0]
    unscored = {
        refusal.scene: f"{one.name}: {refusal.reason}" if len(candidates) > 1 else refusal.reason
        for one in candidates
        for refusal in one.prepared.refused
    }
    refs = [plan.scene.ref for plan in first.prepared.plans if plan.scene.ref.id not in unscored]
    spec, workflow = first.bundle.spec, first.prepared.loaded.workflow
    reading = Reading.of(workflow.scenes, spec.bands)
    pairs, without = pairs_of(
        first.prepared.loaded.output, refs, reading=reading, asset=asset, reference=reference
    )
    unscored |= {one.scene: one.reason for one in without}
    plans = first.plans
    labeled = set()
    for pair in pairs:
        try:
            with of_scene(pair.scene):
                beyond = _beyond(pair, plans[pair.scene].grid, spec.classes)
        except GeosegError as error:
            unscored[pair.scene] = str(error)
            continue
        if beyond is not None:
            raise LabelError(
                f"labels {pair.label.href} hold class {beyond}, but the model "
                f"{first.name} has {len(spec.classes)} classes, 0 to {len(spec.classes) - 1} "
                f"({', '.join(one.name for one in spec.classes)}); name other labels or another model",
                scene=pair.scene,
            )
        labeled.add(pair.scene)
    left = [Unscored(scene=scene, reason=reason) for scene, reason in unscored.items()]
    if not labeled:
        raise none_scored(left)
    return [ref for ref in refs if ref.id in labeled], left


def _beyond(pair: Pair, grid: GeoBox, classes: Sequence[ClassSpec]) -> int | None:
    """The first class id of the labels that the model has not; None: it has all."""
    labels = label_reader(pair, grid)
    labeled = False
    for window in strips(grid):
        ids = labels.read(window)
        strange = (ids != IGNORE) & (ids >= len(classes))
        if strange.any():
            return int(np.unique(ids[strange])[0])
        labeled = labeled or bool((ids != IGNORE).any())
    if not labeled:
        raise LabelError(f"labels {pair.label.href}: label no pixel of the scene; check the labeled area")
    return None


def _narrowed(
    path: Path, one: _Candidate, scenes: Sequence[str], everyone: Sequence[_Candidate]
) -> _Candidate:
    """A model's run of some scenes alone, all models on the same pixels."""
    own = {**one.overrides, "scenes.ids": list(scenes)}
    grids = [[other.plans[scene].grid for scene in scenes] for other in everyone]
    if any(grid != grids[0] for grid in grids):
        own["write.grid"] = "scene"
    return _Candidate(one.name, one.bundle, prepare(path, own, load=True), own)


def _alike(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """The same runs, all with the executor and as many workers as the one that would have the fewest.

    A worker that shares the machine with others is slower: of different numbers, speeds would not compare.
    """
    compute = candidates[0].prepared.loaded.workflow.compute
    if compute.scheduler is not None:
        return [replace(one, where=f"workers of {compute.scheduler}") for one in candidates]
    found = [
        resolve_executor(compute, plans, sum(len(plan.tasks) for plan in plans))
        for plans in (one.prepared.plans for one in candidates)
    ]
    kind, workers = min(found, key=lambda one: one[1])
    same = {"compute.executor": kind, "compute.workers": 1 if kind == "serial" else workers}
    where = "one process" if kind == "serial" else f"{workers} {kind}"
    return [replace(one, overrides={**one.overrides, **same}, where=where) for one in candidates]


def _names_of(models: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Names that tell models apart: a name that several have gets the start of each one's identity.

    >>> _names_of([("a", "11112222ff"), ("b", "0"), ("a", "33334444ff")])
    ('a-11112222', 'b', 'a-33334444')
    """
    names = [name for name, _ in models]
    return tuple(name if names.count(name) == 1 else f"{name}-{identity[:8]}" for name, identity in models)


def _mapped(
    path: Path, one: _Candidate, watch: Callable[[str], Watch] | None
) -> tuple[RunSummary, Speed | None]:
    follow = watch(one.name) if watch is not None else lambda _: None
    clock = Stopwatch()

    def both(event: Event) -> None:
        clock.watch(event)
        follow(event)

    summary = run(path, one.overrides, overwrite=True, watch=both)
    ended = {outcome.scene for outcome in summary.scenes if outcome.status in ("done", "skipped")}
    plans = [plan for plan in one.prepared.plans if plan.scene.ref.id in ended]
    return summary, speed_of(summary.output, plans, clock, one.machine)


def _finished(
    scenes: Sequence[SceneRef], candidates: Sequence[_Candidate], summaries: Sequence[RunSummary]
) -> tuple[list[SceneRef], list[Unscored]]:
    """The scenes that every model has mapped."""
    lost = {
        outcome.scene: f"{one.name}: {outcome.reason}"
        for one, summary in zip(candidates, summaries, strict=True)
        for outcome in summary.scenes
        if outcome.status in ("refused", "failed")
    }
    if len(lost) == len(scenes):
        raise LabelError(f"no scene was mapped by every model: {next(iter(lost.values()))}")
    unscored = [Unscored(scene=scene, reason=reason) for scene, reason in lost.items()]
    return [ref for ref in scenes if ref.id not in lost], unscored


def _comparison(
    candidates: Sequence[_Candidate],
    evaluated: Sequence[Evaluated],
    speeds: Sequence[Speed | None],
    *,
    unscored: Sequence[Unscored],
    width: BoundaryWidth,
    how: Bootstrap,
) -> Comparison:
    reports = [one.report for one in evaluated]
    side, sums = aligned([one.tallies for one in evaluated])
    first = candidates[0].prepared
    on_scene = first.loaded.workflow.write.grid == "scene"
    models = []
    for one, found, speed, (scores, away) in zip(
        candidates, evaluated, speeds, compare(sums, how), strict=True
    ):
        spec = one.bundle.spec
        models.append(
            ModelScore(
                model=one.name,
                version=spec.version,
                sha256=spec.sha256,
                scores=scores,
                difference=away,
                cost=_cost(one.bundle, speed),
                per_scene=tuple(mean_iou([tally.confusion]) for tally in found.tallies),
            )
        )
    left = {one.scene: one for report in reports for one in report.unscored}
    return Comparison(
        classes=tuple(one.name for one in candidates[0].bundle.spec.classes),
        models=tuple(models),
        scenes=tuple(
            ScoredScene(scene=row.scene, labeled_pixels=row.labeled_pixels - row.excluded_pixels)
            for row in reports[0].scenes
        ),
        unscored=(*unscored, *left.values()),
        grid="the scenes' own pixels" if on_scene else "the pixels of the models' grid",
        boundary_width=str(width),
        machine=candidates[0].machine,
        cells=int(np.logical_or.reduce([one.scored for one in sums]).sum()),
        cell_pixels=side,
        draws=how.draws,
        seed=how.seed,
        level=how.level,
    )


def _cost(bundle: Bundle, speed: Speed | None) -> Cost:
    spec = bundle.spec
    assert spec.weights is not None, "a loaded bundle was saved"
    arguments: dict[str, Any] = dict(spec.arguments)
    work = count(spec.architecture, _COUNTED_SIDE, _COUNTED_SIDE, **arguments).multiply_adds
    return Cost(
        parameters=spec.weights.parameters,
        gflops_per_mpx=work / 1e9 / (_COUNTED_SIDE**2 / 1e6),
        weights_bytes=spec.weights.size,
        network_mpx_per_second=None if speed is None else speed.network_mpx,
        map_mpx_per_second=None if speed is None else speed.map_mpx,
    )
