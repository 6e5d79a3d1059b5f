"""Files of weights: a bundle's own (safetensors, with the JSON item beside them), and other programs'.

A bundle may come from anywhere. Its weights are read from safetensors only, never from a pickle: loading one
runs whatever its maker put into it, and even torch's restricted loader accepts a 1.5 KB file that declares a
tensor of 16 GB. :func:`read_state`, for the import of bare weights, also reads what ``torch.save`` wrote:
with ``weights_only=True``, which runs nothing of it, and first without memory for its tensors.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import stat
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from geoseg.arrays import Array
from geoseg.errors import BundleError
from geoseg.io.files import staged

__all__ = [
    "Arrays",
    "State",
    "check_file",
    "check_graph",
    "check_weights",
    "copy_graph",
    "copy_weights",
    "read_item",
    "read_state",
    "read_weights",
    "stored_tensors",
    "write_graph",
    "write_weights",
]

Arrays = Mapping[str, Array]
State = dict[str, Array]
"""Tensors by name, as they were saved."""

MAX_WEIGHTS_BYTES = 2_000_000_000
"""Largest weights file that is read; safetensors holds no more elements than bytes, so this bounds both."""
MAX_ITEM_BYTES = 2_000_000
MAX_GRAPH_BYTES = 50_000_000

_DTYPES = (np.dtype(np.float32), np.dtype(np.int64))
_LENGTH_BYTES = 8
_PICKLES = {
    b"PK\x03\x04": "a zip archive, as torch.save and torch.jit.save write",
    b"\x80": "a Python pickle",
    b"\x1f\x8b": "a gzip file",
    b"\x89HDF": "an HDF5 file",
}
_WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net", "ema", "weights")
"""Keys under which checkpoints keep the weights beside optimizer states and counters."""
_MAGIC = (b"PK", b"\x80")
"""How what torch.save writes begins: a zip archive, or before torch 1.6 a pickle."""
_SLACK = 1_000_000
"""Bytes by which tensors may exceed their file: views that share memory."""


def write_weights(path: Path, arrays: Arrays) -> tuple[str, int]:
    """Write tensors as safetensors, in order of name, so that equal tensors give equal bytes.

    Args:
        path: final name.
        arrays: float32, or int64 for counters.

    Returns:
        Sha256 of the file, hexadecimal, and its size in bytes.

    Raises:
        BundleError: another dtype, or a value that is not finite.
        OutputError: the file cannot be written.
    """
    for name, array in arrays.items():
        if array.dtype not in _DTYPES:
            raise BundleError(f"tensor {name!r} is {array.dtype}; bundles hold float32: convert it first")
        if not np.isfinite(array).all():
            raise BundleError(f"tensor {name!r} holds values that are not finite: the training diverged")
    data: bytes = save({name: np.asarray(arrays[name], order="C") for name in sorted(arrays)})
    with staged(path) as temporary:
        temporary.write_bytes(data)
    return hashlib.sha256(data).hexdigest(), len(data)


def read_weights(path: Path, sha256: str) -> State:
    """Writable float32 and int64 arrays by name, all finite, of a safetensors file with this sha256.

    Raises:
        BundleError: no such file, a pickle or other format, altered, truncated or too large.
    """
    data = _checked(path, sha256)
    try:
        arrays = {name: np.array(array) for name, array in load(data).items()}
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise BundleError(f"{path} is not a safetensors file ({error}); fetch the bundle again") from error
    for name, array in arrays.items():
        if array.dtype not in _DTYPES:
            raise BundleError(f"{path}: tensor {name!r} is {array.dtype}, not float32; save it again")
        if not np.isfinite(array).all():
            raise BundleError(f"{path}: tensor {name!r} holds NaN or infinity; train or save it again")
    return arrays


def check_weights(path: Path, sha256: str) -> None:
    """Find whether a weights file is there with this sha256; BundleError as of :func:`read_weights`."""
    _checked(path, sha256)


def copy_weights(path: Path, sha256: str, target: Path) -> None:
    """Copy a weights file with this sha256, byte by byte; BundleError as of :func:`read_weights`."""
    data = _checked(path, sha256)
    with staged(target) as temporary:
        temporary.write_bytes(data)


def stored_tensors(path: Path) -> dict[str, tuple[tuple[int, ...], int, int]]:
    """Shape, first byte and number of bytes of each float32 tensor in a safetensors file that was checked."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = json.loads(file.read(size))
    found = {}
    for name, tensor in header.items():
        if name != "__metadata__" and tensor["dtype"] == "F32":
            first, stop = tensor["data_offsets"]
            found[name] = (tuple(tensor["shape"]), _LENGTH_BYTES + size + first, stop - first)
    return found


def write_graph(path: Path, data: bytes, verify: Callable[[Path], None] | None = None) -> tuple[str, int]:
    """Write a file of a bundle's graph; its sha256 and size in bytes. OutputError: it cannot be written.

    ``verify`` looks at the file before it has its name, and raises to refuse it.
    """
    with staged(path, verify) as temporary:
        temporary.write_bytes(data)
    return hashlib.sha256(data).hexdigest(), len(data)


def check_graph(path: Path, sha256: str, weights: str) -> None:
    """Find whether a graph is there with this sha256, and takes its weights from the file of that name alone.

    Raises:
        BundleError: no such file, altered, or one that reads other files.
    """
    data = _with_hash(path, sha256, MAX_GRAPH_BYTES, "graph")
    # ONNX names the file of a tensor under this key; a graph from anywhere must not have others opened.
    key, named = b"location", b"location\x12" + bytes([len(weights)]) + weights.encode()
    if data.count(key) != data.count(named):
        raise BundleError(f"{path} takes weights from other files than {weights}; fetch the bundle again")


def check_file(path: Path, sha256: str) -> None:
    """Find whether a file of a graph is there with this sha256; BundleError as of :func:`check_graph`."""
    _with_hash(path, sha256, MAX_WEIGHTS_BYTES, "graph")


def copy_graph(path: Path, sha256: str, target: Path) -> None:
    """Copy a file of a graph with this sha256, byte by byte; BundleError as of :func:`check_graph`."""
    write_graph(target, _with_hash(path, sha256, MAX_WEIGHTS_BYTES, "graph"))


def _checked(path: Path, sha256: str) -> bytes:
    data = _read(path, MAX_WEIGHTS_BYTES, "weights")
    for magic, what in _PICKLES.items():
        # A safetensors file begins with its header's length, in eight bytes that may be a pickle's, too.
        if data.startswith(magic) and data[_LENGTH_BYTES : _LENGTH_BYTES + 1] != b"{":
            raise BundleError(
                f"{path} is {what}, not safetensors; geoseg loads no format that can run code or hide its "
                "size: convert it with safetensors.torch.save_file"
            )
    return _hashed(path, data, sha256)


def _with_hash(path: Path, sha256: str, limit: int, what: str) -> bytes:
    return _hashed(path, _read(path, limit, what), sha256)


def _hashed(path: Path, data: bytes, sha256: str) -> bytes:
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise BundleError(
            f"{path} is not the file that item.json describes: sha256 {found}, expected {sha256}; it was "
            "altered or only partly copied: fetch the bundle again"
        )
    return data


def read_item(path: Path) -> dict[str, Any]:
    """Read a bundle's STAC item: strict JSON, no key twice, no NaN.

    Raises:
        BundleError: no such file, or no such JSON; names the line.
    """
    data = _read(path, MAX_ITEM_BYTES, "item")
    if b"\0" in data:
        raise BundleError(
            f"{path} is not a bundle's item.json; give a model's name (geoseg models list) or the path of a "
            "bundle's folder"
        )
    try:
        item = json.loads(data, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise BundleError(
            f"{path}:{error.lineno}: is not JSON ({error.msg}); fetch the bundle again"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: {error}; fetch the bundle again") from error
    if not isinstance(item, dict):
        raise BundleError(
            f"{path} is not a STAC item but a JSON {type(item).__name__}; give a bundle's item.json"
        )
    return item


def _read(path: Path, limit: int, what: str) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            raise BundleError(f"{path} is not a regular file; a bundle's {what} must be one")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise BundleError(
            f"{path} does not exist; a bundle is a folder with item.json and its weights"
        ) from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}; check the bundle's folder") from error
    if len(data) > limit:
        raise BundleError(
            f"{path} is larger than {limit / 1e6:.0f} MB, more than any {what} that geoseg reads"
        )
    return data


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def read_state(path: Path) -> tuple[State, tuple[str, ...]]:
    """Read a state dict.

    Args:
        path: ``.safetensors``, or any other name for what ``torch.save`` wrote: a state dict, or a checkpoint
            with one under a usual key (``state_dict``, ``model`` …).

    Returns:
        Tensors by name, and the keys under which they were found in the file, outermost first.

    Raises:
        BundleError: no such file, one that is more than tensors, too large, or without a state dict.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BundleError(f"{path} is not a regular file; give a state dict's file")
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise BundleError(
            f"{path} does not exist; give a file of weights (.safetensors, .pt, .pth)"
        ) from error
    if size > MAX_WEIGHTS_BYTES:
        raise BundleError(
            f"{path} is larger than {MAX_WEIGHTS_BYTES / 1e6:.0f} MB, the most that geoseg reads"
        )
    state, within = (_safetensors(path), ()) if path.suffix == ".safetensors" else _torch(path, size)
    return {name: _held(path, name, array) for name, array in state.items()}, within


def _held(path: Path, name: str, array: Array) -> Array:
    """An array as bundles hold it: float32, or int64 for counters."""
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array, np.float32).reshape(array.shape)  # a scalar stays one
    if array.dtype == np.int64:
        return array
    raise BundleError(f"{path}: tensor {name!r} is {array.dtype}; geoseg's networks hold float32")


def _safetensors(path: Path) -> State:
    try:
        return {name: np.array(array) for name, array in load(path.read_bytes()).items()}
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise BundleError(
            f"{path} is not a safetensors file that numpy can hold ({error}); save it as float32"
        ) from error


def _torch(path: Path, size: int) -> tuple[State, tuple[str, ...]]:
    with path.open("rb") as file:
        if not file.read(2).startswith(_MAGIC):
            raise BundleError(
                f"{path} is not a file that torch.save wrote; give a state dict, or safetensors"
            )
    declared, _ = _tensors(path, _load_pickle(path, "meta"))
    needed = sum(tensor.numel() * tensor.element_size() for tensor in declared.values())
    if needed > size + _SLACK:
        raise BundleError(
            f"{path} declares tensors of {needed / 1e6:.0f} MB but has only {size / 1e6:.1f} MB; the file "
            "is damaged or forged"
        )
    found, within = _tensors(path, _load_pickle(path, "cpu"))
    # numpy has no bfloat16.
    return {name: (t.float() if t.is_floating_point() else t).numpy() for name, t in found.items()}, within


def _load_pickle(path: Path, device: str) -> Any:
    import torch  # noqa: PLC0415 - reading contracts and safetensors needs no torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old pickles; what they hold is checked here
            return torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise BundleError(
            f"{path} holds more than tensors, which could run code, so geoseg does not load it; save its "
            "state dict alone: torch.save(model.state_dict(), …), or safetensors.torch.save_file"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise BundleError(f"{path} is not a file that torch.save wrote ({reason:.160})") from error


def _tensors(path: Path, loaded: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The state dict in what was loaded, and the keys that lead to it."""
    import torch  # noqa: PLC0415 - see above

    within: list[str] = []
    while isinstance(loaded, Mapping):
        if loaded and all(isinstance(value, torch.Tensor) for value in loaded.values()):
            return {str(name): tensor for name, tensor in loaded.items()}, tuple(within)
        key = next((key for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)), None)
        if key is None:
            break
        within.append(key)
        loaded = loaded[key]
    where = f" under {'.'.join(within)}" if within else ""
    keys = ", ".join(map(str, list(loaded)[:6])) if isinstance(loaded, Mapping) else type(loaded).__name__
    raise BundleError(
        f"{path} holds no state dict{where} (it has {keys or 'nothing'}); save model.state_dict() alone"
    )
