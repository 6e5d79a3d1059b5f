"""Where tasks run: a serial executor that defines the meaning, and others that must agree with it.

A task is a function of one small value and returns a small manifest; its real result is a file.
The driver keeps only a few tasks in flight per slot, so that neither scheduler nor driver grows with the
archive, and a lost worker costs at most what it was doing.

dask takes half a second to import: only a run on a scheduler of dask does it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from geoseg.engine.execute.workers import Template, Worker
from geoseg.errors import RunError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Executor", "ExecutorKind", "Finished", "auto_workers", "cores_and_memory", "open_executor"]

ExecutorKind = Literal["serial", "threads", "processes"]

_CGROUPS: Final = Path("/sys/fs/cgroup")
"""Where Linux states the limits of the container that this process is in."""

# Each setting and its reason: the defaults hang, blame neighbors or pause for ever.
_DASK_SETTINGS: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 1,  # a task that kills its worker twice is the culprit
    "distributed.scheduler.no-workers-timeout": "10 minutes",  # the default waits for ever
    "distributed.deploy.lost-worker-timeout": "1 hour",  # the default gives up a restarting worker's place
    "distributed.scheduler.worker-saturation": 1.0,  # queue on the scheduler, not on workers that may die
    "distributed.worker.memory.target": False,  # inference memory is not dask's to spill
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,  # a pause over memory that dask cannot free never ends
    "distributed.worker.memory.terminate": 0.95,
    "distributed.comm.retry.count": 0,  # a retry waits a minute for a worker that is gone: measured
    "distributed.comm.timeouts.connect": "60 s",  # on a busy machine a worker that lives may take long
    "distributed.worker.daemon": True,
}


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """The outcome of one task."""

    key: Any
    value: Any = None
    error: BaseException | None = None
    """What it raised instead, or what happened to its worker."""


class Executor(Protocol):
    """Runs tasks; the order in which they finish is not promised."""

    slots: int
    """Tasks that run at the same time."""
    ahead: int
    """Tasks to have handed over, at most, so that no slot waits for the next."""

    def submit(self, key: Any, function: Callable[[Any], Any], argument: Any) -> None:
        """Hand a task over; the key comes back with its outcome."""

    def wait(self) -> Finished:
        """The next outcome, once there is one; RunError where whatever ran the tasks is gone."""


class _Serial:
    """One task after the other, in this thread: the definition that other executors are tested against."""

    slots = ahead = 1

    def __init__(self) -> None:
        self._queue: deque[tuple[Any, Callable[[Any], Any], Any]] = deque()

    def submit(self, key: Any, function: Callable[[Any], Any], argument: Any) -> None:
        self._queue.append((key, function, argument))

    def wait(self) -> Finished:
        key, function, argument = self._queue.popleft()
        try:
            return Finished(key, function(argument))
        except Exception as error:  # noqa: BLE001 - an outcome like any other: the driver decides
            return Finished(key, error=error)


class _Threads:
    """Tasks in threads of this process."""

    def __init__(self, workers: int) -> None:
        self.slots = self.ahead = workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="geoseg")
        self._finished: SimpleQueue[Finished] = SimpleQueue()

    def submit(self, key: Any, function: Callable[[Any], Any], argument: Any) -> None:
        self._pool.submit(self._run, key, function, argument)

    def _run(self, key: Any, function: Callable[[Any], Any], argument: Any) -> None:
        try:
            finished = Finished(key, function(argument))
        except Exception as error:  # noqa: BLE001 - an outcome like any other: the driver decides
            finished = Finished(key, error=error)
        self._finished.put(finished)

    def wait(self) -> Finished:
        return self._finished.get()

    def close(self) -> None:
        """Start no further task, and wait for those that run: a thread cannot be stopped."""
        self._pool.shutdown(cancel_futures=True)


@dataclass(slots=True, eq=False)
class _Job:
    """A task that was handed over, and how many workers died of it."""

    key: Any
    function: Callable[[Any], Any]
    argument: Any
    deaths: int = 0


class _Processes:
    """Tasks in worker processes of this machine."""

    def __init__(self, template: Template, workers: int) -> None:
        self.slots = self.ahead = workers
        self._template = template
        self._waiting: deque[_Job] = deque()
        self._idle: list[Worker] = []
        self._busy: dict[Worker, _Job] = {}

    def submit(self, key: Any, function: Callable[[Any], Any], argument: Any) -> None:
        self._waiting.append(_Job(key, function, argument))
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and len(self._busy) < self.slots:
            worker = self._idle.pop() if self._idle else self._template.fork()
            job = self._busy[worker] = self._waiting.popleft()
            worker.send(job.function, job.argument)

    def wait(self) -> Finished:
        while True:
            ready = connection.wait([worker.connection for worker in self._busy])
            worker = next(worker for worker in self._busy if worker.connection is ready[0])
            job, outcome = self._busy.pop(worker), worker.receive()
            if outcome is not None:
                self._idle.append(worker)
                self._hand_out()
                return Finished(job.key, *outcome)
            if job.deaths:
                self._hand_out()
                return Finished(job.key, error=_killer())
            job.deaths += 1
            self._waiting.appendleft(job)
            self._hand_out()


def _killer() -> RunError:
    return RunError(
        "the worker died of it, and so did the next one, most likely for want of memory; use fewer "
        "workers, or a smaller compute.memory or tiling.window, and run again"
    )


class _Dask:
    """Tasks on the workers of a dask cluster."""

    def __init__(self, client: Client, name: str) -> None:
        from distributed import as_completed  # noqa: PLC0415 - see the module's docstring

        self._client = client
        self._name = name
        self._keys: dict[Any, Any] = {}
        self._completed = as_completed(raise_errors=False)
        self._count = 0
        self.slots = max(1, sum(client.nthreads().values()))
        self.ahead = 2 * self.slots  # messages take their time

    def ask(self, question: Callable[[], Any]) -> dict[str, Any]:
        """What a function gives on each worker, by address."""
        answers: dict[str, Any] = self._client.run(question)
        return answers

    def submit(self, key: Any, function: Callable[[Any], Any], argument: Any) -> None:
        # Tuple keys with one prefix form one task group, which is what makes the scheduler queue.
        self._count += 1
        with _interrupts_held():
            future = self._client.submit(
                function, argument, key=(f"geoseg-{self._name}", self._count), pure=False, retries=0
            )
        self._keys[future.key] = key
        self._completed.add(future)

    def wait(self) -> Finished:
        from distributed import KilledWorker  # noqa: PLC0415 - see the module's docstring

        future = next(self._completed)
        key = self._keys.pop(future.key)
        if future.cancelled():
            raise RunError("the dask scheduler is gone; partial results are kept: start it and run again")
        error = future.exception()
        if isinstance(error, KilledWorker):
            error = _killer()
        # The future is dropped here: results that are held are recomputed when a worker dies.
        return Finished(key, error=error) if error is not None else Finished(key, future.result())


def cores_and_memory() -> tuple[int, int]:
    """Cores, and bytes of memory, that this process may use, as the system and its container's limits say."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    quota, period = _limits("cpu.max") or _limits("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us") or (0, 1)
    if quota > 0:
        cores = min(cores, -(-quota // period))
    return cores, min([memory, *(_limits("memory.max") or _limits("memory/memory.limit_in_bytes"))])


def _limits(*names: str) -> list[int]:
    """Whole numbers in files of this container's limits; empty where there are none."""
    try:
        text = " ".join((_CGROUPS / name).read_text(encoding="ascii") for name in names)
        return [int(word) for word in text.split()]
    except (OSError, ValueError):  # not Linux, another version of the limits, or "max"
        return []


def auto_workers(tasks: int, worker_bytes: int) -> int:
    """Workers for this machine: at least 1, as many as tasks, cores and memory (or its container) allow."""
    cores, memory = cores_and_memory()
    return max(1, min(cores, tasks, memory // worker_bytes))


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait until the block ends: a future that dask has half made complains when it goes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt


def ask_workers(scheduler: str, question: Callable[[], Any]) -> dict[str, Any]:
    """What a function gives on each worker of a running scheduler; errors as :func:`open_executor`."""
    with open_executor("serial", 1, scheduler=scheduler) as executor:
        assert isinstance(executor, _Dask), "a scheduler was given"
        return executor.ask(question)


@contextmanager
def open_executor(
    kind: ExecutorKind,
    workers: int,
    *,
    scheduler: str | None = None,
    name: str = "run",
    template: Template | None = None,
    get_ready: Callable[[], object] | None = None,
) -> Iterator[Executor]:
    """An executor for the length of a ``with`` block.

    Args:
        kind: ``serial``; ``threads`` of this process; ``processes`` of this machine.
        scheduler: address of a running dask scheduler; overrides kind and workers.
        template: what processes are forked from, if it was started before; it is closed with the block.

        get_ready: called once before there are processes, in what they are forked from.

    Raises:
        RunError: no scheduler answers, it has no workers, or workers do not start.
    """
    if scheduler is not None:
        with _client(scheduler) as client:
            yield _Dask(client, f"{name}-{os.getpid()}")
    elif kind == "threads":
        threads = _Threads(workers)
        try:
            yield threads
        finally:
            threads.close()
    elif kind == "processes":
        with template or Template() as forked:
            if get_ready is not None:
                forked.prepare(get_ready)
            yield _Processes(forked, workers)
    else:
        yield _Serial()


@contextmanager
def _client(scheduler: str) -> Iterator[Client]:
    """A connection to a running scheduler."""
    import dask  # noqa: PLC0415 - see the module's docstring
    from distributed import Client  # noqa: PLC0415 - see the module's docstring

    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_DASK_SETTINGS))
        try:
            client = stack.enter_context(Client(scheduler, timeout="10 s"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"no dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler` "
                "or leave --scheduler out"
            ) from error
        if not client.nthreads():
            raise RunError(f"the dask scheduler at {scheduler} has no workers; start some with `dask worker`")
        yield client
