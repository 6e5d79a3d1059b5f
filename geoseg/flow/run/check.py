"""Find every mistake of a workflow before it runs: what passes does not fail for what could be known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from geoseg.config.workflow import Workflow
from geoseg.engine.finished import FinishedMap
from geoseg.engine.partials import oldest_rules
from geoseg.engine.plan import RULES, Plan
from geoseg.errors import ConfigError, GeosegError, OutputError, of_scene
from geoseg.flow.run.prepare import Prepared, Refusal, prepare
from geoseg.io.files import check_writable, free_bytes

__all__ = ["check_workflow", "obstacle"]


def check_workflow(
    source: str | Path | Workflow, overrides: Mapping[str, Any] | None = None, *, overwrite: bool = False
) -> Prepared:
    """Prepare a workflow and look at all that a run would meet later: some pixels, folders, labels.

    Nothing is written. ``overwrite``: as the run will be given.

    Raises:
        GeosegError: as :func:`prepare`; a label asset that no labeled scene has; an output that
            cannot be written, a scheduler that does not answer.
    """
    prepared = prepare(source, overrides, sample=True)
    workflow = prepared.loaded.workflow
    if prepared.misnamed_labels is not None:
        raise ConfigError(prepared.misnamed_labels)
    check_writable(prepared.loaded.output)
    plans: list[Plan] = []
    refused = list(prepared.refused)
    asset = None if workflow.evaluate is None else workflow.evaluate.asset
    for plan in prepared.plans:
        scene = plan.scene.ref.id
        found = obstacle(plan, FinishedMap.read(plan.folder), overwrite=overwrite)
        try:
            with of_scene(scene):
                if found is not None:
                    raise OutputError(found.reason)
                _check_labels(plan, asset)
        except GeosegError as error:
            refused.append(Refusal(scene, str(error)))
        else:
            plans.append(plan)
    return replace(prepared, plans=tuple(plans), refused=tuple(refused))


class Obstacle(NamedTuple):
    """Why a scene is not mapped."""

    status: Literal["kept", "refused"]
    """kept: its folder holds the map or partial results of another configuration or version, which stay."""
    reason: str


def obstacle(plan: Plan, found: FinishedMap | None, *, overwrite: bool) -> Obstacle | None:
    """Why a scene is not mapped, its folder being as it is; None: it is. ``found``: the map in the folder."""
    whole = found is not None and found.whole
    if found is not None and whole and found.fingerprint == plan.fingerprint:
        return None
    if not overwrite and (older := _older_rules(plan, found)) is not None:
        return Obstacle("kept", older)
    can_reuse = found is not None and found.can_reuse(plan)
    if found is not None and whole and not overwrite:
        reuse = ", which recomputes it from its probabilities" if can_reuse else ""
        return Obstacle(
            "kept",
            f"{plan.folder} holds a map made by another configuration, model or version "
            f"({found.fingerprint[:8]}, now {plan.fingerprint[:8]}); choose another output or pass "
            f"--overwrite{reuse}",
        )
    lacking = None if can_reuse else _lacking_disk(plan)
    return None if lacking is None else Obstacle("refused", lacking)


def _older_rules(plan: Plan, found: FinishedMap | None) -> str | None:
    """Why a scene is not mapped where an older version left a map or partial results in its folder."""
    if found is not None and found.whole:
        what, rules = "a map", found.rules
    else:
        what, rules = "partial results", oldest_rules(plan.folder) or RULES
    if rules >= RULES:
        return None
    return (
        f"{plan.folder} holds {what} made under rules {rules} of what pixels mean, now {RULES}: kept, and "
        "not reused; choose another output or pass --overwrite"
    )


def _lacking_disk(plan: Plan) -> str | None:
    """Why a scene certainly cannot be mapped: not even its partial results would fit the disk."""
    free = free_bytes(plan.folder)
    need = plan.grid.window.pixels * plan.encoding.count
    if need <= free or plan.partials_folder.exists():
        return None
    return (
        f"{plan.folder}: needs at least {need / 1e6:.1f} MB of disk but {free / 1e6:.1f} MB are free; "
        "free space or choose another output"
    )


def _check_labels(plan: Plan, asset: str | None) -> None:
    """Read the labels that a run would score against, as it does."""
    label = dict(plan.scene.ref.labels).get(asset) if asset is not None else None
    if label is None:
        return
    from geoseg.flow.evaluate.scene import Pair, label_reader, strips  # noqa: PLC0415 - so do vector formats
    from geoseg.score.pixels.confusion import Confusion  # noqa: PLC0415 - with it

    classes = len(plan.bundle.spec.classes)
    pair = Pair(plan.scene.ref.id, plan.folder, label, lambda: plan.scene.geobox)
    reader = label_reader(pair, plan.grid)
    if reader.polygons is not None:
        ids = reader.polygons.values[None]
        Confusion.of(ids, np.zeros_like(ids), classes)
        return
    for window in strips(plan.grid):
        ids = reader.read(window)
        Confusion.of(ids, np.zeros_like(ids), classes)
