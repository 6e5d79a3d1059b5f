"""What is compiled ahead is all that a map calls."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """
import gc, json, sys
from geoseg.compiled import _Loop
from geoseg.engine.loops.exercise import EXERCISES
from geoseg.flow.run.compile import exercise_all
from geoseg.flow.run.run import run

def called():
    loops = [one for one in gc.get_objects() if isinstance(one, _Loop) and "dispatcher" in vars(one)]
    kinds = [(f"{one.__module__}.{one.__name__}", one.dispatcher.nopython_signatures) for one in loops]
    return {f"{name}{kind}" for name, found in kinds for kind in found}

for exercise in EXERCISES.values():
    exercise()
polygons = called()
exercise_all()
everything = called()
for workflow in sys.argv[2:]:
    for executor in ("serial", "threads"):
        options = {"compute.executor": executor, "compute.workers": 1 if executor == "serial" else 2}
        run(workflow, {"output": f"{sys.argv[1]}/{workflow}-{executor}", **options})
new = called()
print(json.dumps([
    sorted(one for one in new - polygons if one.startswith("geoseg.polygons")), sorted(new - everything)
]))
"""


@pytest.mark.slow
def test_a_map_calls_no_loop_that_was_not_compiled_ahead(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(tmp_path), "austin_buildings", "landcover"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [[], []]
