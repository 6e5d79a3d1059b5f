"""Bundles spoilt on purpose."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

from geoseg.io.files import sha256_of

__all__ = ["flip_bit", "reweigh"]


def flip_bit(path: Path) -> None:
    """Change the last byte of a file."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def reweigh(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Give a bundle other, honestly hashed weights."""
    path = folder / "weights.safetensors"
    arrays = load_file(path)
    change(arrays)
    save_file(arrays, path)
    item = json.loads((folder / "item.json").read_text())
    item["assets"]["weights"]["file:checksum"] = "1220" + sha256_of(path)
    item["assets"]["weights"]["file:size"] = path.stat().st_size
    (folder / "item.json").write_text(json.dumps(item))
