"""Worker processes on this machine, forked from one that has imported what they need.

A worker that imports for itself takes a second of a core before it does anything. Here one process, the
*template*, imports once, while the driver plans; each worker is a fork of it, there at once, and shares its
memory. The template computes nothing else and has no thread of its own, so forking it is safe, whatever the
driver's process has done. It imports geoseg alone, not the script that called it.

    driver ──control──▶ template ──fork──▶ worker 1 ◀──task, outcome──▶ driver
                                 └─fork──▶ worker 2 ◀──task, outcome──▶ driver

When the driver is gone, by whatever end, its sockets close: the template ends, and with it the workers.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NoReturn, Self

from geoseg.errors import RunError

__all__ = ["Outcome", "Template", "Worker", "inherited_cpu", "serve"]

_ENDING: Final = 10.0
"""Seconds that workers have to remove temporary files when they are told to end."""
_PR_SET_PDEATHSIG: Final = 1
_SCORE: Final = "300"
"""By how much of the memory, in thousandths, a worker seems larger than it is when the kernel ends a process
for want of memory: the driver lives to tell."""
_PREPARE, _FORK = b"p", b"f"

_inherited = [0.0]
"""CPU seconds of the template that this worker, as the next one after them, accounts for."""

Outcome = tuple[Any, BaseException | None]
"""What a task returned, or what it raised."""


class Worker:
    """A process that does one task after the other."""

    def __init__(self, connection: Connection, pid: int) -> None:
        self.connection = connection
        self.pid = pid

    def send(self, function: Callable[[Any], Any], argument: Any) -> None:
        """Hand a task over to a worker that has none; one that is gone says so in :meth:`receive`."""
        work = pickle.dumps((function, argument))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(work)

    def receive(self) -> Outcome | None:
        """Wait for the outcome of the task; None: the process is gone."""
        try:
            outcome: Outcome = pickle.loads(self.connection.recv_bytes())  # noqa: S301 - our own worker's
        except (EOFError, OSError):
            return None
        return outcome


class Template:
    """The process that workers are forked from; it starts to import at once."""

    def __init__(self, *modules: str) -> None:
        ours, theirs = socket.socketpair()
        paths, flags = repr(sys.path), subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001 - as multiprocessing does
        code = f"import sys; sys.path[:] = {paths}; from geoseg.engine.execute.workers import serve; serve()"
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - Python itself
                [sys.executable, *flags, "-c", code, str(theirs.fileno()), *modules],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches the driver alone, which ends the workers
            )
        self._control = ours
        self._workers: list[Worker] = []

    def prepare(self, function: Callable[..., object], *arguments: object) -> None:
        """Let it call a function before it forks any more workers; its error is :meth:`fork`'s."""
        self._send(_PREPARE + pickle.dumps((function, arguments)))

    def fork(self) -> Worker:
        """A new worker; RunError: the template is gone, and said why on standard error."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._send(_FORK, [theirs.fileno()])
            with contextlib.suppress(ConnectionResetError):
                if pid := self._control.recv(64):
                    self._workers.append(Worker(Connection(ours.detach()), int(pid)))
                    return self._workers[-1]
        raise _gone()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers, also those that have a task, as on Ctrl-C."""
        if self._process.returncode is not None:
            return
        for worker in self._workers:
            worker.connection.close()
        self._control.close()  # the template ends, and the workers, whatever they do
        try:
            self._process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _send(self, message: bytes, handles: list[int] | None = None) -> None:
        size = len(message).to_bytes(8, "little")
        try:
            socket.send_fds(self._control, [size], handles or [])
            self._control.sendall(message)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise _gone() from error


def _gone() -> RunError:
    return RunError(
        "worker processes cannot be started on this machine; use compute.executor: serial or threads"
    )


def inherited_cpu() -> float:
    """CPU seconds that it took to make this worker and are no other's, beside its own."""
    return _inherited[0]


def serve() -> None:
    """What the template does: import, prepare, fork, until the driver is gone."""
    handle, *modules = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in modules:
        __import__(module)
    control, told = socket.socket(fileno=int(handle)), 0.0
    workers: list[int] = []
    while True:
        header, handles, _, _ = socket.recv_fds(control, 8, 1)
        if not header:
            break
        message = _exactly(control, size := int.from_bytes(header, "little"))
        if len(message) < size:
            break
        if message[:1] == _PREPARE:
            function, arguments = pickle.loads(message[1:])  # noqa: S301 - the driver's
            function(*arguments)
            continue
        if not gc.get_freeze_count():
            gc.collect()
            gc.freeze()  # pages of what is there already stay shared
        spent = time.process_time()
        pid = os.fork()
        if pid == 0:
            control.close()
            _inherited[0] = spent - told
            _work(handles[0])
        told = spent
        workers.append(pid)
        os.close(handles[0])
        with contextlib.suppress(BrokenPipeError):  # the driver has gone meanwhile
            control.sendall(str(pid).encode())
    for pid in workers:  # those that have a task do not see that the driver is gone
        os.kill(pid, signal.SIGTERM)
    for pid in workers:  # waited for, their time counts as that of the driver's children
        os.waitpid(pid, 0)


def _exactly(control: socket.socket, size: int) -> bytes:
    message = b""
    while len(message) < size and (more := control.recv(size - len(message))):
        message += more
    return message


def _work(handle: int) -> NoReturn:
    """What a worker does; it ends without going back to what the template was about."""
    try:
        signal.signal(signal.SIGTERM, _end)
        _bind_to_parent()
        connection = Connection(handle)
        while True:
            function, argument = pickle.loads(connection.recv_bytes())  # noqa: S301 - the driver's
            connection.send_bytes(_outcome(function, argument))
    except (EOFError, BrokenPipeError, ConnectionResetError, SystemExit):
        os._exit(0)
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on as a second template
        traceback.print_exc()
        os._exit(1)


def _outcome(function: Callable[[Any], Any], argument: Any) -> bytes:
    try:
        return pickle.dumps((function(argument), None))
    except Exception as error:  # noqa: BLE001 - an outcome like any other: the driver decides
        where = "".join(traceback.format_tb(error.__traceback__)).rstrip()
        error.add_note(f"in a worker process:\n{where}")
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
            return pickle.dumps((None, error))
        except Exception:  # noqa: BLE001 - an error that cannot be sent is sent as text
            return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))


def _end(*_: object) -> NoReturn:
    """Leave the task as on Ctrl-C: temporary files are removed."""
    raise SystemExit


def _bind_to_parent() -> None:
    """Let the kernel end this process with its template, and before others where memory is gone."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    with contextlib.suppress(OSError):  # containers may forbid it
        Path("/proc/self/oom_score_adj").write_text(_SCORE, encoding="ascii")
