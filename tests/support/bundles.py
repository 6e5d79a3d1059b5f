"""Bundles spoilt on purpose."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from safetensors.numpy import load_file, save_file

from geoseg.io.files import sha256_of

__all__ = ["cross_weights", "flip_bit", "reweigh"]


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


def cross_weights(graph: bytes) -> bytes:
    """A graph that takes two of its weights, of one shape, from each other's place in the file."""
    model = onnx.load_model_from_string(graph)
    places: dict[tuple[int, ...], list[Any]] = {}
    for tensor in model.graph.initializer:
        found = [entry for entry in tensor.external_data if entry.key == "offset"]
        if len(tensor.dims) == 4:
            places.setdefault(tuple(tensor.dims), []).extend(found)
    first, other = next(same[:2] for same in places.values() if len(same) > 1)
    first.value, other.value = other.value, first.value
    data: bytes = model.SerializeToString(deterministic=True)
    return data
