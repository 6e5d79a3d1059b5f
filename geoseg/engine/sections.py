"""Sections of a scene: the objects inside some rows, found as soon as these are predicted, by any worker."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from geoseg.arrays import UInt8
from geoseg.engine.bounds import POLYGON_STRIP
from geoseg.engine.exercise import compile_loops
from geoseg.engine.partials import PartialManifest, find_partial, open_partial, write_partial
from geoseg.engine.plan import RULES, Plan
from geoseg.engine.probabilities import PartialProbabilities, needed_partials
from geoseg.engine.vectorize import ProbabilityRaster, find_objects_between, join_objects
from geoseg.errors import of_scene
from geoseg.polygons.objects.sections import Section
from geoseg.polygons.shapes import Shapes

__all__ = ["SectionRows", "SectionTask", "find_in_section", "joined_shapes", "plan_sections"]

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


def plan_sections(plan: Plan) -> tuple[SectionRows, ...]:
    """The sections of a scene, from the top; none where its polygons are no objects.

    Each ends where a task's finished rows begin, so that it waits for few tasks.
    """
    if plan.vectorize is None or plan.vectorize.mode != "objects":
        return ()
    starts = [0]
    for rows in plan.tiles.window_rows:
        first = plan.stitcher.finished_rows(rows)[0]
        if min(first - starts[-1], plan.grid.height - first) >= _LEAST_ROWS:
            starts.append(first)
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
        return _find_in_section(task)


def _find_in_section(task: SectionTask) -> PartialManifest:
    start = time.perf_counter()
    plan, rows = task.plan, task.rows
    done = find_partial(plan.partials_folder, rows.name, plan.fingerprint)
    if done is not None:
        return done
    assert plan.vectorize is not None
    compile_loops(plan.vectorize.mode)
    strips = _strips(plan, PartialProbabilities(plan, task.partials), rows.first, rows.stop)
    raster = ProbabilityRaster(plan.grid, plan.encoding, lambda: strips)
    section = find_objects_between(raster, (rows.first, rows.stop), list(plan.outlined), plan.vectorize)
    manifest = PartialManifest(
        name=rows.name,
        fingerprint=plan.fingerprint,
        files={},
        windows=0,
        skipped=0,
        seconds=time.perf_counter() - start,
        rules=RULES,
    )
    return write_partial(plan.partials_folder, {_PACKED: section.pack()}, manifest)


def joined_shapes(
    plan: Plan, probabilities: PartialProbabilities, sections: Sequence[PartialManifest]
) -> Iterator[Shapes]:
    """A scene's polygons, of all its sections, from the top."""
    assert plan.vectorize is not None
    found = [Section.unpack(open_partial(plan.partials_folder, one, _PACKED)) for one in sections]
    return join_objects(
        plan.grid,
        plan.encoding,
        lambda first, stop: _strips(plan, probabilities, first, stop),
        found,
        classes=list(plan.outlined),
        options=plan.vectorize,
    )


def _strips(plan: Plan, probabilities: PartialProbabilities, first: int, stop: int) -> Iterator[UInt8]:
    """The rows of the model's grid from one to before another, some at a time."""
    rows = max(1, POLYGON_STRIP // plan.grid.width)
    return (stored for _, stored in probabilities.strips(rows, (first, stop)))
