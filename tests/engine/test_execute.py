"""Executors: what happens to a task whose worker dies, and to a run whose cluster goes away."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from dask.system import CPU_COUNT
from distributed import LocalCluster
from distributed.system import MEMORY_LIMIT

from geoseg.engine.execute.executors import ExecutorKind, auto_workers, cores_and_memory, open_executor
from geoseg.errors import RunError
from geoseg.io.files import staged

pytestmark = pytest.mark.slow


def test_workers_are_as_many_as_cores_tasks_and_memory_allow() -> None:
    assert auto_workers(tasks=10**6, worker_bytes=1) == CPU_COUNT
    assert auto_workers(tasks=1, worker_bytes=1) == 1
    assert auto_workers(tasks=10**6, worker_bytes=MEMORY_LIMIT // 2 + 1) == 1
    assert auto_workers(tasks=10**6, worker_bytes=10 * MEMORY_LIMIT) == 1


def test_cores_and_memory_are_those_that_dask_counts() -> None:
    assert cores_and_memory() == (CPU_COUNT, MEMORY_LIMIT)


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


def test_a_script_needs_no_guard_and_is_not_imported_by_its_workers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import math\n"
        "from geoseg.engine.execute.executors import open_executor\n"
        "print('once')\n"
        "with open_executor('processes', 1) as executor:\n"
        "    executor.submit('root', math.sqrt, 4)\n"
        "    print(executor.wait().value)\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["once", "2.0"]


def cpu_bound(seconds: float) -> float:
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass
    return seconds


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


def test_an_error_of_a_worker_says_where_it_was_raised() -> None:
    with open_executor("processes", 1) as executor:
        executor.submit("deep", fails_within, "{")
        error = executor.wait().error
    assert isinstance(error, TypeError)
    assert any("in fails_within" in note for note in error.__notes__)


def fails_within(_: object) -> None:
    raise TypeError("no")


MARKS: list[int] = []


def mark(number: int) -> None:
    MARKS.append(number)


def marked(_: object) -> tuple[list[int], int]:
    return MARKS, os.getpid()


def test_workers_share_what_their_template_made_ready() -> None:
    with open_executor("processes", 2, get_ready=partial(mark, 7)) as executor:
        for number in range(2):
            executor.submit(number, marked, None)
        outcomes = [executor.wait().value for _ in range(2)]
    assert [marks for marks, _ in outcomes] == [[7], [7]]
    assert len({os.getpid(), *(pid for _, pid in outcomes)}) == 3
    assert not MARKS


def test_a_template_that_fails_ends_the_run_in_one_sentence() -> None:
    with (
        pytest.raises(RunError, match=r"worker processes cannot be started.*serial or threads"),
        open_executor("processes", 1, get_ready=partial(int, "no number")) as executor,
    ):
        executor.submit("task", math.sqrt, 4)


def test_nothing_is_left_of_a_driver_that_is_killed() -> None:
    script = (
        "import sys, time\n"
        "from geoseg.engine.execute.workers import Template\n"
        "template = Template()\n"
        "workers = [template.fork() for _ in range(2)]\n"
        "workers[0].send(time.sleep, 600)\n"
        "print(template._process.pid, *(worker.pid for worker in workers), flush=True)\n"
        "time.sleep(600)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    processes = [int(word) for word in driver.stdout.readline().split()]
    assert len(processes) == 3
    assert all(map(is_alive, processes))
    driver.kill()
    driver.communicate()
    patience = time.perf_counter() + 60
    while any(map(is_alive, processes)):
        assert time.perf_counter() < patience
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether a process computes or waits; one that has ended and was not waited for does neither."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_leaving_in_an_error_ends_workers_that_have_a_task_and_lets_them_clean_up(tmp_path: Path) -> None:
    start = time.perf_counter()
    with suppress(KeyboardInterrupt), open_executor("processes", 1) as executor:
        executor.submit("long", write_for_ever, tmp_path)
        while not list(tmp_path.iterdir()):
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    assert time.perf_counter() - start < 60


def write_for_ever(folder: Path) -> None:
    with staged(folder / "file") as temporary:
        temporary.touch()
        time.sleep(600)


def test_the_time_of_workers_counts_as_that_of_the_driver_s_children() -> None:
    before = os.times()
    with open_executor("processes", 2) as executor:
        for number in range(2):
            executor.submit(number, cpu_bound, 0.5)
        for _ in range(2):
            executor.wait()
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system >= 1
