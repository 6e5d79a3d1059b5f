"""One scene's assembly: its probabilities become rasters, polygons, styles and, last of all, the manifest.

It has four steps, which one task does in turn, or several tasks share:

    classes ──┬──▶ probability ──┬──▶ item
              └──▶ polygons ─────┘
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from geoseg.engine.finished import (
    ITEM_NAME,
    PREDICTION_FINGERPRINT,
    PROBABILITY_NAME,
    RULES_PROPERTY,
    WARNINGS_PROPERTY,
    FinishedMap,
    ReusedProbabilities,
)
from geoseg.engine.outputs import Probabilities, write_classes, write_polygons, write_probability
from geoseg.engine.partials import PartialManifest, discard_partials
from geoseg.engine.plan import RULES, Plan
from geoseg.engine.probabilities import PartialProbabilities
from geoseg.engine.sections import FoundObjects
from geoseg.errors import OutputError, of_scene
from geoseg.io.files import output_error, sweep_temporaries, write_json
from geoseg.io.raster.scene import verify_checksums
from geoseg.io.raster.scene_reader import close_kept_reader, without_data
from geoseg.io.stac.write import scene_item
from geoseg.stages import stage

__all__ = [
    "STEPS",
    "AssembleTask",
    "AssembledScene",
    "Step",
    "StepTask",
    "Written",
    "assemble",
    "assemble_step",
]

Step = Literal["classes", "probability", "polygons"]
STEPS: Final[tuple[Step, ...]] = ("classes", "probability", "polygons")
"""The steps before the item. The first makes room: it removes the map that is to be replaced."""


@dataclass(frozen=True, slots=True)
class AssembleTask:
    """A scene whose probabilities are there, as partial results or in the raster of an older map."""

    plan: Plan
    partials: tuple[PartialManifest, ...]
    """Manifests of its partial results, top to bottom; empty: those of the map that is there are reused."""


@dataclass(frozen=True, slots=True)
class StepTask:
    """One step of the assembly of a scene that has all its partial results."""

    plan: Plan
    partials: tuple[PartialManifest, ...]
    step: Step
    found: FoundObjects | None = None
    """Of the polygons; None: they are made of the probabilities."""


@dataclass(frozen=True, slots=True)
class FinishTask:
    """The last step of the assembly, when the others are done."""

    plan: Plan
    partials: tuple[PartialManifest, ...]
    written: tuple[Written, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What a step of an assembly returns."""

    files: tuple[Path, ...]
    polygons: int | None = None
    """Polygons written; None: none were asked for."""


@dataclass(frozen=True, slots=True)
class AssembledScene:
    """What an assembly returns; the rest is in the item that it wrote."""

    polygons: int | None
    """Polygons written; None: none were asked for."""
    warnings: tuple[str, ...]
    """What the user should know of the map."""


def assemble(task: AssembleTask) -> AssembledScene:
    """Write a scene's outputs; ``item.json`` is written last, then all partial results are removed.

    An older map is removed first, except the raster that probabilities are reused from: two configurations
    need not write files of the same names.

    Raises:
        SceneError: a file of the scene is not the one that its catalog describes, or none of its pixels is
            valid: nothing is written.
        OutputError: a partial result is gone, or an output cannot be written or verified.
    """
    plan, partials = task.plan, task.partials
    close_kept_reader()
    with of_scene(plan.scene.ref.id):
        if partials:
            written = [_step(plan, partials, step) for step in STEPS]
            return _finish(plan, _windows(partials), _warnings(plan, partials), written)
        found = FinishedMap.read(plan.folder)
        if found is None or not found.can_reuse(plan):
            raise OutputError(f"{plan.folder}: the map that was to be used has changed; run again")
        if not found.windows[0]:
            raise without_data(plan.scene)
        found.check_probabilities()
        _remove_map(plan.folder, except_for=[plan.folder / PROBABILITY_NAME])
        probabilities = ReusedProbabilities(plan)
        written = [_write(plan, probabilities, step) for step in STEPS]
        return _finish(plan, found.windows, [*plan.warnings, *found.warnings], written)


def assemble_step(task: StepTask) -> Written:
    """Do one step of what :func:`assemble` does."""
    close_kept_reader()
    with of_scene(task.plan.scene.ref.id):
        return _step(task.plan, task.partials, task.step, task.found)


def finish(task: FinishTask) -> AssembledScene:
    """Do the last step: write ``item.json`` and remove all partial results."""
    with of_scene(task.plan.scene.ref.id):
        warnings = _warnings(task.plan, task.partials)
        return _finish(task.plan, _windows(task.partials), warnings, task.written)


def _step(
    plan: Plan, partials: Sequence[PartialManifest], step: Step, found: FoundObjects | None = None
) -> Written:
    if step == STEPS[0]:
        with stage("verify sources"):
            verify_checksums(plan.scene)
        if not _windows(partials)[0]:
            raise without_data(plan.scene)
        _remove_map(plan.folder, except_for=[])
    return _write(plan, PartialProbabilities(plan, partials), step, found)


def _write(
    plan: Plan, probabilities: Probabilities, step: Step, found: FoundObjects | None = None
) -> Written:
    if step == "classes":
        return Written(write_classes(plan, probabilities))
    if step == "probability":
        return Written(write_probability(plan, probabilities))
    if plan.vectorize is None:
        return Written(())
    count, files = write_polygons(plan, probabilities, found)
    return Written(files, count)


def _windows(partials: Sequence[PartialManifest]) -> tuple[int, int]:
    """Windows that were predicted, and those without data, which were not."""
    return sum(part.windows for part in partials), sum(part.skipped for part in partials)


def _warnings(plan: Plan, partials: Sequence[PartialManifest]) -> list[str]:
    """Those of the plan, then what a sample of the scene showed."""
    return [*plan.warnings, *(line for part in partials for line in part.warnings)]


def _finish(
    plan: Plan, windows: tuple[int, int], warnings: Sequence[str], written: Sequence[Written]
) -> AssembledScene:
    polygons = next((one.polygons for one in written if one.polygons is not None), None)
    once = tuple(dict.fromkeys(warnings))
    files = sorted((file for one in written for file in one.files), key=lambda file: file.suffix != ".tif")
    with stage("item"):
        _write_item(plan, windows, once, files, polygons)
    return AssembledScene(polygons, once)


def _write_item(
    plan: Plan, windows: tuple[int, int], warnings: Sequence[str], files: Sequence[Path], polygons: int | None
) -> None:
    """Write the manifest; from then on the map is there."""
    item = scene_item(
        scene=plan.scene.ref.id,
        geobox=plan.grid,
        acquired=plan.scene.ref.acquired,
        outputs=files,  # rasters first, for whoever shows the first asset
        folder=plan.folder,
        model=plan.bundle.spec,
        properties={
            "geoseg:fingerprint": plan.fingerprint,
            PREDICTION_FINGERPRINT: plan.prediction_fingerprint if plan.is_reusable else None,
            RULES_PROPERTY: RULES,
            WARNINGS_PROPERTY: list(warnings),
            "geoseg:nodata_rule": plan.scene.nodata.rule,
            "geoseg:nodata": list(plan.scene.nodata.values),
            "geoseg:polygons": polygons,
            "geoseg:mode": None if plan.vectorize is None else plan.vectorize.mode,
            "geoseg:windows": windows[0],
            "geoseg:windows_without_data": windows[1],
        },
    )
    write_json(plan.folder / ITEM_NAME, item)
    discard_partials(plan.folder)


def _remove_map(folder: Path, *, except_for: Collection[Path]) -> None:
    """Remove the map that is to be replaced, its manifest last, and temporary files that a crash left."""
    sweep_temporaries(folder)
    found = FinishedMap.read(folder)
    for path in (*(found.sizes if found else ()), folder / ITEM_NAME):
        try:
            if path not in except_for:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(path, error) from error
