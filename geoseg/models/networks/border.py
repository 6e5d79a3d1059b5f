"""The border between objects that touch: a channel of a network, and no class of its maps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["without_border"]


def without_border(logits: Tensor, classes: int) -> Tensor:
    """Logits of the classes alone: what the border's channel holds belongs to class 1.

    ``softmax`` of the result has the border's probability added to that of class 1.

    Args:
        logits: float (N, K, H, W) with K = ``classes``, or one more where the last is the border.
        classes: number of classes.

    Returns:
        Float (N, classes, H, W); the logits themselves where there is no border.
    """
    if logits.shape[1] == classes:
        return logits
    inside, border = logits[:, 1], logits[:, 2]
    # Not torch.logaddexp: what the ONNX exporter makes of it gives NaN.
    both = torch.maximum(inside, border) + functional.softplus(-(inside - border).abs())
    return torch.stack([logits[:, 0], both], 1)
