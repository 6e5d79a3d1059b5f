"""One run per output folder.

An advisory lock of the kernel, which ends with its process, however that ends. The library ``filelock`` takes
the same lock, but falls back to a marker file where a file system has none; a killed run would leave it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoseg.errors import RunError
from geoseg.io.files import output_error

__all__ = ["locked"]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for the length of a ``with`` block; the lock goes with the process, however it ends.

    Raises:
        RunError: another run holds the folder.
        OutputError: the folder cannot be made or written to.
    """
    path = folder / ".geoseg.lock"
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
