"""The moving average of a network's weights, and its use in the network's place."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

__all__ = ["MovingAverage", "copy_state", "copy_tensors", "swapped_state"]


def copy_state(state: dict[str, Tensor], device: str | None = None) -> dict[str, Tensor]:
    """A copy of a state that later steps leave alone, on a device or where it is."""
    return {key: value.detach().to(device or value.device, copy=True) for key, value in state.items()}


@torch.no_grad()
def copy_tensors(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy tensors into others, all of them at once: one by one, a GPU would wait for the calls."""
    for floats in (True, False):
        pairs = [pair for pair in zip(targets, sources, strict=True) if pair[0].is_floating_point() == floats]
        if pairs:
            torch._foreach_copy_([to for to, _ in pairs], [of for _, of in pairs])


class MovingAverage:
    """Exponential moving average of a network's state: floats averaged, counters taken over.

    It warms up, or the first random weights would stay in it for long: the decay of step ``t`` is
    ``min(decay, (1 + t) / (10 + t))``. torch's ``AveragedModel`` would average the counters of batch
    normalization too (or else copy its running statistics) and has one decay for all steps.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self._now = network.state_dict()
        self.state = copy_state(self._now)
        floats = [key for key, value in self._now.items() if value.is_floating_point()]
        self._floats = [self.state[key] for key in floats], [self._now[key] for key in floats]
        counters = sorted(self._now.keys() - set(floats))
        self._counters = [self.state[key] for key in counters], [self._now[key] for key in counters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the network's state after a step, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        average(*self._floats, step)
        copy_tensors(*self._counters)

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from a saved state."""
        copy_tensors(list(self.state.values()), [state[key] for key in self.state])


@contextmanager
def swapped_state(network: nn.Module, state: dict[str, Tensor] | None) -> Iterator[None]:
    """The network in evaluation mode with another state (None: its own), and then as it was."""
    training = network.training
    own = copy_state(network.state_dict()) if state is not None else None
    if state is not None:
        network.load_state_dict(state)
    network.eval()
    try:
        yield
    finally:
        if own is not None:
            network.load_state_dict(own)
        network.train(training)
