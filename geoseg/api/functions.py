"""The calls that pass on: score a workflow's maps, train a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.config.stac.refs import LabelRef
from geoseg.config.workflow import Workflow
from geoseg.errors import ConfigError
from geoseg.flow.evaluate.evaluate import evaluate_workflow
from geoseg.flow.train.train import TrainSummary
from geoseg.flow.train.train import train as train_by_file
from geoseg.score.report.values import ScoreReport

__all__ = ["evaluate", "train"]


def evaluate(
    workflow: str | Path | Workflow,
    overrides: Mapping[str, Any] | None = None,
    *,
    asset: str | None = None,
    reference: str | Path | None = None,
    area: str | Path | None = None,
    worst: int = 0,
) -> ScoreReport:
    """Score the maps of a workflow that has been run, pixels and objects; ``score.json`` is written.

    Args:
        workflow: workflow file, or a workflow.
        overrides: values by dotted key, those that the run was given.
        asset: key of the label asset in the catalog; default: the workflow's ``evaluate.asset``.
        reference: polygons or a raster that all scenes are compared with, in place of the catalog's.
        area: polygons inside which ``reference`` is complete.
        worst: windows to draw in ``worst.png``; 0: none.

    Raises:
        ConfigError, CatalogError, BundleError: the workflow, its catalog or its model cannot be read; an
            area without a reference.
        LabelError: no scene could be scored.
        SceneError: a scene cannot be read any more, to be drawn.
        OutputError: the report or the picture cannot be written.
        RunError: a picture is asked for, and matplotlib is not installed.
    """
    label = None
    if area is not None and reference is None:
        raise ConfigError("area describes a reference: give the reference, too")
    if reference is not None:
        area_href = None if area is None else str(Path(area).absolute())
        label = LabelRef(str(Path(reference).absolute()), area_href=area_href)
    return evaluate_workflow(workflow, overrides, asset=asset, reference=label, worst=worst)


def train(path: str | Path, overrides: Mapping[str, Any] | None = None) -> TrainSummary:
    """Train a network by a training file, or go on with a training that was stopped in the same folder.

    Call it in a script under ``if __name__ == "__main__":``: processes that cut chips import the script.

    Args:
        path: training file.
        overrides: values by dotted key, such as ``{"train.steps": 500}``.

    Returns:
        The trained model in ``bundle``, scores before and after, and the output folder.

    Raises:
        GeosegError: a mistake in the file, its data or its labels, found before any work.
    """
    return train_by_file(path, overrides)
