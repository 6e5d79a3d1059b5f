"""Part files: what a band leaves on disk for the assembler, each with a receipt that is written last.

A part is three arrays (``store``: finished quantized rows; ``top`` and ``bottom``: seams) as plain ``.npy``
files, which the assembler reads row by row without loading them. The receipt names the sha256 of each; a
part without a valid receipt does not exist.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from geoseg.arrays import Array
from geoseg.errors import OutputError
from geoseg.io.files import sha256_of, staged, write_text

__all__ = [
    "PartialManifest",
    "discard_partials",
    "find_part",
    "open_partial",
    "partials_folder",
    "write_partial",
]

_PREFIX = ".parts-"


class PartialManifest(BaseModel):
    """What a task returns and leaves beside its files; under 1 KB."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """File stem of the part."""
    fingerprint: str
    """Fingerprint of the scene's plan."""
    files: dict[str, str]
    """Array name → sha256 of its file."""
    windows: int
    """Windows predicted."""
    skipped: int
    """Windows without data, not predicted."""
    seconds: float
    """Wall time of the task."""


def _array_path(folder: Path, name: str, array: str) -> Path:
    return folder / f"{name}.{array}.npy"


def write_partial(folder: Path, arrays: Mapping[str, Array], receipt: PartialManifest) -> PartialManifest:
    """Commit a part: each array, then the receipt.

    Args:
        folder: the scene's parts folder; made where it is missing.
        arrays: any C-contiguous arrays by name.
        receipt: all but the hashes, which are filled in.

    Raises:
        OutputError: the disk is full or read-only.
    """
    hashes: dict[str, str] = {}
    for name, array in arrays.items():
        path = _array_path(folder, receipt.name, name)
        with staged(path) as temporary, temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)
        hashes[name] = sha256_of(path)
    complete = receipt.model_copy(update={"files": hashes})
    write_text(folder / f"{receipt.name}.json", complete.model_dump_json())
    return complete


def find_part(folder: Path, name: str, fingerprint: str) -> PartialManifest | None:
    """The receipt of a finished part, or None where the part has to be made (again).

    A part counts only when its receipt parses, belongs to this plan and every file has the receipt's hash.
    """
    path = folder / f"{name}.json"
    try:
        receipt = PartialManifest.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValidationError, ValueError):
        return None
    if receipt.fingerprint != fingerprint:
        return None
    for array, expected in receipt.files.items():
        file = _array_path(folder, name, array)
        if not file.is_file() or sha256_of(file) != expected:
            return None
    return receipt


def open_partial(folder: Path, receipt: PartialManifest, array: str) -> Array | None:
    """An array of a part, mapped from disk; None where the part has no such array.

    Raises:
        OutputError: the file is gone or is no array.
    """
    if array not in receipt.files:
        return None
    path = _array_path(folder, receipt.name, array)
    try:
        mapped: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{path} cannot be read back ({error}); run again to make this part anew"
        ) from error
    return mapped


def partials_folder(scene: Path, fingerprint: str) -> Path:
    """Where the bands of a scene's plan leave their parts: a hidden folder in the scene's own."""
    return scene / f"{_PREFIX}{fingerprint[:16]}"


def discard_partials(scene: Path) -> None:
    """Remove all parts in a scene's folder, other plans' too, and the folder where nothing else is in it."""
    for folder in scene.glob(f"{_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)  # what cannot be removed now goes with the next run
    with suppress(OSError):  # the folder holds a map, or is not there
        scene.rmdir()
