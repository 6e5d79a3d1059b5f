"""Sections of a scene: the objects inside some rows, found as soon as these are predicted, by any worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from geoseg.arrays import UInt8
from geoseg.engine.bounds import POLYGON_STRIP
from geoseg.engine.loops.exercise import compile_loops
from geoseg.engine.partials import PartialManifest, find_partial, open_partial, write_partial
from geoseg.engine.plan import RULES, Plan
from geoseg.engine.probabilities import PartialProbabilities, needed_partials
from geoseg.engine.vectorize import (
    ProbabilityRaster,
    SceneRows,
    find_objects_across,
    find_objects_between,
    join_objects,
)
from geoseg.errors import of_scene
from geoseg.polygons.objects.sections import Section
from geoseg.polygons.shapes import Shapes

__all__ = [
    "FoundObjects",
    "JointTask",
    "SectionRows",
    "SectionTask",
    "find_in_joint",
    "find_in_section",
    "joined_shapes",
    "plan_sections",
]

_LEAST_ROWS: Final = 512
"""Fewest rows of a section: around each place where two meet, some hundred rows are traced again."""
_PACKED: Final = "objects"


@dataclass(frozen=True, slots=True)
class SectionRows:
    """Rows of the model's grid, ``[first, stop)``, and the partial results that they are made of, by name."""

    first: int
    stop: int
    partials: tuple[str, ...]

    @property
    def name(self) -> str:
        """File stem of what is found in them."""
        return f"section-{self.first:07d}-{self.stop:07d}"


@dataclass(frozen=True, slots=True)
class SectionTask:
    """A section whose probabilities are there."""

    plan: Plan
    rows: SectionRows
    partials: tuple[PartialManifest, ...]


@dataclass(frozen=True, slots=True)
class JointTask:
    """Two sections that were found, one below the other."""

    plan: Plan
    sections: tuple[PartialManifest, PartialManifest]
    partials: tuple[PartialManifest, ...]
    """What the rows of both are made of."""
    row: int
    """Where they meet."""

    @property
    def name(self) -> str:
        """File stem of what is found in them."""
        return f"joint-{self.row:07d}"


@dataclass(frozen=True, slots=True)
class FoundObjects:
    """What was found of a scene's objects, from the top."""

    sections: tuple[PartialManifest, ...]
    joints: tuple[PartialManifest, ...]


def plan_sections(plan: Plan) -> tuple[SectionRows, ...]:
    """The sections of a scene, from the top; none where its polygons are no objects.

    Each ends where a task's finished rows begin, so that it waits for few tasks.
    """
    if plan.vectorize is None or plan.vectorize.mode != "objects":
        return ()
    tasks = [plan.stitcher.finished_rows(rows)[0] for rows in plan.tiles.window_rows]
    starts = [0]
    for first, stop in pairwise([*tasks, plan.grid.height]):
        parts = max(1, (stop - first) // _LEAST_ROWS)
        for start in (first + (stop - first) * part // parts for part in range(parts)):
            if min(start - starts[-1], plan.grid.height - start) >= _LEAST_ROWS:
                starts.append(start)
    ends = [*starts[1:], plan.grid.height]
    return tuple(
        SectionRows(first, stop, tuple(needed_partials(plan, first, stop)))
        for first, stop in zip(starts, ends, strict=True)
    )


def find_in_section(task: SectionTask) -> PartialManifest:
    """Leave the objects inside a section as a partial result, or find them there; what a worker runs.

    Raises:
        SceneError: an object lies nowhere on the ground.
        OutputError: a partial result is gone or cannot be written.
    """
    with of_scene(task.plan.scene.ref.id):
        return _kept(task.plan, task.rows.name, lambda: _inside(task))


def find_in_joint(task: JointTask) -> PartialManifest:
    """The same of the objects that two sections share."""
    with of_scene(task.plan.scene.ref.id):
        return _kept(task.plan, task.name, lambda: _across(task))


def _inside(task: SectionTask) -> Section:
    plan, rows = task.plan, task.rows
    assert plan.vectorize is not None
    strips = _rows(plan, PartialProbabilities(plan, task.partials)).strips(rows.first, rows.stop)
    raster = ProbabilityRaster(plan.grid, plan.encoding, lambda: strips)
    return find_objects_between(raster, (rows.first, rows.stop), list(plan.outlined), plan.vectorize)


def _across(task: JointTask) -> Section:
    plan = task.plan
    assert plan.vectorize is not None
    upper, lower = (_opened(plan, one) for one in task.sections)
    rows = _rows(plan, PartialProbabilities(plan, task.partials))
    return find_objects_across(rows, upper, lower, list(plan.outlined), plan.vectorize)


def _kept(plan: Plan, name: str, find: Callable[[], Section]) -> PartialManifest:
    """A partial result of this name, found there or made now."""
    start = time.perf_counter()
    done = find_partial(plan.partials_folder, name, plan.fingerprint)
    if done is not None:
        return done
    assert plan.vectorize is not None
    compile_loops(plan.vectorize.mode)
    section = find()
    manifest = PartialManifest(
        name=name,
        fingerprint=plan.fingerprint,
        files={},
        windows=0,
        skipped=0,
        seconds=time.perf_counter() - start,
        rules=RULES,
    )
    return write_partial(plan.partials_folder, {_PACKED: section.pack()}, manifest)


def joined_shapes(plan: Plan, probabilities: PartialProbabilities, found: FoundObjects) -> Iterator[Shapes]:
    """A scene's polygons, of all its sections, from the top."""
    assert plan.vectorize is not None
    sections, joints = ([_opened(plan, one) for one in some] for some in (found.sections, found.joints))
    return join_objects(_rows(plan, probabilities), sections, joints, list(plan.outlined), plan.vectorize)


def _opened(plan: Plan, found: PartialManifest) -> Section:
    return Section.unpack(open_partial(plan.partials_folder, found, _PACKED))


def _rows(plan: Plan, probabilities: PartialProbabilities) -> SceneRows:
    """Rows of the model's grid."""
    rows = max(1, POLYGON_STRIP // plan.grid.width)

    def strips(first: int, stop: int) -> Iterator[UInt8]:
        return (stored for _, stored in probabilities.strips(rows, (first, stop)))

    return SceneRows(plan.grid, plan.encoding, strips)
