"""Loops over arrays, compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

__all__ = ["compiled", "is_kept"]

Loop = TypeVar("Loop", bound=Callable[..., object])


def compiled(loop: Loop) -> Loop:
    """Compile a function of arrays and numbers at its first call.

    The result is kept on disk for the next run, beside the package or in the user's cache (or where
    ``NUMBA_CACHE_DIR`` says); where neither can be written, each process compiles for itself. Types are kept
    for the type checker, which numba's own decorator hides.

    The kept result is renewed when the function's own module changes. After a change in a compiled function
    that another module calls, delete that module's ``*.nbi``, too.
    """
    try:
        return cast("Loop", njit(cache=True)(loop))
    except RuntimeError:  # numba finds no folder that it may write to
        return cast("Loop", njit(loop))


def is_kept(loop: Callable[..., object]) -> bool:
    """Whether a compiled form of a loop is on disk, so that its first call takes no seconds."""
    dispatcher = cast("Any", loop)
    folder: str | None = dispatcher.stats.cache_path
    return folder is not None and any(Path(folder).glob(f"*{dispatcher.py_func.__name__}-*.nbi"))
