"""Executors: what happens to a task whose worker dies, and to a run whose cluster goes away."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dask.system import CPU_COUNT
from distributed import LocalCluster
from distributed.system import MEMORY_LIMIT

from geoseg.engine.execute import auto_workers, open_executor
from geoseg.errors import RunError

pytestmark = pytest.mark.slow


def test_workers_are_as_many_as_cores_tasks_and_memory_allow() -> None:
    assert auto_workers(tasks=10**6, worker_bytes=1) == CPU_COUNT
    assert auto_workers(tasks=1, worker_bytes=1) == 1
    assert auto_workers(tasks=10**6, worker_bytes=MEMORY_LIMIT // 2 + 1) == 1
    assert auto_workers(tasks=10**6, worker_bytes=10 * MEMORY_LIMIT) == 1


def test_the_task_that_kills_its_workers_is_the_one_to_blame() -> None:
    start = time.perf_counter()
    with open_executor("processes", 2) as executor:
        opened = time.perf_counter()
        executor.submit("killer", signal.raise_signal, signal.SIGKILL)
        for number in range(4):
            executor.submit(number, time.sleep, 0.5)
        outcomes = {outcome.key: outcome for outcome in (executor.wait() for _ in range(5))}
    assert all(outcomes[number].error is None for number in range(4))
    error = outcomes["killer"].error
    assert isinstance(error, RunError)
    assert "memory" in str(error)
    assert "\n" not in str(error)
    # Workers that take the place of the killed ones start as fast as the first ones did on this machine.
    patience = 40 + 4 * (opened - start)
    assert time.perf_counter() - opened < patience, "nobody waits for a worker that is gone"


def test_a_cluster_that_goes_away_ends_the_run_in_one_sentence() -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        open_executor("serial", 1, scheduler=cluster.scheduler_address) as executor,
    ):
        executor.submit("long", time.sleep, 200)
        cluster.close()
        with pytest.raises(RunError, match=r"scheduler .* gone.*run again"):
            executor.wait()


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import geoseg\n"
        "from geoseg.errors import RunError\n"
        "from geoseg.engine.execute import open_executor\n"
        "try:\n"
        "    with open_executor('processes', 1) as executor:\n"
        "        pass\n"
        "except RunError as error:\n"
        "    print(error)\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert '__name__ == "__main__"' in done.stdout
    assert len(done.stdout.strip().splitlines()) == 1
