"""How much memory a network takes, counted without computing anything."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from geoseg.models.registry import build

__all__ = ["network_bytes"]

_SIDE = 256
_SCRATCH = 1.5
"""Library scratch (reordered weights and activations) on top of live tensors, measured on Micro-Net and
MiniNet with oneDNN; ``tests/test_memory.py`` holds the estimate against a real process."""


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Tracks the storages that are alive while a network runs on the meta device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.live = 0
        self.peak = 0
        self._seen: set[int] = set()

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


@lru_cache(maxsize=32)
def _count(architecture: str, arguments: str) -> int:
    thawed: dict[str, Any] = json.loads(arguments)
    with torch.device("meta"):
        network = build(architecture, **thawed).eval()
        image = torch.empty(1, thawed["bands"], _SIDE, _SIDE)
        with torch.inference_mode(), _LiveBytes() as counter:
            network(image)
    return int(_SCRATCH * counter.peak)


def network_bytes(architecture: str, arguments: Mapping[str, Any]) -> int:
    """Memory of one forward pass over a 256×256 window in float32, batch 1, without weights, in bytes.

    Live tensors are counted on the meta device, scratch memory is a measured factor; the result scales with
    the number of pixels.

    Raises:
        BundleError: no such architecture or arguments.
    """
    return _count(architecture, json.dumps(dict(arguments), sort_keys=True, default=list))
