"""Run a workflow: prepare, plan, execute, write outputs, score.

Every scene ends as done, skipped, refused or failed, and none is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from geoseg.compiled import compiling_beside, is_compiled
from geoseg.config.workflow import Compute, Workflow, category_ids
from geoseg.engine.execute import ExecutorKind, auto_workers, open_executor, preloaded
from geoseg.engine.finished import FinishedMap
from geoseg.engine.loops.exercise import EXERCISES
from geoseg.engine.partials import discard_partials
from geoseg.engine.plan import Plan
from geoseg.engine.tasks import Recorded, Task, perform, perform_recorded
from geoseg.errors import GeosegError, OutputError
from geoseg.flow.evaluate.evaluate import evaluate_run
from geoseg.flow.evaluate.objects import Outlined
from geoseg.flow.run.check import obstacle
from geoseg.flow.run.driver import Driver
from geoseg.flow.run.events import RunSummary, SceneOutcome, Watch
from geoseg.flow.run.outputs import write_outputs
from geoseg.flow.run.prepare import Prepared, prepare
from geoseg.flow.run.profile import Profiler
from geoseg.flow.run.runtime import keep_runtime
from geoseg.io.files import locked
from geoseg.io.raster.scene import Reading
from geoseg.score.report.values import ScoreReport
from geoseg.stages import add_span, recording, stage

__all__ = ["resolve_executor", "run"]

_SMALL_RUN = 8_000_000
"""Pixels of the model's grids up to which one process is as fast as several, which take seconds to start."""


def run(
    source: str | Path | Workflow,
    overrides: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
    watch: Watch | None = None,
    profile: bool = False,
) -> RunSummary:
    """Map every scene of a workflow; says how each ended, and the score where the workflow asks for one.

    A script calls it under ``if __name__ == "__main__":`` (worker processes import the script that starts
    them), or with ``compute.executor`` as ``serial`` or ``threads``. Small runs stay in one process.

    Args:
        source: workflow file, or a workflow made in Python.
        overrides: values by dotted key, such as ``{"compute.workers": 2}``; text is read as after ``--set``.
        overwrite: map scenes again that another configuration, model or version mapped here.
        watch: called with each event of the run.
        profile: record where the time goes, in the summary and in ``profile.json``.

    Raises:
        ConfigError, CatalogError, BundleError, GridError: nothing can be run.
        OutputError: the output folder cannot be written.
        RunError: another run holds the output folder, or the cluster is gone.
    """
    driver = Driver(watch or (lambda _: None))
    if not profile:
        return _run(driver, source, overrides, overwrite=overwrite)
    profiler = Profiler()
    with recording() as spans:
        add_span("start", cpu=time.process_time(), wall=time.process_time())
        with stage("driver"):
            summary = _run(driver, source, overrides, overwrite=overwrite, profiler=profiler)
    profiler.take(spans)
    return replace(summary, profile=profiler.finish(summary.output, summary.seconds))


def _run(
    driver: Driver,
    source: str | Path | Workflow,
    overrides: Mapping[str, Any] | None,
    *,
    overwrite: bool,
    profiler: Profiler | None = None,
) -> RunSummary:
    start = time.perf_counter()
    with stage("prepare"):
        prepared = prepare(source, overrides, load=True)
    with locked(prepared.loaded.output):
        keep_runtime(prepared.loaded.output, prepared.bundle, prepared.runtime)
        for refusal in prepared.refused:
            driver.end(SceneOutcome(refusal.scene, "refused", refusal.reason))
        for plan in prepared.plans:
            _plan_work(driver, plan, overwrite=overwrite)
        _execute(driver, prepared, profiler)
        mapped = {o.scene for o in driver.outcomes.values() if o.status in ("done", "skipped")}
        with stage("merged layer, project"):
            unwritten = _write_outputs(prepared, mapped)
        unlabeled = prepared.unlabeled
        with stage("score"):
            score, unscored = (None, None) if unlabeled else _score(prepared, mapped)
    return RunSummary(
        output=prepared.loaded.output,
        scenes=tuple(driver.outcomes.values()),
        seconds=time.perf_counter() - start,
        score=score,
        unscored=unscored,
        unlabeled=unlabeled if mapped else None,
        notes=(*prepared.notes, *prepared.computing),
        unwritten=unwritten,
        errors=tuple(driver.errors),
    )


def _plan_work(driver: Driver, plan: Plan, *, overwrite: bool) -> None:
    """Decide what a scene needs: to be predicted, to be assembled again, or nothing more."""
    scene, found = plan.scene.ref.id, FinishedMap.read(plan.folder)
    if found is not None and found.whole and found.fingerprint == plan.fingerprint:
        discard_partials(plan.folder)  # a run may have been killed between the manifest and this
        driver.end(SceneOutcome(scene, "skipped", "already mapped with this configuration", plan.folder))
    elif (barred := obstacle(plan, found, overwrite=overwrite)) is not None:
        driver.end(SceneOutcome(scene, barred.status, str(OutputError(barred.reason, scene=scene))))
    elif found is not None and found.can_reuse(plan):
        driver.reuse(plan)
    else:
        driver.predict(plan)


def _execute(driver: Driver, prepared: Prepared, profiler: Profiler | None) -> None:
    """Run tasks until every scene has ended."""
    if not driver.tasks:
        return
    compute = prepared.loaded.workflow.compute
    kind, workers = resolve_executor(compute, driver.plans, driver.tasks)
    work: Callable[[Task], Any] = perform
    if profiler is not None:
        work = partial(perform_recorded, alone=kind == "processes" and compute.scheduler is None)
    with ExitStack() as stack:
        opening = open_executor(
            kind,
            workers,
            scheduler=compute.scheduler,
            name=prepared.loaded.workflow.name,
            preload=preloaded(prepared.runtime.backend),
        )
        exercise = None if compute.scheduler is not None else _missing_loops(driver.plans)
        if exercise is not None:
            stack.enter_context(compiling_beside(exercise))
        with stage("open executor"):
            executor = stack.enter_context(opening)
        where = "one process" if kind == "serial" else f"{workers} {kind}"
        if compute.scheduler is not None:
            where = f"{executor.slots} threads of {compute.scheduler}"
        driver.start(where, slots=executor.slots, compiles=exercise is not None)
        in_flight = 0
        while True:
            # Two tasks per slot hide the driver's latency.
            while in_flight < 2 * executor.slots and (task := driver.next_task()) is not None:
                executor.submit(task, work, task)
                in_flight += 1
            if not in_flight:
                return
            with stage("wait for tasks", elsewhere=kind == "threads"):
                finished = executor.wait()
            if profiler is not None and isinstance(finished.value, Recorded):
                profiler.take(finished.value.spans, finished.value.process)
                finished = replace(finished, value=finished.value.value)
            driver.take(finished)
            in_flight -= 1


def _missing_loops(plans: Sequence[Plan]) -> Callable[[], None] | None:
    """What calls the loops that polygons of these scenes wait for on this machine; None: all are there."""
    mode = next((plan.vectorize.mode for plan in plans if plan.vectorize is not None), None)
    return None if mode is None or is_compiled(EXERCISES[mode]) else EXERCISES[mode]


def resolve_executor(compute: Compute, plans: Sequence[Plan], tasks: int) -> tuple[ExecutorKind, int]:
    """Kind of the executor and number of its workers for some scenes and their tasks, at least one."""
    if compute.executor == "serial":
        return "serial", 1
    if compute.workers == "auto":
        pixels = sum(plan.grid.window.pixels for plan in plans)
        if compute.executor == "auto" and pixels <= _SMALL_RUN:
            return "serial", 1
        workers = auto_workers(tasks, max(plan.worker_bytes for plan in plans))
    else:
        workers = min(compute.workers, tasks)
    if compute.executor != "auto":
        return compute.executor, workers
    return ("serial", 1) if workers == 1 else ("processes", workers)


def _write_outputs(prepared: Prepared, mapped: Collection[str]) -> str | None:
    """Write the merged layer and the QGIS project, or return why not: the maps are there all the same."""
    vectorize = next((plan.vectorize for plan in prepared.plans), None)
    try:
        write_outputs(
            prepared,
            mapped,
            merge=vectorize is not None and vectorize.merge,
            coverage=vectorize is not None and vectorize.mode == "coverage",
        )
    except GeosegError as error:
        return str(error)
    return None


def _score(prepared: Prepared, mapped: Collection[str]) -> tuple[ScoreReport | None, str | None]:
    """The score of the maps, or why there is none; neither where the workflow asks for none."""
    workflow, spec = prepared.loaded.workflow, prepared.bundle.spec
    scenes = [plan.scene.ref for plan in prepared.plans if plan.scene.ref.id in mapped]
    if workflow.evaluate is None or not scenes:
        return None, None
    try:
        evaluated = evaluate_run(
            prepared.loaded.output,
            scenes,
            spec.classes,
            reading=Reading.of(workflow.scenes, spec.bands),
            asset=workflow.evaluate.asset,
            outlined=Outlined.of(workflow.vectorize),
            categories=category_ids(workflow.evaluate, [one.name for one in spec.classes]),
        )
    except GeosegError as error:
        return None, str(error)  # the maps are there all the same: the summary says what is missing
    return evaluated.report, None
