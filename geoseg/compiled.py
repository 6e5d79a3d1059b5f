"""Loops over arrays, compiled when they are first called: importing them takes nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, update_wrapper
from pathlib import Path
from typing import Any, TypeVar, cast

__all__ = ["compiled", "is_kept"]

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(loop: Function) -> Function:
    """Compile a function of arrays and numbers at its first call, and numba is imported then.

    Compiled functions may call each other. They leave the interpreter to other threads while they run.

    The result is kept on disk for the next run, beside the package or in the user's cache (or where
    ``NUMBA_CACHE_DIR`` says); where neither can be written, each process compiles for itself. Types are kept
    for the type checker, which numba's own decorator hides.

    The kept result is renewed when the function's own module changes. After a change in a compiled function
    that another module calls, delete that module's ``*.nbi``, too.
    """
    return cast("Function", _Loop(loop))


def is_kept(loop: Callable[..., object]) -> bool:
    """Whether a compiled form of a loop is on disk, so that its first call takes no seconds."""
    folder: str | None = cast("_Loop", loop).dispatcher.stats.cache_path
    return folder is not None and any(Path(folder).glob(f"*{loop.__name__}-*.nbi"))


class _Loop:
    """A function of arrays, which numba sees as its own wherever a compiled function calls it."""

    def __init__(self, loop: Callable[..., object]) -> None:
        update_wrapper(self, loop)
        self._loop = loop

    def __call__(self, *arguments: object) -> object:
        return self.dispatcher(*arguments)

    @cached_property
    def dispatcher(self) -> Any:
        """What numba makes of the function."""
        from numba import njit  # noqa: PLC0415 - takes a quarter of a second, and much runs without a loop

        try:
            return njit(cache=True, nogil=True)(self._loop)
        except RuntimeError:  # numba finds no folder that it may write to
            return njit(nogil=True)(self._loop)

    @property
    def _numba_type_(self) -> Any:
        """Asked by numba of what it meets in a function."""
        return self.dispatcher._numba_type_
