"""Where time goes: named stages of the work, recorded where somebody asked for it.

    with recording(process_time) as recorded:
        with stage("read") as reading:
            ...
            reading.count(pixels.nbytes)

Stages nest, also through iterators (:func:`each`): what an inner one takes is not the outer one's own. Each
thread records for itself. Where nothing is recorded a stage costs a tenth of a microsecond.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol, TypeVar

__all__ = ["Span", "add_span", "each", "is_recording", "recording", "stage"]

Item = TypeVar("Item")

_thread = threading.local()


class Span(NamedTuple):
    """A stage that has ended; times in seconds."""

    name: str
    start: float
    """Since 1970."""
    wall: float
    cpu: float
    own_wall: float
    """Without the stages in it."""
    own_cpu: float
    size: int
    """Bytes that it read, made or wrote, as far as it counts them."""
    thread: int


class Stage(Protocol):
    """A stage that goes on."""

    def count(self, size: int) -> None:
        """Count bytes that were read, made or written."""


class _Nothing:
    """A stage of which nothing is recorded."""

    __slots__ = ()

    def count(self, size: int) -> None:
        """Count nothing."""

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        pass


_NOTHING = _Nothing()


class _Recorder:
    """What one thread records."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.spans: list[Span] = []
        self.open: list[_Recorded] = []
        self.clock = clock
        self.thread = threading.get_native_id()
        self.epoch = time.time() - time.perf_counter()


class _Recorded:
    __slots__ = ("_cpu", "_elsewhere", "_name", "_recorder", "_size", "_start", "inner_cpu", "inner_wall")

    def __init__(self, name: str, recorder: _Recorder, *, elsewhere: bool) -> None:
        self._name, self._recorder, self._elsewhere = name, recorder, elsewhere
        self._size = 0
        self.inner_wall = self.inner_cpu = 0.0

    def count(self, size: int) -> None:
        """Count bytes that were read, made or written."""
        self._size += size

    def __enter__(self) -> Stage:
        self._recorder.open.append(self)
        self._start, self._cpu = time.perf_counter(), self._recorder.clock()
        return self

    def __exit__(self, *_: object) -> None:
        recorder = self._recorder
        wall, cpu = time.perf_counter() - self._start, recorder.clock() - self._cpu
        recorder.open.pop()
        if recorder.open:
            recorder.open[-1].inner_wall += wall
            recorder.open[-1].inner_cpu += cpu
        own = wall - self.inner_wall, 0.0 if self._elsewhere else cpu - self.inner_cpu
        start = recorder.epoch + self._start
        recorder.spans.append(Span(self._name, start, wall, cpu, *own, self._size, recorder.thread))


@contextmanager
def recording(clock: Callable[[], float] = time.process_time) -> Iterator[list[Span]]:
    """Record the stages of this thread, in the order in which they end.

    ``clock``: of the CPU, :func:`time.process_time` for a process in which nothing else computes, so that
    threads of libraries count, else :func:`time.thread_time`.
    """
    before = getattr(_thread, "recorder", None)
    _thread.recorder = recorder = _Recorder(clock)
    try:
        yield recorder.spans
    finally:
        _thread.recorder = before


def is_recording() -> bool:
    """Whether stages of this thread are recorded."""
    return getattr(_thread, "recorder", None) is not None


def stage(name: str, *, elsewhere: bool = False) -> _Recorded | _Nothing:
    """A stage of the work, as a context; ``elsewhere``: other threads record what is computed meanwhile."""
    recorder = getattr(_thread, "recorder", None)
    return _NOTHING if recorder is None else _Recorded(name, recorder, elsewhere=elsewhere)


def add_span(name: str, *, cpu: float, wall: float = 0.0) -> None:
    """Record a stage that ends now and that took so many seconds."""
    recorder = getattr(_thread, "recorder", None)
    if recorder is not None:
        start = recorder.epoch + time.perf_counter() - wall
        recorder.spans.append(Span(name, start, wall, cpu, wall, cpu, 0, recorder.thread))


def each(name: str, items: Iterable[Item]) -> Iterator[Item]:
    """The items; what it takes to get each is a stage."""
    return iter(items) if not is_recording() else _each(name, iter(items))


def _each(name: str, items: Iterator[Item]) -> Iterator[Item]:
    while True:
        with stage(name):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item
