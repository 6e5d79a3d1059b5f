"""Run a workflow: every scene ends as done, skipped, refused or failed, and none is lost."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from geoseg.engine.assemble import AssembleTask, SceneReceipt, assemble, finished_fingerprint
from geoseg.engine.execute import Executor, ExecutorKind, Finished, open_executor
from geoseg.engine.plan import BandTask, Plan
from geoseg.engine.predict import run_band
from geoseg.errors import GeosegError, LabelError, RunError
from geoseg.flow.evaluate import evaluate_plans
from geoseg.flow.events import BandFinished, Event, RunStarted, SceneFinished, Status, Watch
from geoseg.flow.prepare import Prepared, prepare
from geoseg.io.files import free_bytes
from geoseg.io.lock import locked
from geoseg.io.parts import PartReceipt, discard_parts
from geoseg.score.report import ScoreReport

__all__ = ["RunSummary", "SceneOutcome", "run"]


@dataclass(frozen=True, slots=True)
class SceneOutcome:
    """How one scene ended."""

    scene: str
    """The catalog's id."""
    status: Status
    """done, skipped, refused or failed."""
    reason: str = ""
    """Why, unless done."""
    folder: Path | None = None
    """Where its map is."""
    polygons: int | None = None
    """Polygons written."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did; every scene of the workflow is in it exactly once."""

    output: Path
    """Folder of the run."""
    scenes: tuple[SceneOutcome, ...]
    """One per scene."""
    seconds: float
    """Wall time."""
    score: ScoreReport | None = None
    """The map's score, where the workflow asks for one."""
    unscored: str | None = None
    """Why there is no score though the workflow asks for one."""
    errors: tuple[BaseException, ...] = ()
    """What failed scenes failed with."""

    def count(self, status: Status) -> int:
        """Scenes with this end."""
        return sum(outcome.status == status for outcome in self.scenes)

    @property
    def exit_code(self) -> int:
        """0: every scene mapped and scored as asked; 2: some refused; 1: some failed."""
        return 1 if self.count("failed") else 2 if self.count("refused") or self.unscored else 0


def run(
    path: str | Path,
    overrides: Mapping[str, str] | None = None,
    *,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> RunSummary:
    """Map every scene of a workflow.

    Args:
        path: workflow file.
        overrides: ``--set`` values by dotted key, such as ``{"compute.workers": "2"}``.
        overwrite: make scenes anew that another recipe made here.
        watch: called with each event of the run.

    Returns:
        How each scene ended, and the score where the workflow asks for one.

    Raises:
        RecipeError, CatalogError, BundleError: nothing can be run.
        OutputError: the output folder cannot be written.
        RunError: another run holds the output folder, or the cluster is gone.
    """
    start = time.perf_counter()
    prepared = prepare(Path(path), overrides)
    output = prepared.loaded.output
    with locked(output):
        state = _Run(prepared, watch or (lambda _: None), overwrite=overwrite)
        state.execute()
    evaluation = prepared.loaded.workflow.evaluate
    mapped = {o.scene for o in state.outcomes.values() if o.status in ("done", "skipped")}
    plans = [plan for plan in prepared.plans if plan.scene.ref.id in mapped]
    score = unscored = None
    if evaluation is not None and plans:
        try:
            score = evaluate_plans(plans, evaluation.asset, output)
        except LabelError as error:
            unscored = str(error)  # the maps are there all the same: the summary says what is missing
    return RunSummary(
        output=output,
        scenes=tuple(state.outcomes.values()),
        seconds=time.perf_counter() - start,
        score=score,
        unscored=unscored,
        errors=tuple(state.errors),
    )


@dataclass(slots=True)
class _Open:
    """A scene on its way."""

    plan: Plan
    waiting: set[str]
    receipts: dict[str, PartReceipt] = field(default_factory=dict)


class _Run:
    """The driver's state; everything durable is in the parts and receipts on disk."""

    def __init__(self, prepared: Prepared, watch: Watch, *, overwrite: bool) -> None:
        self.prepared = prepared
        self.watch = watch
        self.overwrite = overwrite
        self.outcomes: dict[str, SceneOutcome] = {}
        self.open: dict[str, _Open] = {}
        self.errors: list[BaseException] = []

    def execute(self) -> None:
        for refusal in self.prepared.refused:
            self._end(refusal.scene, "refused", refusal.reason)
        plans = [plan for plan in self.prepared.plans if self._is_due(plan)]
        if not plans:
            return
        tasks = deque(BandTask(plan, band) for plan in plans for band in plan.tiles.bands)
        kind, workers = self._executor(len(tasks))
        compute = self.prepared.loaded.workflow.compute
        self._check_disk(plans)
        self.open = {
            plan.scene.ref.id: _Open(plan, {BandTask(plan, band).name for band in plan.tiles.bands})
            for plan in plans
        }
        with open_executor(
            kind, workers, scheduler=compute.scheduler, name=self.prepared.loaded.workflow.name
        ) as executor:
            where = (
                f"dask at {compute.scheduler}, {executor.slots} slots"
                if compute.scheduler
                else kind
                if kind == "serial"
                else f"{workers} {kind}"
            )
            pixels = sum(plan.grid.window.pixels for plan in plans)
            self.watch(RunStarted(len(plans), len(tasks), pixels, where))
            self._drive(executor, tasks)

    def _drive(self, executor: Executor, tasks: deque[BandTask]) -> None:
        assemblies: deque[AssembleTask] = deque()
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
                    executor.submit(task, run_band, task)
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
        task: BandTask | AssembleTask = finished.key
        scene = task.plan.scene.ref.id
        current = self.open.get(scene)
        if current is None:
            discard_parts(task.plan.folder)  # a band of a scene that was refused meanwhile
            return None
        if finished.error is not None:
            self._give_up(current, finished.error)
            return None
        if isinstance(task, AssembleTask):
            receipt: SceneReceipt = finished.value
            del self.open[scene]
            self._end(scene, "done", folder=task.plan.folder, polygons=receipt.polygons)
            return None
        part: PartReceipt = finished.value
        current.receipts[part.name] = part
        current.waiting.discard(part.name)
        rows = task.band.stop - task.band.first
        share = rows / len(task.plan.tiles.grid.rows)
        self.watch(BandFinished(scene, round(share * task.plan.grid.window.pixels), part.seconds))
        if current.waiting:
            return None
        parts = tuple(current.receipts[BandTask(task.plan, band).name] for band in task.plan.tiles.bands)
        return AssembleTask(task.plan, parts)

    def _give_up(self, current: _Open, error: BaseException) -> None:
        scene = current.plan.scene.ref.id
        del self.open[scene]
        discard_parts(current.plan.folder)
        if isinstance(error, GeosegError):
            self._end(scene, "refused", str(error))
            return
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        self._end(scene, "failed", f"scene {scene}: {told}; --debug shows the traceback")
        self.errors.append(error)

    def _is_due(self, plan: Plan) -> bool:
        """Whether a scene is to be mapped; ends it as skipped or refused where it is not."""
        scene = plan.scene.ref.id
        found = finished_fingerprint(plan.folder)
        if found is None or (found != plan.fingerprint and self.overwrite):
            return True
        if found == plan.fingerprint:
            discard_parts(plan.folder)  # a run may have been killed between the receipt and this
            self._end(scene, "skipped", "already mapped by this recipe", folder=plan.folder)
        else:
            self._end(
                scene,
                "refused",
                f"scene {scene}: {plan.folder} holds a map made by another recipe, model or version "
                f"({found[:8]}, now {plan.fingerprint[:8]}); choose another output or pass --overwrite",
            )
        return False

    def _executor(self, tasks: int) -> tuple[ExecutorKind, int]:
        compute = self.prepared.loaded.workflow.compute
        workers = len(os.sched_getaffinity(0)) if compute.workers == "auto" else compute.workers
        workers = max(1, min(workers, tasks))
        if compute.executor != "auto":
            return compute.executor, workers
        return ("serial", 1) if workers == 1 else ("processes", workers)

    def _check_disk(self, plans: list[Plan]) -> None:
        """Refuse at once what certainly cannot end well: not even one scene's parts would fit."""
        free = free_bytes(self.prepared.loaded.output)
        largest = max(plans, key=lambda plan: plan.disk_bytes)
        need = largest.grid.window.pixels * len(largest.layout.bands)
        if need > free:
            raise RunError(
                f"{self.prepared.loaded.output}: scene {largest.scene.ref.id} needs at least "
                f"{need / 1e6:.1f} MB of disk but {free / 1e6:.1f} MB are free; free space or choose another "
                "output"
            )

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
