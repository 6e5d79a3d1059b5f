"""The driver's bookkeeping: which task comes next, and how each scene of a run ended.

A scene ends exactly once::

    predict ──▶ in progress ──all partial results──▶ assembling ──▶ done
    reuse ─────────────────────────────────────────▶ assembling      │ an error of the scene: refused
                                                                     │ any other error:       failed

Where several tasks run at a time, a scene of several tasks is shared: its objects are found section by
section, as soon as their rows are predicted, and its assembly is several tasks.

It runs nothing and keeps nothing that must survive a crash: partial results and finished maps are on disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

from geoseg.engine.assemble import (
    STEPS,
    AssembledScene,
    AssembleTask,
    FinishTask,
    Step,
    StepTask,
    Written,
)
from geoseg.engine.execute import Finished
from geoseg.engine.partials import PartialManifest, discard_partials
from geoseg.engine.plan import Plan, PredictTask
from geoseg.engine.sections import FoundObjects, JointTask, SectionRows, SectionTask, plan_sections
from geoseg.engine.tasks import Task
from geoseg.errors import GeosegError, RunError
from geoseg.flow.run.events import RunStarted, SceneOutcome, Watch, WindowRowsFinished

__all__ = ["Driver"]


class _Progress:
    """A scene on its way: what is there of it, and which tasks that makes possible."""

    def __init__(self, plan: Plan, *, shared: bool) -> None:
        self._plan = plan
        self._names = [task.name for task in plan.tasks]
        self._shared = shared and len(self._names) > 1  # what one task predicts, one task assembles
        self._partials: dict[str, PartialManifest] = {}
        sections = plan_sections(plan) if self._shared else ()
        self._rows = sections if len(sections) > 1 else ()
        self._sections: dict[SectionRows, PartialManifest] = {}
        self._joints: dict[int, PartialManifest] = {}
        """By the row where sections meet."""
        self._given: set[str] = set()
        """Sections, joints and steps that a task was made for, by name."""
        self._written: dict[Step, Written] = {}

    def take(self, task: Task, value: Any) -> None:
        """Keep what a task returned."""
        match task:
            case PredictTask():
                self._partials[task.name] = value
            case SectionTask():
                self._sections[task.rows] = value
            case JointTask():
                self._joints[task.row] = value
            case StepTask():
                self._written[task.step] = value

    def possible(self) -> Iterator[Task]:
        """Tasks that can run now, each once, but for predictions."""
        plan, there = self._plan, self._partials
        for rows in self._rows:
            if all(name in there for name in rows.partials) and self._is_new(rows.name):
                yield SectionTask(plan, rows, tuple(there[name] for name in rows.partials))
        for upper, lower in pairwise(self._rows):
            if upper in self._sections and lower in self._sections and self._is_new(str(lower.first)):
                both = self._sections[upper], self._sections[lower]
                names = dict.fromkeys((*upper.partials, *lower.partials))
                yield JointTask(plan, both, tuple(there[name] for name in names), lower.first)
        if len(there) < len(self._names):
            return
        partials = tuple(there[name] for name in self._names)
        if not self._shared:
            yield AssembleTask(plan, partials)
            return
        for step in STEPS:
            if self._is_ready(step) and self._is_new(step):
                yield StepTask(plan, partials, step, self._found if step == "polygons" else None)
        if len(self._written) == len(STEPS):
            yield FinishTask(plan, partials, tuple(self._written[step] for step in STEPS))

    def _is_new(self, name: str) -> bool:
        """Whether a task was not given out before, which it counts as from now on."""
        is_new = name not in self._given
        self._given.add(name)
        return is_new

    def _is_ready(self, step: Step) -> bool:
        if step == STEPS[0]:
            return True
        is_found = len(self._sections) == len(self._rows) and len(self._joints) == max(0, len(self._rows) - 1)
        return STEPS[0] in self._written and (is_found or step != "polygons")

    @property
    def _found(self) -> FoundObjects | None:
        """All objects; None: none were looked for."""
        if not self._rows:
            return None
        sections = tuple(self._sections[rows] for rows in self._rows)
        return FoundObjects(sections, tuple(self._joints[row] for row in sorted(self._joints)))


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
        self._searches: deque[SectionTask | JointTask] = deque()
        """For objects."""
        self._assemblies: deque[Task] = deque()
        self._slots = 1
        self._progress: dict[str, _Progress | None] = {}
        """Scenes in progress, by id; None: nothing of them was done yet."""

    def predict(self, plan: Plan) -> None:
        """Map a scene."""
        self._begin(plan)
        self._predictions.extend(plan.tasks)

    def reuse(self, plan: Plan) -> None:
        """Assemble a scene again from the probabilities of the map that is there."""
        self._begin(plan)
        self._assemblies.append(AssembleTask(plan, ()))

    def end(self, outcome: SceneOutcome) -> None:
        """Record how a scene ended."""
        assert outcome.scene not in self.outcomes, f"scene {outcome.scene} ends twice"
        self._progress.pop(outcome.scene, None)
        self.outcomes[outcome.scene] = outcome
        self._watch(outcome)

    @property
    def tasks(self) -> int:
        """Tasks that wait; an assembly counts once its partial results are there."""
        return len(self._predictions) + len(self._searches) + len(self._assemblies)

    def start(self, where: str, *, slots: int = 1, compiles: bool = False) -> None:
        """Report that work begins (:class:`~geoseg.flow.run.events.RunStarted`).

        ``slots``: tasks that run at a time; where there are several, each scene becomes as many as it can.
        """
        self._slots = slots
        predicted = {id(task.plan): task.plan for task in self._predictions}.values()
        pixels = sum(plan.grid.window.pixels for plan in predicted)
        self._watch(RunStarted(len(self.plans), len(self._predictions), pixels, where, compiles))

    def next_task(self) -> Task | None:
        """The task to run next; None: there is none now.

        Assembling comes first: it frees disk. The last predictions of a scene come before the search for its
        objects: they take long, and what is short fills the time of workers that have none left.
        """
        while self._assemblies or self._searches or self._predictions:
            if self._assemblies:
                task = self._assemblies.popleft()
            elif self._searches and not self._is_late(self._searches[0]):
                task = self._searches.popleft()
            else:
                task = self._next_prediction()
            if task.plan.scene.ref.id in self._progress:  # else the scene has ended meanwhile
                return task
        return None

    def _next_prediction(self) -> PredictTask:
        """The next one, with what its worker will probably read after it: all workers predict in turn."""
        task, waiting = self._predictions.popleft(), self._predictions
        if len(waiting) < self._slots or (after := waiting[self._slots - 1]).plan is not task.plan:
            return task
        return replace(task, ahead=after.windows[: task.plan.tiles.batch])

    def _is_late(self, search: SectionTask | JointTask) -> bool:
        """Whether the next predictions are the last ones of a search's scene."""
        waiting = self._predictions
        if not waiting or waiting[0].plan is not search.plan:
            return False
        few = 2 * self._slots
        return len(waiting) <= few or waiting[few].plan is not search.plan

    def take(self, finished: Finished) -> None:
        """Account for the outcome of one task, its key."""
        task: Task = finished.key
        scene = task.plan.scene.ref.id
        if scene not in self._progress:  # a straggler of a scene that has ended meanwhile
            if self.outcomes[scene].status == "refused":
                discard_partials(task.plan.folder)
        elif finished.error is not None:
            self._give_up(task.plan, finished.error)
        elif isinstance(task, AssembleTask | FinishTask):
            assembled: AssembledScene = finished.value
            reason = "" if task.partials else "recomputed from its probabilities"
            self.end(
                SceneOutcome(scene, "done", reason, task.plan.folder, assembled.polygons, assembled.warnings)
            )
        else:
            self._collect(task, finished.value)

    def _begin(self, plan: Plan) -> None:
        self.plans.append(plan)
        self._progress[plan.scene.ref.id] = None

    def _collect(self, task: Task, value: Any) -> None:
        """Keep what a task returned, and queue what that makes possible."""
        plan = task.plan
        progress = self._progress[plan.scene.ref.id] or _Progress(plan, shared=self._slots > 1)
        self._progress[plan.scene.ref.id] = progress
        progress.take(task, value)
        if isinstance(task, PredictTask):
            pixels = round(len(task.windows) / len(plan.tiles.grid) * plan.grid.window.pixels)
            self._watch(WindowRowsFinished(plan.scene.ref.id, pixels, value.seconds))
        for possible in progress.possible():
            if isinstance(possible, SectionTask | JointTask):
                self._searches.append(possible)
            else:
                self._assemblies.append(possible)

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
