"""The driver's bookkeeping: which task comes next, and how each scene of a run ended.

A scene ends exactly once::

    predict ──▶ in progress ──all partial results──▶ assembling ──▶ done
    reuse ─────────────────────────────────────────▶ assembling      │ an error of the scene: refused
                                                                     │ any other error:       failed

It runs nothing and keeps nothing that must survive a crash: partial results and finished maps are on disk.
"""

from __future__ import annotations

from collections import deque

from geoseg.engine.assemble import AssembledScene, AssembleTask
from geoseg.engine.execute import Finished
from geoseg.engine.partials import PartialManifest, discard_partials
from geoseg.engine.plan import Plan, PredictTask
from geoseg.errors import GeosegError, RunError
from geoseg.flow.run.events import RunStarted, SceneOutcome, Watch, WindowRowsFinished

__all__ = ["Driver", "Task"]

Task = PredictTask | AssembleTask


class Driver:
    """Hands out tasks and takes their outcomes, in any order; ``watch`` is called with each event."""

    def __init__(self, watch: Watch) -> None:
        self.outcomes: dict[str, SceneOutcome] = {}
        """How scenes ended, by id, in the order in which they did."""
        self.errors: list[BaseException] = []
        """What failed scenes failed with."""
        self.plans: list[Plan] = []
        """Scenes that were given to :meth:`predict` or :meth:`reuse`."""
        self._watch = watch
        self._predictions: deque[PredictTask] = deque()
        self._assemblies: deque[AssembleTask] = deque()
        self._partials: dict[str, dict[str, PartialManifest]] = {}
        """Scenes in progress, by id: the partial results that are there, by name."""

    def predict(self, plan: Plan) -> None:
        """Map a scene."""
        self._begin(plan)
        self._predictions.extend(PredictTask(plan, rows) for rows in plan.tiles.window_rows)

    def reuse(self, plan: Plan) -> None:
        """Assemble a scene again from the probabilities of the map that is there."""
        self._begin(plan)
        self._assemblies.append(AssembleTask(plan, ()))

    def end(self, outcome: SceneOutcome) -> None:
        """Record how a scene ended."""
        assert outcome.scene not in self.outcomes, f"scene {outcome.scene} ends twice"
        self._partials.pop(outcome.scene, None)
        self.outcomes[outcome.scene] = outcome
        self._watch(outcome)

    @property
    def tasks(self) -> int:
        """Tasks that wait; an assembly counts once its partial results are there."""
        return len(self._predictions) + len(self._assemblies)

    def start(self, where: str, *, compiles: bool = False) -> None:
        """Report that work begins; see :class:`~geoseg.flow.run.events.RunStarted`."""
        predicted = {id(task.plan): task.plan for task in self._predictions}.values()
        pixels = sum(plan.grid.window.pixels for plan in predicted)
        self._watch(RunStarted(len(self.plans), len(self._predictions), pixels, where, compiles))

    def next_task(self) -> Task | None:
        """The task to run next; None: there is none now. Assembling comes first: it frees disk."""
        if self._assemblies:
            return self._assemblies.popleft()
        while self._predictions:
            task = self._predictions.popleft()
            if task.plan.scene.ref.id in self._partials:  # else the scene has ended meanwhile
                return task
        return None

    def take(self, finished: Finished) -> None:
        """Account for the outcome of one task, its key."""
        task: Task = finished.key
        scene = task.plan.scene.ref.id
        if scene not in self._partials:  # a straggler of a scene that has ended meanwhile
            if self.outcomes[scene].status == "refused":
                discard_partials(task.plan.folder)
        elif finished.error is not None:
            self._give_up(task.plan, finished.error)
        elif isinstance(task, AssembleTask):
            assembled: AssembledScene = finished.value
            reason = "" if task.partials else "recomputed from its probabilities"
            self.end(
                SceneOutcome(scene, "done", reason, task.plan.folder, assembled.polygons, assembled.warnings)
            )
        else:
            self._collect(task, finished.value)

    def _begin(self, plan: Plan) -> None:
        self.plans.append(plan)
        self._partials[plan.scene.ref.id] = {}

    def _collect(self, task: PredictTask, partial: PartialManifest) -> None:
        """Keep a partial result; the last one of its scene makes the assembly possible."""
        plan, rows = task.plan, task.rows
        partials = self._partials[plan.scene.ref.id]
        partials[partial.name] = partial
        share = (rows.stop - rows.first) / len(plan.tiles.grid.rows)
        pixels = round(share * plan.grid.window.pixels)
        self._watch(WindowRowsFinished(plan.scene.ref.id, pixels, partial.seconds))
        names = [PredictTask(plan, rows).name for rows in plan.tiles.window_rows]
        if len(partials) == len(names):
            self._assemblies.append(AssembleTask(plan, tuple(partials[name] for name in names)))

    def _give_up(self, plan: Plan, error: BaseException) -> None:
        scene = plan.scene.ref.id
        if isinstance(error, GeosegError) and not isinstance(error, RunError):
            discard_partials(plan.folder)
            self.end(SceneOutcome(scene, "refused", str(error)))
            return
        # The scene is sound: its partial results stay, so that the next run resumes from them.
        message = str(error)
        if not isinstance(error, RunError):
            message = f"{type(error).__name__}: {error}; `geoseg --debug run` shows the traceback"
        self.errors.append(error)
        self.end(SceneOutcome(scene, "failed", " ".join(message.split())))
