"""Loops over arrays, compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

__all__ = ["compiled"]

Loop = TypeVar("Loop", bound=Callable[..., object])


def compiled(loop: Loop) -> Loop:
    """Compile a function of arrays and numbers at its first call; the result is kept on disk.

    Types are kept for the type checker, which numba's own decorator hides.
    """
    return cast("Loop", njit(cache=True)(loop))
