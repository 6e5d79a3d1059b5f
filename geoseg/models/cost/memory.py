"""How much memory a network takes, counted while a small window goes through it.

Counting takes torch and the network; of a saved bundle the contract has the figures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from geoseg.config.model.contract import BundleSpec, Counted
from geoseg.errors import BundleError
from geoseg.models.runtime import Backend, Precision

__all__ = [
    "bytes_per_pixel",
    "counted",
    "live_bytes_per_pixel",
    "model_pass_bytes",
    "pass_bytes",
    "weights_bytes",
]

_COPIES = 3
"""Weights are there so often while a bundle is loaded (the file, its arrays, channels last), and glibc keeps
what is freed: measured on U-Net, skinny U-Net and ResNet101 as 2.99 to 3.01 times the weights."""
_HEAP = 2.2
"""What a process holds at its peak for each byte of live tensors, for most networks. Libraries add a
hundredth to the tensors (``tests/engine/test_memory.py``, each tensor mapped by itself); the rest are holes
between tensors in glibc's heap."""
_MOST_HOLES = 3.2
"""The same where tensors of many sizes take turns, as far as :data:`_HOLES_BYTES` allows."""
_HOLES_BYTES = 250_000_000
"""What holes take beside ``_HEAP``, at most, in windows of up to 1024 px, the largest that were measured.

The holes depend on what a process did before, so that they differ from process to process. Measured with
oneDNN at AVX2 and at AVX-512, on 17 networks and windows of 96 to 1024 px: passes in 742 processes, and the
allocations of each network and window replayed on 200 to 600 heaps of random state, 19,000 heaps in all. Half
of the peaks are below 1.9 times the live tensors. The highest are 3.0 times: LiteUNet 3.0 (237 MB beside
``_HEAP`` at 896 px), MobileNetV3 3.0, MobileNetV2 2.9, MiniNet #2 2.1, Micro-Net 1.9. Below 15 MB of live
tensors a few MB more are taken, which are within the bound on a process."""


_OPENVINO: Final[Mapping[Precision, float]] = {"fp32": 0.72, "bf16": 0.45, "int8": 0.36}
"""What OpenVINO takes for each byte of torch's live tensors: it plans its memory for a shape, and fuses.
Measured for three families, images and logits included: 0.46 to 0.66 in fp32, 0.24 to 0.39 in bf16; 0.30 in
int8 (Lite U-Net). ``tests/models/test_backends.py`` holds it."""


_ONNXRUNTIME: Final = 1.5
"""What onnxruntime takes for each byte of torch's live tensors beside :data:`_ONNXRUNTIME_HOLES`, and never
more than torch: the tensors of large windows are mapped by themselves, without holes."""
_ONNXRUNTIME_HOLES: Final = 150_000_000
"""In bytes. Measured in 60 processes, with nine families and windows of 256 to 1536 px: 1.5 to 2.6 times the
live tensors at 256 px, 0.6 to 1.8 times at 1024 px; at most 0.8 of this bound where it is below torch's, else
0.94 of torch's. ``tests/models/test_backends.py`` holds it."""


def _count(architecture: str, arguments: Mapping[str, Any], device: str) -> tuple[float, float]:
    from geoseg.models.cost.live_bytes import count_live  # noqa: PLC0415 - it imports torch

    return count_live(architecture, json.dumps(dict(arguments), sort_keys=True, default=list), device)


def live_bytes_per_pixel(
    architecture: str, arguments: Mapping[str, Any], device: Literal["cpu", "meta"] = "cpu"
) -> float:
    """Tensors that are alive at the peak of a forward pass in float32, in bytes per pixel of its window.

    Without weights, and without what does not grow with the window (compiled kernels, reordered weights).

    Args:
        architecture: a registered name.
        arguments: what it is built with.
        device: ``cpu`` computes; ``meta`` does not, which is faster for several large networks, but torch
            imports its compiler for it: two seconds and 150 MB of a process. The count is the same.

    Raises:
        BundleError: no such architecture or arguments.
    """
    return _count(architecture, arguments, device)[0]


def bytes_per_pixel(
    architecture: str, arguments: Mapping[str, Any], device: Literal["cpu", "meta"] = "cpu"
) -> float:
    """Memory that forward passes take of a process, in bytes per pixel, with the heap's usual holes.

    A plan counts by :func:`pass_bytes`, which leaves more room where tensors have many sizes. Arguments and
    errors are those of :func:`live_bytes_per_pixel`.
    """
    return _HEAP * live_bytes_per_pixel(architecture, arguments, device)


def pass_bytes(
    architecture: str, arguments: Mapping[str, Any], pixels: int, device: Literal["cpu", "meta"] = "cpu"
) -> int:
    """Bound on the memory that forward passes over so many pixels at a time take of a process, in bytes.

    Without weights. 2.2 times the live tensors; where these have many sizes more, up to 3.2 times or 250 MB,
    but never more than if each size had memory of its own. Measured, not proven. On a GPU torch's allocator
    takes the place of the heap, and the bound is generous. The other arguments and errors are those of
    :func:`live_bytes_per_pixel`.
    """
    return _bound(*_count(architecture, arguments, device), pixels)


def model_pass_bytes(
    spec: BundleSpec, pixels: int, backend: Backend = "torch", precision: Precision = "fp32"
) -> int:
    """Bound on the memory that a model's forward passes over so many pixels at a time take, in bytes.

    With torch that of :func:`pass_bytes`, by the figures of the contract where these are of this very
    network; onnxruntime takes no more, and less in large windows.
    """
    if backend == "openvino":
        return int(_OPENVINO[precision] * _live_bytes(spec) * pixels)
    known = spec.counted if spec.is_as_saved else None
    if known is None:
        bound = pass_bytes(spec.architecture, spec.arguments, pixels)
    else:
        bound = _bound(known.live_bytes, known.unshared_bytes, pixels)
    if backend == "onnxruntime":
        return min(bound, int(_ONNXRUNTIME * _live_bytes(spec) * pixels) + _ONNXRUNTIME_HOLES)
    return bound


def _live_bytes(spec: BundleSpec) -> float:
    if spec.is_as_saved and spec.counted is not None:
        return spec.counted.live_bytes
    return live_bytes_per_pixel(spec.architecture, spec.arguments)


def counted(spec: BundleSpec) -> Counted:
    """What a contract states of its network's memory; errors are those of :func:`live_bytes_per_pixel`."""
    live, unshared = _count(spec.architecture, spec.arguments, "cpu")
    return Counted(made_of=spec.network_digest, live_bytes=live, unshared_bytes=unshared)


def _bound(live_per_pixel: float, unshared_per_pixel: float, pixels: int) -> int:
    live, unshared = live_per_pixel * pixels, unshared_per_pixel * pixels
    usual = _HEAP * live
    return int(max(usual, min(unshared, _MOST_HOLES * live, usual + _HOLES_BYTES)))


def weights_bytes(spec: BundleSpec) -> int:
    """Memory that a bundle's weights take in a process, in bytes, loading them included.

    Raises:
        BundleError: the bundle was not saved yet.
    """
    if spec.weights is None:
        raise BundleError(f"the bundle {spec.name} has no weights yet; save it with save_bundle")
    return _COPIES * spec.weights.size
