"""Every loop compiled ahead, so that the first map waits for none: ``geoseg doctor --compile``."""

from __future__ import annotations

import tempfile

import numpy as np

from geoseg.compiled import compile_once
from geoseg.engine.loops.exercise import EXERCISES
from geoseg.flow.run.run import run
from geoseg.grid.resample import SUMMED, Axis, Resampler
from geoseg.grid.window import Window
from geoseg.io.yaml.files import shared_workflow

__all__ = ["compile_all", "exercise_all"]


def compile_all() -> None:
    """Compile all loops that are not yet, or wait for the process that does."""
    for exercise in EXERCISES.values():
        compile_once(exercise)
    compile_once(exercise_all)


def exercise_all() -> None:
    """Call the loops that read, scale and score: resample each type, and map and score the shipped scenes."""
    axis = Axis(8, 5, 8.0)
    resampler = Resampler(axis, axis)
    for kind in sorted(SUMMED):
        resampler.values([np.ones((8, 8), kind)], np.ones((8, 8), np.bool_), Window(0, 0, 5, 5))
    for name in ("austin_buildings", "landcover"):
        with tempfile.TemporaryDirectory() as folder:
            run(shared_workflow(name), {"output": folder, "compute.executor": "serial"})
