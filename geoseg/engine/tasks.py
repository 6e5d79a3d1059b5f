"""All that a worker does of a scene: tasks, each a small value, and what each is done by."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from typing import Any

from geoseg.engine.assemble import AssembleTask, FinishTask, StepTask, assemble, assemble_step, finish
from geoseg.engine.plan import PredictTask
from geoseg.engine.predict import predict_window_rows
from geoseg.engine.sections import JointTask, SectionTask, find_in_joint, find_in_section
from geoseg.stages import Span, add_span, is_recording, recording, stage

__all__ = ["Recorded", "Task", "perform", "perform_recorded"]

Task = PredictTask | SectionTask | JointTask | StepTask | FinishTask | AssembleTask


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a task returned, and the stages of its work."""

    value: Any
    spans: tuple[Span, ...]
    process: tuple[str, int]
    """Name of the machine, and number of the process."""


_seen = [0.0]
"""CPU time of this process that the stages of earlier tasks account for."""


def perform_recorded(task: Task, *, alone: bool) -> Recorded:
    """Do a task and record its stages; ``alone``: nothing else computes in this process meanwhile.

    Where this thread's stages are recorded anyway, these are among them.
    """
    if is_recording():
        with stage("task"):
            return Recorded(perform(task), (), _process())
    with recording(time.process_time if alone else time.thread_time) as spans:
        if alone:  # imports before the first task, dask's messages before any other
            cpu = time.process_time() - _seen[0]
            if _seen[0]:
                add_span("between tasks", cpu=cpu)
            else:
                add_span("start", cpu=cpu, wall=cpu)
        with stage("task"):
            value = perform(task)
        _seen[0] = time.process_time()
    return Recorded(value, tuple(spans), _process())


def _process() -> tuple[str, int]:
    return socket.gethostname(), os.getpid()


def perform(task: Task) -> Any:
    """Do a task; what it returns is small."""
    match task:
        case PredictTask():
            return predict_window_rows(task)
        case SectionTask():
            return find_in_section(task)
        case JointTask():
            return find_in_joint(task)
        case StepTask():
            return assemble_step(task)
        case FinishTask():
            return finish(task)
        case AssembleTask():
            return assemble(task)
