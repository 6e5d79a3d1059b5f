"""The profile of a run: its stages account for the CPU time, and its trace opens as spans that nest."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from geoseg.flow.run import profile as module
from geoseg.flow.run.profile import PROFILE_NAME, Profiler
from geoseg.flow.run.run import run
from geoseg.stages import Span

pytestmark = pytest.mark.slow


def events_of(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def assert_nested(events: list[dict[str, Any]]) -> None:
    """Of two spans of a thread one holds the other, or they are apart; ends may differ by a rounding."""
    threads = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            threads[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for spans in threads.values():
        open_: list[float] = []
        for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            while open_ and open_[-1] <= start + 1:
                open_.pop()
            assert not open_ or end <= open_[-1] + 1
            open_.append(end)


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_stages_account_for_the_time_and_spans_nest(executor: str, root: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"output": str(tmp_path / "maps"), "compute.executor": executor}
    settings |= {"tiling.window": "256 px", "tiling.halo": "32 px"}
    settings |= {} if executor == "serial" else {"compute.workers": 2}
    workflow = root / "workflows" / "austin_buildings.yaml"
    before, started = time.process_time(), time.perf_counter()
    found = run(workflow, settings, profile=True).profile
    cpu, wall = time.process_time() - before, time.perf_counter() - started
    assert found is not None
    stages = {one.name: one for one in found.stages}
    assert {"read", "forward", "stitch", "encode", "trace", "split", "fit", "ownership"} <= stages.keys()
    assert {"partial results", "rasters", "attributes", "layer", "verify sources", "item"} <= stages.keys()
    assert stages["forward"].size == 0
    assert stages["read"].size > 1_000_000
    events = events_of(found.trace)
    assert_nested(events)
    workers = [e["args"]["name"] for e in events if e["ph"] == "M" and e["args"]["name"].startswith("worker")]
    if executor == "serial":
        own = sum(one.cpu for one in found.stages if one.name != "start")
        assert own == pytest.approx(cpu, rel=0.05)
        assert sum(one.wall for one in found.stages if one.name != "start") == pytest.approx(wall, rel=0.05)
        assert not workers
    elif executor == "threads":
        own = sum(one.cpu for one in found.stages if one.name != "start")
        assert own == pytest.approx(cpu, rel=0.3), "threads of libraries belong to none"
        assert not workers
    else:
        assert 1 <= len(workers) <= 2
        tasks = sum(e["dur"] for e in events if e["name"] == "task") / 1e6
        assert 0 < tasks <= 2 * wall


def test_a_run_that_nobody_profiles_leaves_no_trace(root: Path, tmp_path: Path) -> None:
    settings = {"output": str(tmp_path), "compute.executor": "serial"}
    assert run(root / "workflows" / "austin_buildings.yaml", settings).profile is None
    assert not (tmp_path / PROFILE_NAME).exists()


def test_a_trace_is_bounded_and_the_table_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_SPANS", 3)
    profiler = Profiler()
    spans = [Span("read", float(number), 2.0, 0.5, 1.0, 0.25, 7, 1) for number in range(10)]
    profiler.take(spans[:5])
    profiler.take(spans[5:], ("elsewhere", 9))
    found = profiler.finish(tmp_path, 3.0)
    (read,) = found.stages
    assert (read.count, read.cpu, read.wall, read.waits, read.size) == (10, 2.5, 10.0, 7.5, 70)
    assert found.processes == 2
    assert len([e for e in events_of(tmp_path / PROFILE_NAME) if e["ph"] == "X"]) == 3
