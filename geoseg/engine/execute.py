"""Where tasks run: a serial executor that defines the meaning, and dask that must agree with it.

A task is a function of one small value and returns a small manifest; its real result is a file.
The driver keeps only a few tasks in flight per slot, so that neither scheduler nor driver grows with the
archive, and a lost worker costs at most what it was doing.

dask takes half a second to import: it is imported where workers are started, and a serial run never does.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Any, Literal, Protocol

from geoseg.errors import RunError

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

__all__ = [
    "Executor",
    "ExecutorKind",
    "Finished",
    "auto_workers",
    "cores_and_memory",
    "open_executor",
    "preloaded",
    "prepare_workers",
]

ExecutorKind = Literal["serial", "threads", "processes"]

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
    "distributed.worker.multiprocessing-method": "forkserver",  # see prepare_workers
    "distributed.worker.profile.enabled": False,  # it looks at every stack a hundred times a second
    "distributed.admin.tick.interval": "1 s",  # else each process takes 2 % of a core
    "distributed.admin.system-monitor.interval": "10 s",  # the same once more; nobody looks at it
    "distributed.scheduler.active-memory-manager.start": False,  # no result is held twice
    "distributed.scheduler.http.routes": [],  # pages that nobody opens, at a port that nobody knows
    "distributed.worker.http.routes": [],
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

    def submit(self, key: Any, function: Callable[[Any], Any], argument: Any) -> None:
        """Hand a task over; the key comes back with its outcome."""

    def wait(self) -> Finished:
        """The next outcome, once there is one; RunError where whatever ran the tasks is gone."""


class _Serial:
    """One task after the other, in this thread: the definition that other executors are tested against."""

    slots = 1

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

    def ask(self, question: Callable[[], Any]) -> dict[str, Any]:
        """What a function gives on each worker, by address; RunError: a worker that cannot call it."""
        answers: dict[str, Any] = self._client.run(question, on_error="return")
        for address, answer in answers.items():
            if isinstance(answer, BaseException):
                raise RunError(
                    f"the worker at {address} cannot work for this run ({type(answer).__name__}: {answer}); "
                    "install the same geoseg there as here, with its dependencies"
                ) from answer
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
            error = RunError(
                "the worker died of it, and so did the next one, most likely for want of memory; use fewer "
                "workers, or a smaller compute.memory or tiling.window, and run again"
            )
        # The future is dropped here: results that are held are recomputed when a worker dies.
        return Finished(key, error=error) if error is not None else Finished(key, future.result())


def cores_and_memory() -> tuple[int, int]:
    """Cores, and bytes of memory, that this process may use, as the system and its container's limits say."""
    from dask.system import CPU_COUNT  # noqa: PLC0415 - see the module's docstring
    from distributed.system import MEMORY_LIMIT  # noqa: PLC0415 - see the module's docstring

    return int(CPU_COUNT), int(MEMORY_LIMIT)


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


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Children started here ignore Ctrl-C, which a terminal sends to them too: the driver ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signals, and only it gets Ctrl-C
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _local_cluster(workers: int, *, processes: bool) -> LocalCluster:
    from distributed import LocalCluster  # noqa: PLC0415 - see the module's docstring

    try:
        with _interrupts_ignored():
            return LocalCluster(
                n_workers=workers if processes else 1,
                threads_per_worker=1 if processes else workers,
                processes=processes,
                protocol="tcp",  # in-process links would open a status page on every interface
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # any free port: two runs on one machine must not meet
                silence_logs=logging.CRITICAL,
            )
    except RuntimeError as error:
        raise RunError(
            "the local workers do not start; a script that runs workflows has to do so under "
            '`if __name__ == "__main__":`, as each worker imports it, or with compute.executor: threads'
        ) from error


def preloaded(backend: str) -> list[str]:
    """Names of modules that all workers need whose networks a backend computes, in this order."""
    return [
        "geoseg.engine.loops.importing",
        "distributed",
        "geoseg.engine.tasks",
        f"geoseg.models.backends.{backend}",
        "geoseg.engine.loops.preloaded",
    ]


def prepare_workers(preload: Sequence[str]) -> None:
    """Let one process import what all local workers need; they are forked from it.

    It goes on while this process does something else. Each worker would import for itself else, a second of
    a core. Started here, it also has no setting of dask's for glibc, with which workers give memory back all
    the time: a sixth of a run's CPU time.
    """
    multiprocessing.set_forkserver_preload([*preload] or ["distributed"])
    with _interrupts_ignored():
        forkserver.ensure_running()


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
    preload: Sequence[str] = (),
) -> Iterator[Executor]:
    """An executor for the length of a ``with`` block.

    Args:
        kind: ``serial``; ``threads`` or ``processes`` of a local cluster on 127.0.0.1.
        scheduler: address of a running dask scheduler; overrides kind and workers.
        preload: modules that are imported once for all worker processes.

    Raises:
        RunError: no scheduler answers, it has no workers, or workers do not start.
    """
    if scheduler is None and kind == "serial":
        yield _Serial()
        return
    if scheduler is None and kind == "processes":
        prepare_workers(preload)
    import dask  # noqa: PLC0415 - see the module's docstring
    from distributed import Client  # noqa: PLC0415 - see the module's docstring

    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_DASK_SETTINGS))
        if scheduler is not None:
            try:
                client = stack.enter_context(Client(scheduler, timeout="10 s"))
            except (OSError, ValueError) as error:
                raise RunError(
                    f"no dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler` "
                    "or leave --scheduler out"
                ) from error
        else:
            cluster = stack.enter_context(_local_cluster(workers, processes=kind == "processes"))
            client = stack.enter_context(Client(cluster))
        if not client.nthreads():
            raise RunError(f"the dask scheduler at {scheduler} has no workers; start some with `dask worker`")
        yield _Dask(client, f"{name}-{os.getpid()}")
