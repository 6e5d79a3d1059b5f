"""What a training minimizes: the weighted sum of a recipe's terms on a network's outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional

from geoseg.config.training.train_config import CrossEntropy
from geoseg.errors import RunError
from geoseg.models.networks.border import without_border
from geoseg.train.losses import cross_entropy, focal_loss, imitation_loss, overlap_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.config.training.train_config import Loss
    from geoseg.config.training.training_file import Distill
    from geoseg.train.losses import Combine, Counts

__all__ = ["Objective"]


class Objective:
    """Weighted sum of losses.

    All terms count on the main output. Inner outputs (auxiliary heads) add the recipe's share of their
    cross-entropy, with its class weights and smoothing: MiniNet's deep supervision, 1.0 for the main one and
    0.4 for each of the others.

    Args:
        loss: The terms and their weights.
        distill: How a teacher is imitated; None: there is none.
        combine: Adds sums up over the processes that share a batch; None: there is one.
    """

    def __init__(self, loss: Loss, distill: Distill | None = None, combine: Combine | None = None) -> None:
        self.loss, self.distill, self.combine = loss, distill, combine

    def __call__(
        self,
        outputs: Tensor | Sequence[Tensor],
        target: Tensor,
        *,
        valid: Tensor | None = None,
        teacher: Tensor | None = None,
        counts: Counts | None = None,
    ) -> Tensor:
        """The loss of a batch or of a piece of one.

        Args:
            outputs: Logits, float (N, K, H, W), the main ones first. Inner ones of another size are compared
                at the target's size (bilinear).
            target: Class ids (N, H, W), 255 where no label is.
            valid: Bool (N, H, W): where a teacher is imitated; None: everywhere.
            teacher: Float (N, K, H, W), with the border's channel or without; needed where the objective
                distills.
            counts: Of the batch that this is a piece of; None: it is whole.

        Returns:
            A scalar. The pieces of a batch add up to the whole (see :mod:`geoseg.train.losses`).

        Raises:
            RunError: the teacher's logits are missing or of another shape.
        """
        every: list[Tensor] = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        main, inner = every[0], every[1:]
        terms = self.loss
        total = main.sum() * 0.0
        if terms.cross_entropy is not None:
            total = total + terms.cross_entropy.weight * cross_entropy(
                main, target, terms.cross_entropy, counts=counts
            )
        if terms.overlap is not None:
            total = total + terms.overlap.weight * overlap_loss(
                main, target, terms.overlap, counts=counts, combine=self.combine
            )
        if terms.focal is not None:
            total = total + terms.focal.weight * focal_loss(main, target, terms.focal, counts=counts)
        if terms.deep_supervision:
            for logits in inner:
                total = total + terms.deep_supervision * cross_entropy(
                    _at(logits, target),
                    target,
                    terms.cross_entropy or CrossEntropy(),
                    counts=counts,
                )
        if self.distill is not None:
            if teacher is not None:  # one of the two may know no borders
                known = min(teacher.shape[1], main.shape[1])
                main, teacher = without_border(main, known), without_border(teacher, known)
            if teacher is None or teacher.shape != main.shape:
                shape = None if teacher is None else tuple(teacher.shape)
                raise RunError(
                    f"the teacher's logits are {shape}, the network's {tuple(main.shape)}: "
                    "a teacher needs the same classes"
                )
            total = total + self.distill.weight * imitation_loss(
                main, teacher, self.distill.temperature, valid, counts=counts
            )
        return total


def _at(logits: Tensor, target: Tensor) -> Tensor:
    if logits.shape[2:] == target.shape[1:]:
        return logits
    height, width = target.shape[1:]
    return functional.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
