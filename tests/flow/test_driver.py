"""The driver's bookkeeping: every scene ends exactly once, in whatever order tasks finish or fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.engine import sections
from geoseg.engine.assemble import STEPS, AssembledScene, AssembleTask, FinishTask, StepTask, Written
from geoseg.engine.execute import Finished
from geoseg.engine.partials import PartialManifest
from geoseg.engine.plan import Plan, PredictTask
from geoseg.engine.sections import JointTask, SectionTask, plan_sections
from geoseg.engine.tasks import Task
from geoseg.errors import OutputError, RunError, SceneError
from geoseg.flow.run.driver import Driver
from geoseg.flow.run.events import Event, RunStarted, SceneOutcome, WindowRowsFinished
from geoseg.flow.run.prepare import prepare

ERRORS = {
    "refused": [SceneError("4 bands, needed 3"), OutputError("the disk is full")],
    "failed": [RunError("the worker died"), ValueError("a mistake\nof ours"), MemoryError()],
}
ENDS = [*ERRORS["refused"], *ERRORS["failed"]]


@pytest.fixture(scope="module")
def plan(root: Path) -> Plan:
    """The demonstration's, in three tasks."""
    tiling = {"tiling.window": "256 px", "tiling.halo": "32 px"}
    (found,) = prepare(root / "workflows" / "austin_buildings.yaml", tiling).plans
    rows = len(found.tiles.grid.rows)
    assert rows > 3
    return replace(found, tiles=replace(found.tiles, window_rows=found.tiles.grid.window_rows(-(-rows // 3))))


def named(plan: Plan, scene: str, output: Path) -> Plan:
    """The same plan for a scene of another name."""
    ref = replace(plan.scene.ref, id=scene)
    return replace(plan, scene=replace(plan.scene, ref=ref), folder=output / scene)


@pytest.fixture(autouse=True)
def small_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "_LEAST_ROWS", 64)


def succeeded(task: Task) -> Finished:
    if isinstance(task, AssembleTask | FinishTask):
        return Finished(task, AssembledScene(7, ()))
    if isinstance(task, StepTask):
        return Finished(task, Written((), 7))
    name = task.rows.name if isinstance(task, SectionTask) else task.name
    manifest = PartialManifest(name=name, fingerprint="f", files={}, windows=1, skipped=0, seconds=0.5)
    return Finished(task, manifest)


def assert_possible(task: Task, finished: list[Task]) -> None:
    """What a task needs is there, in order, and it does not come twice."""
    assert task not in finished
    before = [other for other in finished if other.plan is task.plan]
    predicted = [one.name for one in task.plan.tasks]
    steps = [other.step for other in before if isinstance(other, StepTask)]
    if isinstance(task, SectionTask):
        names = {other.name for other in before if isinstance(other, PredictTask)}
        assert names.issuperset(task.rows.partials)
        assert [partial.name for partial in task.partials] == list(task.rows.partials)
    elif isinstance(task, JointTask):
        found = {other.rows.name: other.rows for other in before if isinstance(other, SectionTask)}
        upper, lower = (found[section.name] for section in task.sections)
        assert upper.stop == lower.first == task.row
        assert {partial.name for partial in task.partials} == {*upper.partials, *lower.partials}
    elif not isinstance(task, PredictTask) and task.partials:
        assert [partial.name for partial in task.partials] == predicted, "all, from the top"
    if isinstance(task, StepTask):
        assert task.step == STEPS[0] or STEPS[0] in steps, "the older map is removed first"
        assert (task.found is not None) == (task.step == "polygons")
        if task.found is not None:
            wanted = plan_sections(task.plan)
            assert [section.name for section in task.found.sections] == [one.name for one in wanted]
            assert [joint.name for joint in task.found.joints] == [
                f"joint-{one.first:07d}" for one in wanted[1:]
            ]
    if isinstance(task, FinishTask):
        assert set(steps) == set(STEPS)


def drive(driver: Driver, data: st.DataObject) -> dict[str, BaseException]:
    """Run everything in some order, with some errors; returns the first error of each scene that has one."""
    slots = data.draw(st.integers(1, 6))
    first_error: dict[str, BaseException] = {}
    running: list[Task] = []
    finished: list[Task] = []
    driver.start("here", slots=slots)
    while True:
        while len(running) < slots and (task := driver.next_task()) is not None:
            assert slots == 1 or not isinstance(task, AssembleTask) or not task.partials
            assert task not in running
            assert_possible(task, finished)
            running.append(task)
        if not running:
            return first_error
        task = running.pop(data.draw(st.integers(0, len(running) - 1)))
        error = data.draw(st.one_of(st.none(), st.none(), st.none(), st.sampled_from(ENDS)))
        if error is None:
            finished.append(task)
            driver.take(succeeded(task))
        else:
            first_error.setdefault(task.plan.scene.ref.id, error)
            driver.take(Finished(task, error=error))


@settings(max_examples=100)
@given(st.data())
def test_every_scene_ends_once_and_as_its_first_error_says(
    plan: Plan, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    output = tmp_path_factory.mktemp("maps")
    events: list[Event] = []
    driver = Driver(events.append)
    drawn = data.draw(st.lists(st.sampled_from(["predict", "reuse", "skip"]), min_size=1, max_size=5))
    ways = {f"scene{number}": way for number, way in enumerate(drawn)}
    for scene, way in ways.items():
        if way == "skip":
            driver.end(SceneOutcome(scene, "skipped"))
        else:
            (driver.predict if way == "predict" else driver.reuse)(named(plan, scene, output))
    errors = drive(driver, data)
    assert set(driver.outcomes) == set(ways)
    reported = [event for event in events if isinstance(event, SceneOutcome)]
    assert reported == list(driver.outcomes.values())
    for scene, way in ways.items():
        error = errors.get(scene)
        expected = "refused" if error in ERRORS["refused"] else "failed" if error is not None else "done"
        assert driver.outcomes[scene].status == ("skipped" if way == "skip" else expected)
        assert "\n" not in driver.outcomes[scene].reason
    assert driver.errors == [errors[outcome.scene] for outcome in reported if outcome.status == "failed"]
    for outcome in reported:
        if outcome.status == "done":
            pixels = [
                e.pixels for e in events if isinstance(e, WindowRowsFinished) and e.scene == outcome.scene
            ]
            predicted = ways[outcome.scene] == "predict"
            assert sum(pixels) == pytest.approx(plan.grid.window.pixels * predicted, abs=3)
            assert (outcome.reason == "") == predicted
            assert outcome.polygons == 7


def test_what_one_task_predicts_one_task_assembles(plan: Plan, tmp_path: Path) -> None:
    whole = replace(plan.tiles, window_rows=plan.tiles.grid.window_rows(len(plan.tiles.grid.rows)))
    driver = Driver(lambda _: None)
    driver.predict(named(replace(plan, tiles=whole), "scene", tmp_path))
    driver.start("here", slots=2)
    tasks = []
    while (task := driver.next_task()) is not None:
        tasks.append(type(task))
        driver.take(succeeded(task))
    assert tasks == [PredictTask, AssembleTask]
    assert driver.outcomes["scene"].status == "done"


def test_assembling_comes_before_predicting(plan: Plan, tmp_path: Path) -> None:
    driver = Driver(lambda _: None)
    driver.predict(named(plan, "first", tmp_path))
    driver.predict(named(plan, "second", tmp_path))
    for _ in plan.tasks:
        task = driver.next_task()
        assert isinstance(task, PredictTask)
        driver.take(succeeded(task))
    assert isinstance(driver.next_task(), AssembleTask)
    assert isinstance(driver.next_task(), PredictTask)


@pytest.mark.parametrize(("error", "stays"), [(SceneError("no"), False), (RunError("no"), True)])
def test_what_comes_late_for_a_refused_scene_is_removed(
    plan: Plan, tmp_path: Path, error: Exception, *, stays: bool
) -> None:
    driver = Driver(lambda _: None)
    driver.predict(named(plan, "scene", tmp_path))
    early, late = driver.next_task(), driver.next_task()
    assert early is not None
    assert late is not None
    driver.take(Finished(early, error=error))
    late.plan.partials_folder.mkdir(parents=True)
    driver.take(succeeded(late))
    assert late.plan.folder.exists() == stays
    assert driver.next_task() is None, "the scene has ended"


def test_the_start_counts_what_is_to_be_predicted(plan: Plan, tmp_path: Path) -> None:
    events: list[Event] = []
    driver = Driver(events.append)
    driver.predict(named(plan, "one", tmp_path))
    driver.reuse(named(plan, "other", tmp_path))
    driver.start("one process")
    assert events == [RunStarted(2, 3, plan.grid.window.pixels, "one process")]
    assert driver.tasks == 4


def test_the_last_predictions_of_a_scene_come_before_the_search_for_its_objects(
    plan: Plan, tmp_path: Path
) -> None:
    tiles = replace(plan.tiles, window_rows=plan.tiles.grid.window_rows(1))
    driver = Driver(lambda _: None)
    for name in ("one", "two"):
        driver.predict(named(replace(plan, tiles=tiles), name, tmp_path))
    one, two = driver.plans
    driver.start("here", slots=2)
    waiting = {one.folder: len(one.tasks), two.folder: len(two.tasks)}
    assert len(one.tasks) > 4
    left_at_searches: list[int] = []
    while (task := driver.next_task()) is not None:
        if isinstance(task, PredictTask):
            waiting[task.plan.folder] -= 1
        elif isinstance(task, SectionTask | JointTask):
            left_at_searches.append(waiting[task.plan.folder])
        driver.take(succeeded(task))
    assert {left for left in left_at_searches if left} == {left for left in left_at_searches if left > 4}
    assert left_at_searches.count(0) > 2


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_a_worker_is_told_what_it_will_probably_read_next(plan: Plan, tmp_path: Path, slots: int) -> None:
    tiles = replace(plan.tiles, window_rows=plan.tiles.grid.window_rows(1))
    driver = Driver(lambda _: None)
    for name in ("one", "two"):
        driver.predict(named(replace(plan, tiles=tiles), name, tmp_path))
    driver.start("here", slots=slots)
    given = [task for task in iter(driver.next_task, None) if isinstance(task, PredictTask)]
    assert len(given) == 2 * len(tiles.window_rows)
    for task, later in zip(given, [*given[slots:], *[None] * slots], strict=True):
        same = later is not None and later.plan is task.plan
        assert task.ahead == (later.windows[: plan.tiles.batch] if later is not None and same else ())
