"""All that a worker does of a scene: tasks, each a small value, and what each is done by."""

from __future__ import annotations

from typing import Any

from geoseg.engine.assemble import AssembleTask, FinishTask, StepTask, assemble, assemble_step, finish
from geoseg.engine.plan import PredictTask
from geoseg.engine.predict import predict_window_rows
from geoseg.engine.sections import SectionTask, find_in_section

__all__ = ["Task", "perform"]

Task = PredictTask | SectionTask | StepTask | FinishTask | AssembleTask


def perform(task: Task) -> Any:
    """Do a task; what it returns is small."""
    match task:
        case PredictTask():
            return predict_window_rows(task)
        case SectionTask():
            return find_in_section(task)
        case StepTask():
            return assemble_step(task)
        case FinishTask():
            return finish(task)
        case AssembleTask():
            return assemble(task)
