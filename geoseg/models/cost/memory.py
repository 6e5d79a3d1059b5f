"""How much memory a network takes, counted while a small window goes through it."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from geoseg.config.model.contract import BundleSpec
from geoseg.errors import BundleError
from geoseg.models.networks.registry import build

__all__ = ["bytes_per_pixel", "live_bytes_per_pixel", "pass_bytes", "weights_bytes"]

_SIDE = 128
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


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Tracks the storages that come to life while a network runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.live = 0
        self.peak = 0
        self.peaks: dict[int, int] = {}
        self._live_of: dict[int, int] = {}
        self._seen: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch's documented switch; skipping its compiler would first import it: 900 modules.
        return False

    @property
    def unshared(self) -> int:
        """Peak of a heap where no tensor ever takes the place of one of another size."""
        return sum(self.peaks.values())

    def _release(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size
        self._live_of[size] -= size

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                key = storage._cdata  # noqa: SLF001 - the only identity of a storage that views share
                if key not in self._seen:
                    self._seen.add(key)
                    size = storage.nbytes()
                    self.live += size
                    self._live_of[size] = self._live_of.get(size, 0) + size
                    self.peaks[size] = max(self.peaks.get(size, 0), self._live_of[size])
                    weakref.finalize(storage, self._release, key, size)
        self.peak = max(self.peak, self.live)
        return result


@lru_cache(maxsize=128)
def _count(architecture: str, arguments: str, device: str) -> tuple[float, float]:
    """Live tensors at the peak, and the peak of a heap that shares nothing between sizes; bytes per pixel."""
    thawed: dict[str, Any] = json.loads(arguments)
    with torch.device("meta"):
        network = build(architecture, **thawed).eval()
    if device == "cpu":
        # Zeros that nobody writes to take no memory, whatever a contract's arguments say.
        zeros = {
            key: torch.zeros(value.shape, dtype=value.dtype) for key, value in network.state_dict().items()
        }
        network.load_state_dict(zeros, assign=True)
    image = torch.zeros(1, thawed["bands"], _SIDE, _SIDE, device=device)
    image = image.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), _LiveBytes() as counter:
        network(image)
    return counter.peak / _SIDE**2, counter.unshared / _SIDE**2


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
    return _count(architecture, _frozen(arguments), device)[0]


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
    live, unshared = (each * pixels for each in _count(architecture, _frozen(arguments), device))
    usual = _HEAP * live
    return int(max(usual, min(unshared, _MOST_HOLES * live, usual + _HOLES_BYTES)))


def _frozen(arguments: Mapping[str, Any]) -> str:
    return json.dumps(dict(arguments), sort_keys=True, default=list)


def weights_bytes(spec: BundleSpec) -> int:
    """Memory that a bundle's weights take in a process, in bytes, loading them included.

    Raises:
        BundleError: the bundle was not saved yet.
    """
    if spec.weights is None:
        raise BundleError(f"the bundle {spec.name} has no weights yet; save it with save_bundle")
    return _COPIES * spec.weights.size
