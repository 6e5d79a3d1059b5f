"""Files that are there whole or not at all.

A file is written under a hidden temporary name in its own folder, checked, forced to disk and renamed. What a
crash leaves behind is recognized by its name (host and process) and removed by :func:`sweep_temporaries`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from geoseg.errors import OutputError, RunError

__all__ = [
    "LOCK_NAME",
    "check_writable",
    "free_bytes",
    "locked",
    "output_error",
    "sha256_of",
    "staged",
    "sweep_temporaries",
    "write_json",
    "write_text",
]

LOCK_NAME: Final = ".geoseg.lock"
"""File that a run leaves in its output folder (:func:`locked`)."""
_SIDE_SUFFIXES = ("-journal", "-wal", "-shm", ".aux.xml", ".ovr", ".msk")
"""What SQLite, GDAL and QGIS leave beside a file: of no use, or harmful, to the file that replaces it."""

_STALE_SECONDS = 24 * 3600.0
"""Age at which a temporary file of another host counts as left over."""

_NAME_BYTES = 255
"""Longest file name of Linux and of Windows."""

_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_TEMPORARY = re.compile(r"\..*\.tmp-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<token>[0-9a-f]{8})(?:\W.*)?")
_live: set[str] = set()
"""Tokens of this process's own temporaries, so that a sweep by another thread leaves them alone."""

_REMEDIES = {
    errno.ENOSPC: "disk full: {free} free; free space and run again",
    errno.EDQUOT: "disk quota reached; free space and run again",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.EACCES: "no permission to write there; choose another output folder or change its permissions",
    errno.EPERM: "no permission to write there; choose another output folder or change its permissions",
    errno.EFBIG: "the file system or ulimit does not allow a file of this size; choose another output folder",
    errno.EISDIR: "a folder has this name; move it or choose another output folder",
    errno.EEXIST: "part of the path is a file, not a folder; choose another output folder",
    errno.ENOTDIR: "part of the path is a file, not a folder; choose another output folder",
    errno.ENAMETOOLONG: "the name is too long for the file system; choose a shorter output folder",
    errno.EIO: "the disk reports an input/output error; check it and run again",
}
_SAID_BY_LIBRARIES = {
    "no space left": errno.ENOSPC,
    "disk is full": errno.ENOSPC,
    "database or disk is full": errno.ENOSPC,
    "read-only file system": errno.EROFS,
    "permission denied": errno.EACCES,
}
_FULL_BYTES = 128 * 1024
"""What a file may take at least: buffers that a library could not flush."""


def free_bytes(path: Path) -> int:
    """Bytes that an unprivileged user can still write where a path lies or will lie."""
    place = path.absolute()
    while True:
        try:
            return shutil.disk_usage(place).free
        except OSError as error:
            if place == place.parent:
                raise OutputError(
                    f"{path}: the file system cannot be asked for free space: {error}"
                ) from error
            place = place.parent


def output_error(path: Path, error: BaseException, needed: int = _FULL_BYTES) -> OutputError:
    """The error to raise for a failed write: names the file, what happened and what to do.

    Where libraries hide the system's error code, their words are searched. Where less is free than the bytes
    that the file may need, the disk is to blame for an error that names no cause.
    """
    if isinstance(error, OutputError):
        return error
    code = _error_code(error)
    if code is None and _has_less_than(path, needed):
        code = errno.ENOSPC
    if code in _REMEDIES:
        return OutputError(f"{path} cannot be written: {_REMEDIES[code].format(free=_free_text(path))}")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).split("\n")[0]
    return OutputError(
        f"{path} cannot be written: {reason or type(error).__name__}; correct this and run again"
    )


def _error_code(error: BaseException | None) -> int | None:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _REMEDIES:
            return error.errno
        words = str(error).lower()
        for phrase, code in _SAID_BY_LIBRARIES.items():
            if phrase in words:
                return code
        error = error.__cause__ or error.__context__
    return None


def _has_less_than(path: Path, needed: int) -> bool:
    try:
        return free_bytes(path) < needed
    except OutputError:
        return False


def _free_text(path: Path) -> str:
    try:
        return f"{free_bytes(path) / 1e6:.1f} MB"
    except OutputError:
        return "nothing"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal; read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _temporary_for(path: Path) -> tuple[Path, str]:
    token = secrets.token_hex(4)
    tail = f".tmp-{_HOST}-{os.getpid()}-{token}{path.suffix}"
    stem = path.stem
    while len(stem.encode()) > _NAME_BYTES - len(tail.encode()) - 24:  # 24: suffixes of side files
        stem = stem[:-1]
    return path.with_name(f".{stem}{tail}"), token


def _remove_all_of(temporary: Path) -> None:
    """Remove a temporary file and whatever was written beside it under a name that starts like it."""
    start = temporary.name.removesuffix(temporary.suffix)
    with suppress(OSError):  # nothing to remove where the folder itself is out of reach
        for found in temporary.parent.iterdir():
            if found.name.startswith(start):
                with suppress(OSError):  # read-only by now; the sweep of the next run takes it
                    found.unlink()


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents; each new entry is forced to disk."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _fsync(folder.parent)


@contextmanager
def staged(
    path: Path, verify: Callable[[Path], None] | None = None, *, forced: bool = True
) -> Iterator[Path]:
    """A temporary path that becomes the file when the block ends well.

    On success: the temporary file is forced to disk, ``verify`` looks at it (and raises to refuse it), side
    files of an older file of the same name are removed (a stale SQLite journal would be played into the new
    database), the file is renamed and the folder is forced to disk. On any error, Ctrl-C included, the
    temporary file and all beside it whose names start like it are removed; an older file of the same name
    stays as it was.

    With ``forced=False`` nothing is forced to disk: after a power failure the file may be there with other
    bytes. That is for files whose checksum is compared before they are used.

    Missing folders are made. The path is a hidden, unused name in the same folder, with the same suffix.
    Scratch files belong beside it, under names that start with its stem.

    Raises:
        OutputError: the disk is full or read-only, permission is denied, or nothing was written.
    """
    temporary, token = _temporary_for(path)
    _live.add(token)
    try:
        _make_folder(path.parent)
        temporary.touch(exist_ok=False)  # libraries do not say why they cannot make a file; this does
        temporary.unlink()
        yield temporary
        if forced:
            _fsync(temporary)
        if verify is not None:
            verify(temporary)
        for suffix in _SIDE_SUFFIXES:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        temporary.replace(path)
        if forced:
            _fsync(path.parent)
    except OSError as error:
        failure = output_error(path, error)  # asked first: removing the file frees the disk
        _remove_all_of(temporary)
        raise failure from error
    except BaseException:
        _remove_all_of(temporary)
        raise
    finally:
        _live.discard(token)


def sweep_temporaries(folder: Path) -> list[Path]:
    """Remove temporary files that a killed process left in a folder (not in the folders below it).

    A temporary file is left over when its process on this host has ended, or, if another host made it, when
    it has not changed for a day.
    """
    removed = []
    for found in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _TEMPORARY.fullmatch(found.name)
        if match and _is_stale(found, match):
            try:
                found.unlink(missing_ok=True)
            except OSError as error:
                raise output_error(found, error) from error
            removed.append(found)
    return removed


def _is_stale(path: Path, match: re.Match[str]) -> bool:
    if match["host"] == _HOST:
        if int(match["pid"]) == os.getpid():
            return match["token"] not in _live
        try:
            os.kill(int(match["pid"]), 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):
            return False
        # The number may be another program's by now: age decides.
    try:
        return time.time() - path.stat().st_mtime > _STALE_SECONDS
    except OSError:
        return False  # gone in the meantime


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, whole or not at all."""
    with staged(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write JSON (2 spaces, keys in the order given, no NaN), whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be made or written into; nothing is made. An OutputError."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    code = None
    if not place.is_dir():
        code = errno.ENOTDIR
    elif not os.access(place, os.W_OK | os.X_OK):
        code = errno.EROFS if os.statvfs(place).f_flag & os.ST_RDONLY else errno.EACCES
    if code is not None:
        raise output_error(folder, OSError(code, os.strerror(code)))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for the length of a ``with`` block, by a lock of the kernel that ends with its process.

    The library ``filelock`` takes the same lock, but falls back to a marker file where there are no locks;
    a killed run would leave it.

    Raises:
        RunError: another run holds the folder.
        OutputError: the folder cannot be made or written to.
    """
    path = folder / LOCK_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise output_error(folder, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"{folder}: another run is writing here; wait for it to end or choose another output"
            ) from error
        except OSError as error:  # a file system without locks
            raise output_error(path, error) from error
        yield
    finally:
        os.close(handle)
