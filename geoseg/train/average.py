"""The moving average of a network's weights, and its use in the network's place."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

__all__ = ["Average", "copied", "state_in"]


def copied(state: dict[str, Tensor], device: str | None = None) -> dict[str, Tensor]:
    """A copy of a state that later steps leave alone, on a device or where it is."""
    return {key: value.detach().to(device or value.device, copy=True) for key, value in state.items()}


class Average:
    """Exponential moving average of a network's state: floats averaged, counters taken over.

    It warms up, or the first random weights would stay in it for long: the decay of step ``t`` is
    ``min(decay, (1 + t) / (10 + t))``.

    Args:
        network: Whose state.
        decay: Share that stays each step.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = copied(network.state_dict())

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the state after a step, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        now = network.state_dict()
        floats = [key for key, value in now.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.state[key] for key in floats], [now[key] for key in floats], 1 - decay)
        for key in now.keys() - set(floats):
            self.state[key].copy_(now[key])

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from a saved state."""
        for key, value in state.items():
            self.state[key].copy_(value)


@contextmanager
def state_in(network: nn.Module, state: dict[str, Tensor] | None) -> Iterator[None]:
    """The network in evaluation mode with another state (None: its own), and then as it was."""
    training = network.training
    own = copied(network.state_dict()) if state is not None else None
    if state is not None:
        network.load_state_dict(state)
    network.eval()
    try:
        yield
    finally:
        if own is not None:
            network.load_state_dict(own)
        network.train(training)
