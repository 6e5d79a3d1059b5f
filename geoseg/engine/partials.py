"""Partial results: what a task leaves on disk for the assembler, each with a manifest that is written last.

A partial result is up to three arrays (``probabilities``: finished encoded rows; ``top`` and ``bottom``:
window overlaps) as plain ``.npy`` files, which the assembler reads row by row without loading them. The
manifest names the sha256 of each; a partial result without a valid manifest does not exist. Since the hashes
are compared when a run goes on, nothing waits for the disk.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from geoseg.arrays import Array
from geoseg.errors import OutputError
from geoseg.io.files import sha256_of, staged
from geoseg.stages import stage

__all__ = [
    "PartialManifest",
    "discard_partials",
    "find_partial",
    "oldest_rules",
    "open_partial",
    "partials_folder",
    "write_partial",
]

_HEADER = threading.Lock()
"""numpy reads headers by ``ast``; in Python 3.11 two threads must not, where garbage is collected between."""
_PREFIX = ".partials-"


class PartialManifest(BaseModel):
    """What a task returns and leaves beside its files; about 1 KB."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    fingerprint: str
    files: dict[str, str]
    """Array name → sha256 of its file."""
    windows: int
    skipped: int
    """Windows without data, not predicted."""
    seconds: float
    """Wall time of the task."""
    warnings: tuple[str, ...] = ()
    """What the task of the first window rows found in a sample of the scene, for its user."""
    rules: int = 1
    """:data:`geoseg.engine.plan.RULES` under which it was made."""


def _array_path(folder: Path, name: str, array: str) -> Path:
    return folder / f"{name}.{array}.npy"


def write_partial(folder: Path, arrays: Mapping[str, Array], manifest: PartialManifest) -> PartialManifest:
    """Write a partial result: each C-contiguous array, then the manifest, completed by their hashes."""
    hashes: dict[str, str] = {}
    with stage("partial results") as writing:
        for name, array in arrays.items():
            path = _array_path(folder, manifest.name, name)
            with staged(path, forced=False) as temporary, temporary.open("wb") as file:
                hashed = _Hashed(file)
                np.save(hashed, array, allow_pickle=False)
            hashes[name] = hashed.sha256.hexdigest()
            writing.count(array.nbytes)
        complete = manifest.model_copy(update={"files": hashes})
        with staged(folder / f"{manifest.name}.json", forced=False) as temporary:
            temporary.write_text(complete.model_dump_json(), encoding="utf-8")
    return complete


class _Hashed:
    """A file that is hashed while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self.sha256 = hashlib.sha256()
        self._file = file

    def write(self, some: bytes) -> int:
        """Write some bytes."""
        self.sha256.update(some)
        return self._file.write(some)


def find_partial(folder: Path, name: str, fingerprint: str) -> PartialManifest | None:
    """The manifest of a finished partial result, or None where it has to be computed (again).

    It counts only when its manifest parses, belongs to this plan and every file has the manifest's hash.
    """
    path = folder / f"{name}.json"
    try:
        manifest = PartialManifest.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValidationError, ValueError):
        return None
    if manifest.fingerprint != fingerprint:
        return None
    for array, expected in manifest.files.items():
        file = _array_path(folder, name, array)
        if not file.is_file() or sha256_of(file) != expected:
            return None
    return manifest


def open_partial(folder: Path, manifest: PartialManifest, array: str) -> Array:
    """An array of a partial result, mapped from disk; OutputError where it is gone or is no array."""
    path = _array_path(folder, manifest.name, array)
    try:
        with _HEADER:
            mapped: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{path} cannot be read back ({error}); run again to recompute this partial result"
        ) from error
    return mapped


def oldest_rules(scene: Path) -> int | None:
    """Lowest number of the rules that a scene's partial results were made under; None: there are none."""
    found = []
    for path in scene.glob(f"{_PREFIX}*/*.json"):
        with suppress(OSError, ValueError):  # a manifest that cannot be read counts for no partial result
            found.append(PartialManifest.model_validate_json(path.read_text(encoding="utf-8")).rules)
    return min(found, default=None)


def partials_folder(scene: Path, fingerprint: str) -> Path:
    """Where tasks of a scene's plan leave their partial results: a hidden folder in the scene's own."""
    return scene / f"{_PREFIX}{fingerprint[:16]}"


def discard_partials(scene: Path) -> None:
    """Remove all partial results in a scene's folder, other plans' too, and the folder where it is empty."""
    for folder in scene.glob(f"{_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)  # what cannot be removed now goes with the next run
    with suppress(OSError):  # the folder holds a map, or is not there
        scene.rmdir()
