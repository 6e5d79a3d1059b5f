"""Executors: what happens to a task whose worker dies, and to a run whose cluster goes away."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dask.system import CPU_COUNT
from distributed import LocalCluster
from distributed.system import MEMORY_LIMIT

from geoseg.engine.execute import (
    ExecutorKind,
    ask_workers,
    auto_workers,
    cores_and_memory,
    open_executor,
)
from geoseg.errors import RunError

pytestmark = pytest.mark.slow


def test_workers_are_as_many_as_cores_tasks_and_memory_allow() -> None:
    assert auto_workers(tasks=10**6, worker_bytes=1) == CPU_COUNT
    assert auto_workers(tasks=1, worker_bytes=1) == 1
    assert auto_workers(tasks=10**6, worker_bytes=MEMORY_LIMIT // 2 + 1) == 1
    assert auto_workers(tasks=10**6, worker_bytes=10 * MEMORY_LIMIT) == 1


def test_cores_and_memory_are_those_that_dask_counts() -> None:
    assert cores_and_memory() == (CPU_COUNT, MEMORY_LIMIT)


@pytest.mark.parametrize("kind", ["serial", "threads", "processes"])
def test_outcomes_are_values_and_errors_of_tasks(kind: ExecutorKind) -> None:
    with open_executor(kind, 2) as executor:
        for number in (4.0, -1.0, 9.0):
            executor.submit(number, math.sqrt, number)
        outcomes = {outcome.key: outcome for outcome in (executor.wait() for _ in range(3))}
    assert outcomes[4.0].value == 2
    assert outcomes[9.0].value == 3
    assert isinstance(outcomes[-1.0].error, ValueError)
    assert "math domain" in str(outcomes[-1.0].error)


def test_workers_share_what_was_imported_before_they_were_forked(tmp_path: Path) -> None:
    (tmp_path / "mark.py").write_text("import os\nPID = os.getpid()\n", encoding="utf-8")
    script = (
        "import os, sys, time\n"
        "from geoseg.engine.execute import open_executor\n"
        "def look(seconds):\n"
        "    time.sleep(seconds)\n"
        "    return sys.modules['mark'].PID, os.getpid()\n"
        "if __name__ == '__main__':\n"
        "    with open_executor('processes', 2, preload=['mark']) as executor:\n"
        "        for key in 'ab':\n"
        "            executor.submit(key, look, 0.3)\n"
        "        found = [executor.wait() for _ in 'ab']\n"
        "    print(os.getpid(), *(number for end in found for number in end.value))\n"
    )
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    places = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": places},
    )
    driver, first, one, second, other = map(int, done.stdout.split())
    assert first == second
    assert len({driver, first, one, other}) == 4


def test_nothing_is_left_of_a_driver_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import time\n"
        "from geoseg.engine.execute import open_executor\n"
        "if __name__ == '__main__':\n"
        "    with open_executor('processes', 2) as executor:\n"
        "        executor.submit('number', int, '4')\n"
        "        executor.wait()\n"
        "        executor.submit('long', time.sleep, 600)\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(600)\n",
        encoding="utf-8",
    )
    driver = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "ready\n"
    processes = below(driver.pid)
    assert len(processes) >= 3  # the one that is forked, and two workers
    driver.kill()
    driver.communicate()
    patience = time.perf_counter() + 60
    while any(map(is_alive, processes)):
        assert time.perf_counter() < patience
        time.sleep(0.05)


def below(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    found: list[int] = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(place.read_text(encoding="ascii").rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if parent == pid:
            child = int(place.parent.name)
            found += [child, *below(child)]
    return found


def is_alive(pid: int) -> bool:
    """Whether a process computes or waits; one that has ended and was not waited for does neither."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_that_cannot_answer_is_named() -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        (address,) = cluster.scheduler_info["workers"]
        with pytest.raises(
            RunError, match=f"worker at {address} .*ZeroDivisionError.*install the same geoseg"
        ):
            ask_workers(cluster.scheduler_address, broken)


def broken() -> float:
    return 1 / 0


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
