"""What the loop asks of whatever gives it chips, and of whatever scores the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from geoseg.train.chips import Chip
    from geoseg.train.validate import Score

__all__ = ["ChipSource", "Scorer"]


class ChipSource(Protocol):
    """Gives the chips of each batch, as a function of the batch's number alone.

    Batches are numbered from 0; batch ``n`` of ``size`` chips holds the chips ``n × size`` … . All of a batch
    have one side. Calls come from one thread at a time, mostly in the order of the numbers.
    """

    @property
    def identity(self) -> str:
        """All that decides the chips: scenes, their split, settings, seed. Equal for equal chips."""
        ...

    @property
    def epoch(self) -> int:
        """How many chips cover the labelled area once, at least 1."""
        ...

    def batch(self, step: int, size: int, *, part: tuple[int, int] = (0, 1)) -> Chip:
        """The chips of a batch, or a part of them.

        Args:
            step: Number of the batch, from 0.
            size: Chips of the whole batch.
            part: (i, n): only chips i, i + n, i + 2n … of it, for process i of n that share a batch.

        Returns:
            Float (N, C, S, S), bool (N, S, S), int64 (N, S, S), on the CPU.
        """
        ...

    def scenes_of(self, step: int, size: int) -> tuple[str, ...]:
        """Names of the scenes that the chips of a batch were cut from, one per chip."""
        ...


class Scorer(Protocol):
    """Scores a network on the held-out blocks."""

    def score(
        self,
        logits: Callable[[Tensor, Tensor], Tensor],
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Score:
        """Score what ``logits`` predicts.

        Args:
            logits: Takes stored pixels (1, C, H, W) and validity (1, H, W) on the CPU, gives logits
                (1, K, H, W) on the CPU, float32.
            loss: Takes those logits and labels (1, H, W), gives a scalar; ``Score.loss`` is its mean over the
                windows, each counting by its labelled pixels. None: ``Score.loss`` is None.
        """
        ...
