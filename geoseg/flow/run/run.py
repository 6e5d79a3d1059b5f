"""Run a workflow: every scene ends as done, skipped, refused or failed, and none is lost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.config.workflow import Workflow
from geoseg.engine.assemble import AssembledScene, AssembleTask, assemble
from geoseg.engine.execute import Executor, ExecutorKind, Finished, auto_workers, open_executor
from geoseg.engine.finished import FinishedMap
from geoseg.engine.partials import PartialManifest, discard_partials
from geoseg.engine.plan import Plan, PredictTask
from geoseg.engine.predict import predict_window_rows
from geoseg.errors import GeosegError, RunError
from geoseg.flow.evaluate.evaluate import evaluate_run
from geoseg.flow.evaluate.objects import Outlined
from geoseg.flow.run.events import Event, RunStarted, SceneFinished, Status, Watch, WindowRowsFinished
from geoseg.flow.run.outputs import write_outputs
from geoseg.flow.run.prepare import Prepared, prepare
from geoseg.flow.run.summary import RunSummary, SceneOutcome
from geoseg.io.files import free_bytes
from geoseg.io.lock import locked
from geoseg.score.report.values import ScoreReport

__all__ = ["RunSummary", "SceneOutcome", "run"]


def run(
    source: str | Path | Workflow,
    overrides: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> RunSummary:
    """Map every scene of a workflow.

    A script calls it under ``if __name__ == "__main__":`` (worker processes import the script that starts
    them), or with ``compute.executor`` as ``serial`` or ``threads``.

    Args:
        source: workflow file, or a workflow made in Python.
        overrides: values by dotted key, such as ``{"compute.workers": 2}``; text is read as after ``--set``.
        overwrite: make scenes anew that another recipe made here.
        watch: called with each event of the run.

    Returns:
        How each scene ended, and the score where the workflow asks for one.

    Raises:
        ConfigError, CatalogError, BundleError, GridError: nothing can be run.
        OutputError: the output folder cannot be written.
        RunError: another run holds the output folder, or the cluster is gone.
    """
    start = time.perf_counter()
    prepared = prepare(source, overrides)
    output = prepared.loaded.output
    with locked(output):
        state = _Run(prepared, watch or (lambda _: None), overwrite=overwrite)
        state.execute()
        unwritten = _write_outputs(prepared, state.outcomes)
        score, unscored = _score(prepared, state.outcomes)
    return RunSummary(
        output=output,
        scenes=tuple(state.outcomes.values()),
        seconds=time.perf_counter() - start,
        score=score,
        unscored=unscored,
        unwritten=unwritten,
        errors=tuple(state.errors),
    )


def _write_outputs(prepared: Prepared, outcomes: Mapping[str, SceneOutcome]) -> str | None:
    """Write what stands beside the scenes, or say why it is not there: the maps are there all the same."""
    mapped = {o.scene for o in outcomes.values() if o.status in ("done", "skipped")}
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


def _score(prepared: Prepared, outcomes: Mapping[str, SceneOutcome]) -> tuple[ScoreReport | None, str | None]:
    """The score of the maps that are there, or why there is none; neither where none is asked for."""
    workflow, spec = prepared.loaded.workflow, prepared.bundle.spec
    mapped = {o.scene for o in outcomes.values() if o.status in ("done", "skipped")}
    scenes = [plan.scene.ref for plan in prepared.plans if plan.scene.ref.id in mapped]
    if workflow.evaluate is None or not scenes:
        return None, None
    try:
        evaluated = evaluate_run(
            prepared.loaded.output,
            scenes,
            spec.classes,
            bands=workflow.scenes.bands or spec.bands,
            asset=workflow.evaluate.asset,
            outlined=Outlined.of(workflow.vectorize),
        )
    except GeosegError as error:
        return None, str(error)  # the maps are there all the same: the summary says what is missing
    return evaluated.report, None


class _Run:
    """The driver's state; everything durable is in the parts and receipts on disk."""

    def __init__(self, prepared: Prepared, watch: Watch, *, overwrite: bool) -> None:
        self.prepared = prepared
        self.watch = watch
        self.overwrite = overwrite
        self.outcomes: dict[str, SceneOutcome] = {}
        self.open: dict[str, dict[str, PartialManifest]] = {}
        """Scenes on their way: the parts that are there, by name."""
        self.kept: set[str] = set()
        """Scenes whose store is in the map that is there: only what is made of it is made anew."""
        self.errors: list[BaseException] = []

    def execute(self) -> None:
        for refusal in self.prepared.refused:
            self._end(refusal.scene, "refused", refusal.reason)
        plans = [plan for plan in self.prepared.plans if self._is_due(plan)]
        if not plans:
            return
        kept = [plan for plan in plans if plan.scene.ref.id in self.kept]
        fresh = [plan for plan in plans if plan.scene.ref.id not in self.kept]
        tasks = deque(PredictTask(plan, band) for plan in fresh for band in plan.tiles.bands)
        kind, workers = self._executor(len(tasks) + len(kept), max(plan.worker_bytes for plan in plans))
        compute = self.prepared.loaded.workflow.compute
        self.open = {plan.scene.ref.id: {} for plan in plans}
        with open_executor(
            kind, workers, scheduler=compute.scheduler, name=self.prepared.loaded.workflow.name
        ) as executor:
            where = "one process" if kind == "serial" else f"{workers} {kind}"
            if compute.scheduler is not None:
                where = f"{executor.slots} threads of {compute.scheduler}"
            pixels = sum(plan.grid.window.pixels for plan in fresh)
            self.watch(RunStarted(len(plans), len(tasks), pixels, where))
            self._drive(executor, tasks, deque(AssembleTask(plan, ()) for plan in kept))

    def _drive(self, executor: Executor, tasks: deque[PredictTask], assemblies: deque[AssembleTask]) -> None:
        in_flight = 0
        while tasks or assemblies or in_flight:
            # Assembling first frees the disk that parts take; two tasks per slot hide the driver's latency.
            while in_flight < 2 * executor.slots and (assemblies or tasks):
                if assemblies:
                    assembly = assemblies.popleft()
                    executor.submit(assembly, assemble, assembly)
                else:
                    task = tasks.popleft()
                    if task.plan.scene.ref.id not in self.open:
                        continue  # the scene was refused meanwhile
                    executor.submit(task, predict_window_rows, task)
                in_flight += 1
            if not in_flight:
                break
            finished = executor.wait()
            in_flight -= 1
            ready = self._take(finished)
            if ready is not None:
                assemblies.append(ready)

    def _take(self, finished: Finished) -> AssembleTask | None:
        """Account for one outcome; returns the assembly that it makes possible."""
        task: PredictTask | AssembleTask = finished.key
        scene = task.plan.scene.ref.id
        parts = self.open.get(scene)
        if parts is None:  # a band of a scene that has ended meanwhile
            if self.outcomes[scene].status == "refused":
                discard_partials(task.plan.folder)
            return None
        if finished.error is not None:
            self._give_up(task.plan, finished.error)
            return None
        if isinstance(task, AssembleTask):
            receipt: AssembledScene = finished.value
            del self.open[scene]
            reason = "" if task.parts else "made anew from its probabilities"
            self._end(scene, "done", reason, folder=task.plan.folder, polygons=receipt.polygons)
            return None
        part: PartialManifest = finished.value
        parts[part.name] = part
        rows = task.band.stop - task.band.first
        share = rows / len(task.plan.tiles.grid.rows)
        self.watch(WindowRowsFinished(scene, round(share * task.plan.grid.window.pixels), part.seconds))
        names = [PredictTask(task.plan, band).name for band in task.plan.tiles.bands]
        return (
            AssembleTask(task.plan, tuple(parts[name] for name in names))
            if len(parts) == len(names)
            else None
        )

    def _give_up(self, plan: Plan, error: BaseException) -> None:
        scene = plan.scene.ref.id
        del self.open[scene]
        if isinstance(error, GeosegError) and not isinstance(error, RunError):
            discard_partials(plan.folder)
            self._end(scene, "refused", str(error))
            return
        # The scene is sound: its parts stay, so that the next run goes on from them.
        told = str(error)
        if not isinstance(error, RunError):
            told = f"{type(error).__name__}: {error}; `geoseg --debug run` shows the traceback"
        self._end(scene, "failed", " ".join(told.split()))
        self.errors.append(error)

    def _is_due(self, plan: Plan) -> bool:
        """Whether a scene is to be mapped; ends it as skipped or refused where it is not."""
        scene = plan.scene.ref.id
        receipt = FinishedMap.read(plan.folder)
        found = None if receipt is None or not receipt.whole else receipt.fingerprint
        if found is None or (found != plan.fingerprint and self.overwrite):
            if receipt is not None and receipt.keeps(plan):
                self.kept.add(scene)
                return True
            return self._fits_the_disk(plan)
        if found == plan.fingerprint:
            discard_partials(plan.folder)  # a run may have been killed between the receipt and this
            self._end(scene, "skipped", "already mapped by this recipe", folder=plan.folder)
        else:
            self._end(
                scene,
                "refused",
                f"scene {scene}: {plan.folder} holds a map made by another recipe, model or version "
                f"({found[:8]}, now {plan.fingerprint[:8]}); choose another output or pass --overwrite"
                + (
                    ", which makes it anew from its probabilities"
                    if receipt is not None and receipt.keeps(plan)
                    else ""
                ),
            )
        return False

    def _executor(self, tasks: int, worker_bytes: int) -> tuple[ExecutorKind, int]:
        compute = self.prepared.loaded.workflow.compute
        if compute.workers == "auto":
            workers = auto_workers(tasks, worker_bytes)
        else:
            workers = min(compute.workers, tasks)
        if compute.executor != "auto":
            return compute.executor, workers
        return ("serial", 1) if workers == 1 else ("processes", workers)

    def _fits_the_disk(self, plan: Plan) -> bool:
        """Refuse at once what certainly cannot end well: not even the scene's parts would fit."""
        free = free_bytes(plan.folder)
        need = plan.grid.window.pixels * plan.layout.planes
        if need <= free or plan.partials_folder.exists():
            return True
        self._end(
            plan.scene.ref.id,
            "refused",
            f"{plan.folder}: needs at least {need / 1e6:.1f} MB of disk but {free / 1e6:.1f} MB are free; "
            "free space or choose another output",
        )
        return False

    def _end(
        self,
        scene: str,
        status: Status,
        reason: str = "",
        *,
        folder: Path | None = None,
        polygons: int | None = None,
    ) -> None:
        self.outcomes[scene] = SceneOutcome(scene, status, reason, folder, polygons)
        event: Event = SceneFinished(scene, status, reason, polygons)
        self.watch(event)
