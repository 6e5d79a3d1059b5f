"""Loops over arrays: compiled when they are first called, kept for the next process, compiled by one process.

Importing a loop takes nothing, not even numba. What is compiled lies in a folder for each state of a loop's
module and of all that it imports from geoseg, since numba compiles constants and other loops into it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property, update_wrapper
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar, cast

__all__ = ["compile_once", "compiled", "compiling_beside", "inner", "is_compiled", "kept_in"]

Function = TypeVar("Function", bound=Callable[..., object])

_PACKAGE: Final = Path(__file__).resolve().parent
_IMPORTS: Final = re.compile(r"^(?:from|import) (geoseg[\w.]*)(?: import (\([^)]*\)|.*))?", re.MULTILINE)
_LOCK: Final = threading.RLock()
_AT_IT: Final = threading.local()


def compiled(loop: Function) -> Function:
    """Compile a function of arrays and numbers at its first call.

    Compiled functions may call each other. They leave the interpreter to other threads while they run. Types
    are kept for the type checker, which numba's own decorator hides.
    """
    return cast("Function", _Loop(loop))


def inner(part: Function) -> Function:
    """Compile a part of compiled functions, which makes no array.

    Arrays given to it are not counted as in use, then as not, which takes longer than most parts themselves;
    a division by zero gives what numpy's does, so that divisions can be done several at a time; and it is
    compiled sooner. Called from Python it is not compiled.
    """
    return cast("Function", _Part(part))


class _Loop:
    """A function of arrays, which numba sees as its own wherever a compiled function calls it."""

    options: Mapping[str, Any] = {"nogil": True}

    def __init__(self, loop: Callable[..., object]) -> None:
        update_wrapper(self, loop)
        self._loop = loop

    def __call__(self, *arguments: object) -> object:
        return self.dispatcher(*arguments)

    @cached_property
    def dispatcher(self) -> Any:
        """What numba makes of the function."""
        from numba import njit  # noqa: PLC0415 - takes a quarter of a second, and much runs without a loop

        folder = kept_in()
        if folder is None:
            return cast("Any", njit)(**self.options)(self._loop)
        with _LOCK, _numba_keeps_in(_state_folder(folder, self._loop.__module__)):
            return cast("Any", njit)(cache=True, **self.options)(self._loop)

    @property
    def _numba_type_(self) -> Any:
        """Asked by numba of what it meets in a function."""
        return self.dispatcher._numba_type_


class _Part(_Loop):
    """The same of a part of such functions."""

    options: Mapping[str, Any] = {
        "nogil": True,
        "_nrt": False,
        "no_cpython_wrapper": True,
        "no_cfunc_wrapper": True,
        "error_model": "numpy",
    }

    def __call__(self, *arguments: object) -> object:
        return self._loop(*arguments)


@cache
def kept_in() -> Path | None:
    """Where compiled loops are kept: beside the package, in the user's cache, or where NUMBA_CACHE_DIR says.

    None: nowhere can be written, and each process compiles for itself.
    """
    given = os.environ.get("NUMBA_CACHE_DIR")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "geoseg"
    folders = [Path(given)] if given else [_PACKAGE / "__pycache__" / "loops", user]
    return next((folder for folder in folders if _is_writable(folder)), None)


def is_compiled(exercise: Callable[[], object]) -> bool:
    """Whether :func:`compile_once` was done with an exercise, by any process of this machine."""
    folder = kept_in()
    return folder is not None and _mark(folder, exercise).exists()


def compile_once(exercise: Callable[[], object]) -> None:
    """Compile the loops that an exercise calls, unless they are: one process does, others wait for it.

    Nothing is done where nothing can be kept: then each process compiles what it calls; nor in an exercise.
    The module of the exercise imports the loops.
    """
    folder = kept_in()
    if folder is None or is_compiled(exercise) or hasattr(_AT_IT, "exercise"):
        return
    mark = _mark(folder, exercise)
    with (folder / "compiling.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # ends with the process, however it ends
        if mark.exists():
            return
        _AT_IT.exercise = exercise
        try:
            exercise()
        finally:
            del _AT_IT.exercise
        mark.touch()


@contextmanager
def compiling_beside(exercise: Callable[[], object]) -> Iterator[None]:
    """Let a process of its own do :func:`compile_once` with an exercise while a ``with`` block goes on.

    Where it fails, whoever waits for it does the same and meets the same error.
    """
    place = exercise.__module__, exercise.__name__
    code = (
        "import importlib, json, sys; path, module, name = json.loads(sys.argv[1]); sys.path[:] = path;"
        "from geoseg.compiled import compile_once;"
        "compile_once(getattr(importlib.import_module(module), name))"
    )
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-c", code, json.dumps([sys.path, *place])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _mark(folder: Path, exercise: Callable[[], object]) -> Path:
    """The file that says that an exercise was done, on this kind of processor, with these loops."""
    from llvmlite import binding  # noqa: PLC0415 - as numba

    machine = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten(), sys.version
    begin = f"{exercise.__name__}-{_digest(str(_PACKAGE))[:8]}-"
    return folder / f"{begin}{_digest(_state(exercise.__module__), *machine)}.done"


def _state_folder(folder: Path, module: str) -> Path:
    """The folder of a module's compiled loops; those of its earlier states are removed."""
    begin = f"{module}-{_digest(str(_PACKAGE))[:8]}-"
    found = folder / f"{begin}{_state(module)}"
    if not found.exists():
        for old in folder.glob(f"{begin}*"):
            shutil.rmtree(old, ignore_errors=True)  # another process may be at it, too
    return found


@cache
def _state(module: str) -> str:
    """Digest of a module's source, of all that it imports from geoseg, and of the compiler's version."""
    sources: dict[Path, bytes] = {Path(__file__).resolve(): Path(__file__).read_bytes()}
    found = sys.modules[module].__file__
    todo = [Path(found).resolve()] if found is not None else []
    while todo:
        path = todo.pop()
        if path not in sources:
            sources[path] = path.read_bytes()
            todo += _imported(sources[path].decode())
    return _digest(*(sources[path].decode() for path in sorted(sources)), version("numba"))


def _imported(source: str) -> Iterator[Path]:
    """Files of the modules of geoseg that a source imports."""
    for module, names in _IMPORTS.findall(source):
        place = _PACKAGE.joinpath(*module.split(".")[1:])
        for path in (place, *(place / name for name in re.findall(r"\w+", names))):
            yield from (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


@contextmanager
def _numba_keeps_in(folder: Path) -> Iterator[None]:
    """Let numba keep what it compiles there: what is decorated in a ``with`` block."""
    from numba import config  # noqa: PLC0415 - as above

    settings: Any = config
    before, settings.CACHE_DIR = settings.CACHE_DIR, str(folder)
    try:
        yield
    finally:
        settings.CACHE_DIR = before


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
