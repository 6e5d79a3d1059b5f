"""Losses on logits: cross-entropy, Jaccard / Dice / Tversky, focal, imitation of a teacher, and their sum.

Each takes logits, float (N, K, …), and class ids (N, …), 255 where no label is; works on any device, in
float32 at least; and gives 0 with a gradient path where nothing is labeled. The ``weight`` in its settings is
the caller's to apply.

Every mean over a batch can be taken in pieces: with the ``counts`` of the whole batch (None: the piece is
whole), the losses of its pieces add up to the loss of the whole. That is what makes gradient accumulation,
and processes that share a batch, equal to one large batch. The one exception is an overlap loss over the
batch (``per_batch``), whose fraction needs all pixels at once: processes add up their sums (``combine``), but
pieces that come one after the other are averaged, as accumulated gradients of that loss are everywhere.

Sources: :func:`overlap_loss` is that of "Jaccard Metric Losses" and "Dice Semimetric Losses" (Wang et al.),
which "Finding a Faster UNet for Satellite Image Segmentation" trains with; :func:`focal_loss` "Focal Loss for
Dense Object Detection" (Lin et al.); :func:`imitation_loss` "Distilling the Knowledge in a Neural Network"
(Hinton et al.).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.config.training.train_config import CrossEntropy, Focal, Overlap
from geoseg.errors import RunError
from geoseg.grid.encoding import IGNORE
from geoseg.models.networks.network import without_border

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.config.training.train_config import Loss
    from geoseg.config.training.training_file import Distill

__all__ = [
    "BatchCounts",
    "Objective",
    "cross_entropy",
    "focal_loss",
    "imitation_loss",
    "invalid_labels",
    "overlap_loss",
]


Combine = Callable[[Tensor], Tensor]
"""Adds a tensor up over all processes that share a batch, with gradients."""

_PRESENT = 0.01  # a class is present where its largest target is above this (the authors' public code)

_CROSS_ENTROPY, _JACCARD, _FOCAL = CrossEntropy(), Overlap(kind="jaccard"), Focal()


@dataclass(frozen=True, slots=True, eq=False)
class BatchCounts:
    """What the means over a batch divide by. Those of the pieces of a batch add up to its own."""

    images: Tensor  # scalar: images
    labeled: Tensor  # scalar: labeled pixels
    valid: Tensor  # scalar: pixels with data
    images_labeled: Tensor  # scalar: images with a labeled pixel
    images_with: Tensor  # (K,): images in which each class is labeled

    @classmethod
    def of(cls, target: Tensor, classes: int, valid: Tensor | None = None) -> Self:
        """Count hard labels.

        Args:
            target: Class ids (N, …), 255 where no label is.
            valid: Bool (N, …); None: every pixel has data.
        """
        flat = target.flatten(1)
        has = torch.stack([(flat == c).any(1) for c in range(classes)], 1)
        scalars = [
            flat.new_tensor(len(flat)),
            (flat != IGNORE).sum(),
            flat.new_tensor(flat.numel()) if valid is None else valid.sum(),
            has.any(1).sum(),
        ]
        return cls.from_vector(torch.cat([torch.stack(scalars), has.sum(0)]))

    @classmethod
    def from_vector(cls, vector: Tensor) -> Self:
        """From all of them as one tensor, (4 + K)."""
        return cls(vector[0], vector[1], vector[2], vector[3], vector[4:])

    @property
    def vector(self) -> Tensor:
        """All of them, int64 (4 + K)."""
        scalars = (self.images, self.labeled, self.valid, self.images_labeled)
        return torch.cat([torch.stack(scalars), self.images_with])


def invalid_labels(target: Tensor, classes: int) -> Tensor:
    """Where labels (N, …) are neither one of the classes nor 255: to index with them reads foreign memory."""
    return (target != IGNORE) & ((target < 0) | (target >= classes))


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    settings: CrossEntropy = _CROSS_ENTROPY,
    *,
    counts: BatchCounts | None = None,
) -> Tensor:
    """Mean over the labeled pixels of ``-w[t] log softmax(logits)[t]``, a scalar.

    Of logits, float (N, K, …), and class ids (N, …). Divided by the number of labeled pixels, not by their
    weights, so that a class's factor means the same in every batch.
    """
    logits = _wide(logits)
    summed = functional.cross_entropy(
        logits,
        target.long(),
        _factors(logits, settings.class_weights),
        ignore_index=IGNORE,
        reduction="sum",
        label_smoothing=settings.label_smoothing,
    )
    return summed / _labeled(target, counts)


def focal_loss(
    logits: Tensor, target: Tensor, settings: Focal = _FOCAL, *, counts: BatchCounts | None = None
) -> Tensor:
    """Mean over the labeled pixels of ``-w[t] (1 - p[t])^γ log p[t]``, ``p = softmax(logits)``."""
    log_p = _wide(logits).log_softmax(1)
    entropy = functional.nll_loss(
        log_p, target.long(), _factors(log_p, settings.class_weights), ignore_index=IGNORE, reduction="none"
    )
    ids = torch.where(target == IGNORE, 0, target).long().unsqueeze(1)
    # The floor keeps the slope of a power below 1 finite where a pixel is exactly right.
    wrong = (-torch.expm1(log_p.gather(1, ids).squeeze(1))).clamp_min(torch.finfo(log_p.dtype).tiny)
    return (wrong**settings.gamma * entropy).sum() / _labeled(target, counts)


def imitation_loss(
    logits: Tensor,
    teacher: Tensor,
    temperature: float,
    valid: Tensor | None = None,
    *,
    counts: BatchCounts | None = None,
) -> Tensor:
    """Mean over the valid pixels of ``T² KL(softmax(teacher / T) ‖ softmax(logits / T))``, labeled or not.

    Args:
        teacher: Float (N, K, …), logits without gradient.
        temperature: T, above 0.
        valid: Bool (N, …): pixels with data; None: all.
    """
    log_p = (_wide(logits) / temperature).log_softmax(1)
    log_q = (_wide(teacher) / temperature).log_softmax(1)
    divergence = functional.kl_div(log_p, log_q, reduction="none", log_target=True).sum(1)
    if valid is not None:
        divergence = divergence * valid
    if counts is None:
        size = divergence.new_tensor(divergence.numel()) if valid is None else valid.sum()
    else:
        size = counts.valid
    return temperature**2 * divergence.sum() / size.clamp_min(1).to(divergence.dtype)


def overlap_loss(
    logits: Tensor,
    target: Tensor,
    settings: Overlap = _JACCARD,
    *,
    counts: BatchCounts | None = None,
    combine: Combine | None = None,
) -> Tensor:
    """Jaccard, Dice or Tversky loss in the L1 form, which is zero at soft targets too.

    With ``p = softmax(logits)`` and target ``t``, per image and class:
    ``TP = (Σ|p|ⁿ + Σ|t|ⁿ - Σ|p - t|ⁿ) / 2``, ``FP = Σ|p|ⁿ - TP``, ``FN = Σ|t|ⁿ - TP``,
    ``T = (TP + s) / (TP + αFP + βFN + s)``, loss ``(1 - T)^γ``.

    Args:
        target: Class ids (N, …), 255 where no label is; or soft labels, float (N, K, …).
        counts: Of the batch that this is a piece of (hard labels only); None: it is whole.
        combine: Adds sums up over the processes that share the batch; None: there is one.
    """
    logits = _wide(logits)
    classes = logits.shape[1]
    probability = logits.softmax(1).flatten(2)
    soft = target.is_floating_point()
    if soft:
        truth = target.to(probability.dtype).flatten(2)
    else:
        ids = target.long().flatten(1).unsqueeze(1)
        counted = ids != IGNORE
        truth = torch.zeros_like(probability).scatter_(1, torch.where(counted, ids, 0), 1.0)
        truth, probability = truth * counted, probability * counted
    every = settings.classes == "all" or (settings.classes == "auto" and soft)
    present = torch.ones_like(truth[:, :, 0], dtype=torch.bool) if every else truth.amax(2) > _PRESENT
    n = settings.norm
    p, t, apart = (_power(x, n).sum(2) for x in (probability, truth, probability - truth))
    sums = torch.stack([(p + t - apart) / 2, p, t])  # (3, N, K)

    total = logits.sum() * 0.0
    images = total.new_tensor(len(logits)) if counts is None else counts.images.to(total.dtype)
    means = settings.reduction
    if means.per_batch:
        whole, active = sums.sum(1), present.sum(0).to(sums.dtype)
        if combine is not None:
            whole, active = combine(whole), combine(active)
        loss = _mean(_ratio_loss(whole, settings), active > 0)
        total = total + means.per_batch * loss * (len(logits) / images)
    if means.per_image or means.per_class:
        losses = torch.where(present, _ratio_loss(sums, settings), 0.0)
        if every:
            active_images, images_with = images, images.expand(classes)
        elif counts is None:
            active_images, images_with = present.any(1).sum(), present.sum(0)
        else:
            active_images, images_with = counts.images_labeled, counts.images_with
        if means.per_image:
            each = losses.sum(1) / present.sum(1).clamp_min(1)
            total = total + means.per_image * each.sum() / active_images.clamp_min(1).to(total.dtype)
        if means.per_class:
            each = losses.sum(0) / images_with.clamp_min(1).to(total.dtype)
            total = total + means.per_class * each.sum() / (images_with > 0).sum().clamp_min(1)
    return total


def _power(values: Tensor, exponent: float) -> Tensor:
    return values.abs() if exponent == 1 else values.abs() ** exponent


def _ratio_loss(sums: Tensor, settings: Overlap) -> Tensor:
    """Loss of each class from (3, …, K): overlap, Σp, Σt."""
    overlap, p, t = sums
    alpha, beta = settings.ratio
    above = overlap + settings.smooth
    below = above + alpha * (p - overlap) + beta * (t - overlap)
    floor = torch.finfo(below.dtype).tiny
    # An absent class without smoothing is 0/0: it matches exactly, and it must not poison the gradient, which
    # divides by the square.
    some = below > floor**0.5
    ratio = torch.where(some, above / torch.where(some, below, 1.0), 1.0)
    loss = -ratio.clamp_min(floor).log() if settings.log else 1.0 - ratio
    if settings.gamma > 1:
        loss = loss.clamp_min(0) ** settings.gamma
    factors = _factors(loss, settings.class_weights)
    return loss if factors is None else loss * factors


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the mask; 0 where it is empty."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp_min(1)


def _wide(logits: Tensor) -> Tensor:
    """In float32 at least: sums over a batch are beyond half precision."""
    return logits if logits.dtype == torch.float64 else logits.float()


def _factors(like: Tensor, weights: Sequence[float] | None) -> Tensor | None:
    return None if weights is None else like.new_tensor(weights)


def _labeled(target: Tensor, counts: BatchCounts | None) -> Tensor:
    # At least 1: the mean of a batch without labels would be 0/0.
    labeled = (target != IGNORE).sum() if counts is None else counts.labeled
    return labeled.clamp_min(1)


class Objective:
    """Weighted sum of losses.

    All terms count on the main output. Inner outputs (auxiliary heads) add the config's share of their
    cross-entropy, with its class weights and smoothing: MiniNet's deep supervision, 1.0 for the main one and
    0.4 for each of the others.
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
        counts: BatchCounts | None = None,
    ) -> Tensor:
        """The loss of a batch or of a piece of one.

        Args:
            outputs: Logits, float (N, K, H, W), the main ones first. Inner ones of another size are compared
                at the target's size (bilinear).
            valid: Bool (N, H, W): where a teacher is imitated; None: everywhere.
            teacher: Float (N, K, H, W), with the border's channel or without; needed where the objective
                distills.

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
                    _at(logits, target), target, terms.cross_entropy or CrossEntropy(), counts=counts
                )
        if self.distill is not None:
            total = total + self._imitation(main, teacher, self.distill, valid, counts)
        return total

    @staticmethod
    def _imitation(
        main: Tensor,
        teacher: Tensor | None,
        distill: Distill,
        valid: Tensor | None,
        counts: BatchCounts | None,
    ) -> Tensor:
        if teacher is not None:  # one of the two may know no borders
            known = min(teacher.shape[1], main.shape[1])
            main, teacher = without_border(main, known), without_border(teacher, known)
        if teacher is None or teacher.shape != main.shape:
            shape = None if teacher is None else tuple(teacher.shape)
            raise RunError(
                f"the teacher's logits are {shape}, the network's {tuple(main.shape)}: "
                "a teacher needs the same classes"
            )
        return distill.weight * imitation_loss(main, teacher, distill.temperature, valid, counts=counts)


def _at(logits: Tensor, target: Tensor) -> Tensor:
    if logits.shape[2:] == target.shape[1:]:
        return logits
    height, width = target.shape[1:]
    return functional.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
