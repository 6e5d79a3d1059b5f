"""Tensors that are alive while a network runs, counted with it: this is what needs torch."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from geoseg.models.networks.registry import build

__all__ = ["count_live"]

_SIDE = 128


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
def count_live(architecture: str, arguments: str, device: str) -> tuple[float, float]:
    """Live tensors at the peak, and the peak of a heap that shares nothing between sizes; bytes per pixel.

    ``arguments``: JSON; ``device``: see :func:`geoseg.models.cost.memory.live_bytes_per_pixel`.
    """
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
