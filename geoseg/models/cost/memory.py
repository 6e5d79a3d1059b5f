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

__all__ = ["bytes_per_pixel", "weights_bytes"]

_SIDE = 128
_COPIES = 3
"""Weights are there so often while a bundle is loaded (the file, its arrays, channels last), and glibc keeps
what is freed: measured on U-Net, skinny U-Net and ResNet101 as 2.99 to 3.01 times the weights."""
_HEAP = 2.2
"""What a process holds at its peak for each byte of live tensors. Scratch memory of libraries is a tenth
(U-Nets, what was freed given back before each operation: 1.10); the rest are holes in glibc's heap between
tensors of many sizes. They differ from pass to pass and with what was computed before: at windows of 384 to
768 px 1.2 to 2.1 were measured (most on U-Net after smaller windows). The smallest networks reach 2.9 at
256 px, which is 4 MB more. ``tests/engine/test_memory.py`` holds the estimate against real processes."""


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Tracks the storages that come to life while a network runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.live = 0
        self.peak = 0
        self._seen: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch's documented switch; skipping its compiler would first import it: 900 modules.
        return False

    def _release(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size

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
                    weakref.finalize(storage, self._release, key, size)
        self.peak = max(self.peak, self.live)
        return result


@lru_cache(maxsize=128)
def _count(architecture: str, arguments: str, device: str) -> float:
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
    peak: int = counter.peak
    return _HEAP * peak / _SIDE**2


def bytes_per_pixel(
    architecture: str, arguments: Mapping[str, Any], device: Literal["cpu", "meta"] = "cpu"
) -> float:
    """Memory that forward passes in float32 take of a process, in bytes per pixel of their window.

    Without weights, and without what does not grow with the window (compiled kernels, reordered weights).
    Live tensors are counted; what the heap takes for them is a measured factor, large enough for any family.

    Args:
        architecture: a registered name.
        arguments: what it is built with.
        device: ``cpu`` computes; ``meta`` does not, which is faster for several large networks, but torch
            imports its compiler for it: two seconds and 150 MB of a process. The count is the same.

    Raises:
        BundleError: no such architecture or arguments.
    """
    return _count(architecture, json.dumps(dict(arguments), sort_keys=True, default=list), device)


def weights_bytes(spec: BundleSpec) -> int:
    """Memory that a bundle's weights take in a process, in bytes, loading them included.

    Raises:
        BundleError: the bundle was not saved yet.
    """
    if spec.weights is None:
        raise BundleError(f"the bundle {spec.name} has no weights yet; save it with save_bundle")
    return _COPIES * spec.weights.size
