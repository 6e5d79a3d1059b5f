"""Map labeled scenes with several models, score each, and compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.config.stac.refs import LabelRef, SceneRef
from geoseg.errors import LabelError
from geoseg.flow.compare.candidates import Candidate, candidates_of, labeled_scenes, narrowed
from geoseg.flow.compare.throughput import Speed, Stopwatch, speed_of
from geoseg.flow.evaluate.evaluate import Evaluated, check_reference, evaluate_run
from geoseg.flow.evaluate.worst import WORST_NAME, draw_worst
from geoseg.flow.run.events import Event, Watch
from geoseg.flow.run.run import RunSummary, run
from geoseg.io.files import write_json, write_text
from geoseg.io.yaml.workflow_file import load_workflow
from geoseg.models.bundle import Bundle
from geoseg.models.cost.operations import count
from geoseg.score.bootstrap import Bootstrap
from geoseg.score.pixels.boundary import DEFAULT_WIDTH, BoundaryWidth
from geoseg.score.pixels.confusion import mean_iou
from geoseg.score.report.report import aligned, compare
from geoseg.score.report.tables import comparison_markdown
from geoseg.score.report.values import Comparison, Cost, ModelScore, ScoredScene, Unscored

__all__ = ["FOLDER_NAME", "Compared", "evaluate_models"]

FOLDER_NAME = "evaluate"
"""Folder of the models' maps in the workflow's output."""
_COUNTED_SIDE = 1024
"""Side of the image that operations are counted on, in pixels."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison found."""

    comparison: Comparison
    """The figures."""
    folder: Path
    """Where they are written, and the models' maps."""
    exit_code: int
    """0; 2: scenes were refused; 1: scenes failed."""


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
    """Map a workflow's labeled scenes with each model by the very path of ``run``, score and compare.

    The maps of a model go to ``<output>/evaluate/<model>``, with ``score.json`` and ``worst.png`` of each;
    finished scenes are not mapped again, those of another recipe are. No polygons are made (unless the
    workflow's threshold, which belongs to them, is not 0.5). Models of other ground resolutions are all
    scored on the scene's own pixels, else on the workflow's. ``comparison.json`` and ``comparison.md`` are
    written last.

    Args:
        path: workflow file; its own model does not matter.
        models: names of shipped bundles, or paths of bundles; the first is what the others are compared with.
        overrides: ``--set`` values by dotted key.
        asset: key of the label asset; default: the workflow's ``evaluate.asset``.
        reference: one reference for all scenes, in place of the catalog's.
        width: of the boundary.
        worst: windows of each model to draw; 0: none.
        how: draws, seed and level of the intervals.
        watch: asked for each model's watcher of its run, by the model's name.

    Raises:
        ConfigError, CatalogError, BundleError, GridError: nothing can be run; a model is named twice, or has
            other classes than the first.
        LabelError: the labels have classes that the models have not, or no scene has labels.
        OutputError, RunError: as :func:`~geoseg.flow.run.run.run`.
    """
    check_reference(reference)
    how = how or Bootstrap()
    loaded = load_workflow(path, overrides or {})
    workflow = loaded.workflow
    if asset is None and workflow.evaluate is not None:
        asset = workflow.evaluate.asset
    folder = loaded.output / FOLDER_NAME
    settings: dict[str, Any] = {**(overrides or {}), "evaluate": None, "write.probability": "classes"}
    if workflow.vectorize is None or workflow.vectorize.threshold == 0.5:  # noqa: PLR2004 - what holds without
        settings["vectorize"] = None
    candidates = candidates_of(path, models, settings, folder)
    scenes, unscored = labeled_scenes(candidates, asset, reference)
    candidates = [narrowed(path, one, [ref.id for ref in scenes], candidates) for one in candidates]
    evaluated: list[Evaluated] = []
    speeds: list[Speed | None] = []
    summaries: list[RunSummary] = []
    for one in candidates:
        summary, speed = _mapped(path, one, watch)
        summaries.append(summary)
        speeds.append(speed)
    scenes, lost = _finished(scenes, candidates, summaries)
    for one in candidates:
        run_folder, spec = one.prepared.loaded.output, one.bundle.spec
        bands = workflow.scenes.bands or spec.bands
        found = evaluate_run(
            run_folder,
            scenes,
            spec.classes,
            bands=bands,
            asset=asset,
            reference=reference,
            how=how,
            width=width,
        )
        evaluated.append(found)
        if worst:
            draw_worst(run_folder / WORST_NAME, found, scenes, spec, reading=workflow.scenes, count=worst)
    comparison = _comparison(candidates, evaluated, speeds, unscored=[*unscored, *lost], width=width, how=how)
    write_json(folder / "comparison.json", comparison.to_dict())
    write_text(folder / "comparison.md", comparison_markdown(comparison))
    failed = any(summary.count("failed") for summary in summaries)
    refused = any(summary.count("refused") for summary in summaries)
    return Compared(comparison, folder, 1 if failed else 2 if refused else 0)


def _mapped(
    path: Path, one: Candidate, watch: Callable[[str], Watch] | None
) -> tuple[RunSummary, Speed | None]:
    told = watch(one.name) if watch is not None else lambda _: None
    clock = Stopwatch()

    def both(event: Event) -> None:
        clock.watch(event)
        told(event)

    summary = run(path, one.overrides, overwrite=True, watch=both)
    ended = {outcome.scene for outcome in summary.scenes if outcome.status in ("done", "skipped")}
    plans = [plan for plan in one.prepared.plans if plan.scene.ref.id in ended]
    return summary, speed_of(summary.output, plans, clock, one.machine)


def _finished(
    scenes: Sequence[SceneRef], candidates: Sequence[Candidate], summaries: Sequence[RunSummary]
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
    candidates: Sequence[Candidate],
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
