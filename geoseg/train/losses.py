"""Losses: cross-entropy, and the Jaccard / Dice / Tversky family on hard or soft labels.

Source of :func:`overlap_loss`: "Jaccard Metric Losses" and "Dice Semimetric Losses" (Wang et al.), the loss
that "Finding a Faster UNet for Satellite Image Segmentation" trains with. Deep supervision (weights 1.0 and
0.4) is that of MiniNet, "Efficient Multi-Scale Feature Extraction for Lightweight Semantic Segmentation".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional

from geoseg.errors import LabelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["IGNORE", "OverlapLoss", "SegmentationLoss", "overlap_loss"]

IGNORE = 255
"""Label of a pixel that no loss and no score counts."""

_PRESENT = 0.01
"""A class is present where its largest target is above this (the authors' public code)."""


@dataclass(frozen=True, slots=True)
class OverlapLoss:
    """Settings of :func:`overlap_loss`; the default is the Jaccard loss over the batch.

    Dice is ``alpha = beta = 0.5``; Tversky any other pair.
    """

    alpha: float = 1.0
    """Weight of false positives."""
    beta: float = 1.0
    """Weight of false negatives."""
    gamma: float = 1.0
    """Focal exponent, at least 1."""
    smooth: float = 1e-3
    """Added to both sides of the ratio (1.0 in the releases of late 2023)."""
    log: bool = False
    """``-log T`` in place of ``1 - T``."""
    classes: Literal["auto", "present", "all"] = "auto"
    """Which classes are averaged; ``auto``: those present for hard labels, all for soft ones."""
    reduction: tuple[float, float, float] = (1.0, 0.0, 0.0)
    """Weights of the means over the batch (D), over images (I) and over classes (C)."""
    class_weights: tuple[float, ...] | None = None
    """One factor per class, applied before the mean."""


_JACCARD = OverlapLoss()


def overlap_loss(
    logits: Tensor, target: Tensor, settings: OverlapLoss = _JACCARD, *, ignore: int = IGNORE
) -> Tensor:
    """Jaccard, Dice or Tversky loss in the L1 form that stays zero at soft targets.

    With ``p = softmax(logits)`` and target ``t``, per image and class: ``TP = (Σp + Σt - Σ|p - t|) / 2``,
    ``FP = Σp - TP``, ``FN = Σt - TP``, ``T = (TP + s) / (TP + αFP + βFN + s)``, loss ``(1 - T)^γ``.

    Args:
        logits: Float (N, K, …).
        target: Class ids (N, …), ``ignore`` where no label is; or soft labels, float (N, K, …).
        settings: Weights, smoothing, reduction.
        ignore: The id that excludes a pixel (hard labels).

    Returns:
        A scalar; 0 with a gradient path where no class is active.
    """
    classes = logits.shape[1]
    probability = logits.softmax(1).flatten(2)
    soft = target.is_floating_point()
    if soft:
        truth = target.to(probability.dtype).flatten(2)
    else:
        counted = (target != ignore).flatten(1).unsqueeze(1)
        ids = torch.where(target == ignore, 0, target).long()
        truth = functional.one_hot(ids, classes).to(probability.dtype).flatten(1, -2).movedim(-1, 1)
        truth, probability = truth * counted, probability * counted
    every = settings.classes == "all" or (settings.classes == "auto" and soft)
    present = torch.ones_like(truth[:, :, 0], dtype=torch.bool) if every else truth.amax(2) > _PRESENT
    p, t = probability.sum(2), truth.sum(2)
    overlap = (p + t - (probability - truth).abs().sum(2)) / 2

    total = logits.sum() * 0.0
    batch, image, klass = settings.reduction
    if batch:
        loss = _ratio_loss(
            overlap.sum(0, keepdim=True), p.sum(0, keepdim=True), t.sum(0, keepdim=True), settings
        )
        total = total + batch * _mean(loss[0], present.any(0))
    if image or klass:
        loss = _ratio_loss(overlap, p, t, settings)
    if image:
        total = total + image * _mean(_masked_means(loss, present, 1), present.any(1))
    if klass:
        total = total + klass * _mean(_masked_means(loss, present, 0), present.any(0))
    return total


def _ratio_loss(overlap: Tensor, p: Tensor, t: Tensor, settings: OverlapLoss) -> Tensor:
    """Loss per image and class from the sums, (N, K)."""
    above = overlap + settings.smooth
    below = above + settings.alpha * (p - overlap) + settings.beta * (t - overlap)
    # An absent class without smoothing is 0/0: it matches exactly, and it must not poison the gradient.
    ratio = torch.where(below > 0, above / torch.where(below > 0, below, 1.0), 1.0)
    floor = torch.finfo(ratio.dtype).tiny
    loss = -ratio.clamp_min(floor).log() if settings.log else 1.0 - ratio
    if settings.gamma > 1:
        loss = loss.clamp_min(0) ** settings.gamma
    if settings.class_weights is not None:
        loss = loss * loss.new_tensor(settings.class_weights)
    return loss


def _masked_means(values: Tensor, mask: Tensor, axis: int) -> Tensor:
    """Means over the mask along an axis; 0 where it is empty."""
    return torch.where(mask, values, 0.0).sum(axis) / mask.sum(axis).clamp_min(1)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the mask; 0 where it is empty."""
    return _masked_means(values, mask, 0)


@dataclass(frozen=True, slots=True)
class SegmentationLoss:
    """Cross-entropy plus an overlap loss on the main output, cross-entropy on the inner ones.

    Args of a call: ``outputs`` logits (N, K, H, W), the main one first; ``target`` ids (N, H, W), 255
    ignored. An inner output at another size is compared at the target's size (bilinear).
    """

    overlap: OverlapLoss = OverlapLoss(alpha=0.5, beta=0.5, smooth=1.0)
    """Dice by default."""
    overlap_weight: float = 1.0
    """Factor of the overlap loss on the main output; 0: cross-entropy alone, as in the MiniNet paper."""
    inner_weight: float = 0.4
    """Factor of each inner output's cross-entropy (MiniNet: 1.0 for the main one, 0.4 for the others)."""
    class_weights: tuple[float, ...] | None = None
    """Factors of the classes in the cross-entropy."""

    def __call__(self, outputs: Sequence[Tensor], target: Tensor) -> Tensor:
        """The loss of one batch, a scalar.

        Raises:
            LabelError: a label is neither a class of the network nor 255.
        """
        classes = outputs[0].shape[1]
        _check_labels(target, classes)
        ids = target.long()
        weights = None if self.class_weights is None else outputs[0].new_tensor(self.class_weights)
        counted = (ids != IGNORE).sum().clamp_min(1)
        total = torch.zeros((), dtype=outputs[0].dtype)
        for index, output in enumerate(outputs):
            logits = output
            if logits.shape[2:] != ids.shape[1:]:
                logits = functional.interpolate(logits, ids.shape[1:], mode="bilinear", align_corners=False)
            # Summed and divided by hand: the mean of a batch without labels would be 0/0.
            entropy = (
                functional.cross_entropy(logits, ids, weights, ignore_index=IGNORE, reduction="sum") / counted
            )
            if index:
                total = total + self.inner_weight * entropy
            else:
                total = total + entropy
                if self.overlap_weight:
                    total = total + self.overlap_weight * overlap_loss(logits, ids, self.overlap)
        return total


def _check_labels(target: Tensor, classes: int) -> None:
    """Refuse ids that the network does not have; indexing with them would read foreign memory."""
    wrong = (target != IGNORE) & ((target < 0) | (target >= classes))
    if bool(wrong.any()):
        found = sorted(set(target[wrong].tolist()))[:5]
        raise LabelError(
            f"labels hold the ids {found}, the network has classes 0 to {classes - 1}: "
            "map them, or mark them 255"
        )
