"""Score the maps of a workflow that has been run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.config.stac.refs import LabelRef
from geoseg.config.workflow import Workflow
from geoseg.errors import GeosegError
from geoseg.flow.evaluate.evaluate import SCORE_NAME, check_reference, evaluate_run
from geoseg.flow.evaluate.objects import Outlined
from geoseg.flow.evaluate.worst import WORST_NAME, draw_worst
from geoseg.io.stac.read import load_catalog
from geoseg.io.yaml.workflow_file import load_workflow
from geoseg.models.bundle import load_bundle
from geoseg.score.pixels.boundary import DEFAULT_WIDTH, BoundaryWidth
from geoseg.score.report.values import ScoreReport

__all__ = ["evaluate_workflow"]


def evaluate_workflow(
    source: str | Path | Workflow,
    overrides: Mapping[str, Any] | None = None,
    *,
    asset: str | None = None,
    reference: LabelRef | None = None,
    width: BoundaryWidth = DEFAULT_WIDTH,
    worst: int = 0,
) -> ScoreReport:
    """Score a workflow's maps; draw where they are worst.

    See :func:`~geoseg.flow.evaluate.evaluate.evaluate_run`.

    Args:
        source: workflow file, or a workflow made in Python.
        overrides: ``--set`` values by dotted key, those that the run was given.
        asset: key of the label asset; default: the workflow's ``evaluate.asset``.
        reference: one reference for all scenes, in place of the catalog's.
        width: of the boundary.
        worst: windows to draw in ``worst.png`` beside ``score.json``; 0: none.

    Raises:
        ConfigError, CatalogError, BundleError: the workflow, its catalog or its model cannot be read, or its
            polygons have the name of the errors.
        LabelError: no scene could be scored.
        SceneError: a scene cannot be read any more, to be drawn.
        OutputError: the report or the picture cannot be written.
    """
    check_reference(reference)
    loaded = load_workflow(source, overrides)
    workflow = loaded.workflow
    scenes = load_catalog(loaded.catalog, workflow.scenes.trust, workflow.scenes.ids).scenes
    if asset is None and workflow.evaluate is not None:
        asset = workflow.evaluate.asset
    spec = load_bundle(loaded.model).spec
    evaluated = evaluate_run(
        loaded.output,
        scenes,
        spec.classes,
        bands=workflow.scenes.bands or spec.bands,
        asset=asset,
        reference=reference,
        width=width,
        outlined=Outlined.of(workflow.vectorize),
    )
    picture = loaded.output / WORST_NAME
    try:
        if worst:
            draw_worst(picture, evaluated, scenes, spec, reading=workflow.scenes, count=worst)
    except GeosegError as error:
        raise type(error)(
            f"{error}; {SCORE_NAME} is written, {WORST_NAME} is not (--worst 0 leaves it out)"
        ) from error
    return evaluated.report
