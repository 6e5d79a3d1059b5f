"""Weights that other programs saved: a bare state dict, from safetensors or from ``torch.save``.

A ``.pt`` or ``.pth`` file is a pickle. It is only read with ``weights_only=True``, which runs nothing of it,
and first without memory for its tensors: a file of a kilobyte can declare tensors of gigabytes.
"""

from __future__ import annotations

import pickle
import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from geoseg.errors import BundleError
from geoseg.io.weights.weights import MAX_WEIGHTS_BYTES

__all__ = ["State", "read_state"]

State = dict[str, npt.NDArray[Any]]
"""Tensors by name, as they were saved."""

_WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net", "ema", "weights")
"""Keys under which checkpoints keep the weights beside optimizer states and counters."""
_MAGIC = (b"PK", b"\x80")
"""How what torch.save writes begins: a zip archive, or before torch 1.6 a pickle."""
_SLACK = 1_000_000
"""Bytes by which tensors may exceed their file: views that share memory."""


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
            raise BundleError(f"{path} is no regular file; give a state dict's file")
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


def _held(path: Path, name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
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
            f"{path} is no safetensors file that numpy can hold ({error}); save it as float32"
        ) from error


def _torch(path: Path, size: int) -> tuple[State, tuple[str, ...]]:
    with path.open("rb") as file:
        if not file.read(2).startswith(_MAGIC):
            raise BundleError(f"{path} is no file that torch.save wrote; give a state dict, or safetensors")
    declared, _ = _tensors(path, _load(path, "meta"))
    needed = sum(tensor.numel() * tensor.element_size() for tensor in declared.values())
    if needed > size + _SLACK:
        raise BundleError(
            f"{path} declares tensors of {needed / 1e6:.0f} MB but has only {size / 1e6:.1f} MB; it is no "
            "honest file"
        )
    found, within = _tensors(path, _load(path, "cpu"))
    # numpy has no bfloat16.
    return {name: (t.float() if t.is_floating_point() else t).numpy() for name, t in found.items()}, within


def _load(path: Path, device: str) -> Any:
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
        raise BundleError(f"{path} is no file that torch.save wrote ({reason:.160})") from error


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
