"""How much context a network really needs: measured on real imagery when a bundle is made."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch

from geoseg.errors import BundleError
from geoseg.models.bundle import Bundle
from geoseg.models.networks.border import without_border
from geoseg.models.predictor import Predictor

__all__ = ["measure_halo"]

_FAR = 2
"""The reference sees so many times the largest halo that is tried."""


def measure_halo(
    model: Bundle | Predictor,
    windows: Iterable[tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]],
    *,
    core: int = 256,
    agreement: float = 0.9999,
) -> tuple[int, float]:
    """The smallest halo that leaves the classes as a far larger one does.

    Of each window the central core is predicted once with all of the window around it, and once with each
    halo: multiples of the alignment, from the largest down, until the classes disagree on too many pixels.
    So every larger halo tried agrees too. The largest halo tried is half the context of the smallest window,
    or the exact one where the windows reach that far.

    Args:
        model: a bundle, or a predictor of a network that is in none yet.
        windows: real imagery, pixels float32 (C, H, W) and validity (H, W). The larger the windows, the
            larger the halos that can be tried.
        core: side of the core, in pixels; rounded down to the alignment. Smaller is stricter: more of a
            small core is near its edge.
        agreement: share of all valid core pixels, over all windows, whose class must be the same.

    Returns:
        Halo in pixels, and its agreement.

    Raises:
        BundleError: no window, windows too small for the core, or no halo that agrees.
    """
    predictor = model if isinstance(model, Predictor) else Predictor(model)
    alignment = predictor.spec.alignment
    side = core // alignment * alignment
    given = list(windows)
    if not given or side == 0:
        raise BundleError("measuring a halo needs a window, and a core no smaller than the alignment")
    least = min(min(valid.shape) for _, valid in given)
    largest = (least - side) // 2 // _FAR // alignment * alignment
    exact = predictor.spec.exact_halo
    if exact is not None and 2 * exact + side <= least:
        largest = exact
    if largest < alignment:
        raise BundleError(
            f"measuring a halo needs windows of at least {side + 2 * _FAR * alignment} px with a core of "
            f"{side} px, got {least} px"
        )
    references = [_core_classes(predictor, window, side, None) for window in given]
    best: tuple[int, float] | None = None
    for halo in range(largest, -1, -alignment):
        same = total = 0
        for window, (classes, valid) in zip(given, references, strict=True):
            found, _ = _core_classes(predictor, window, side, halo)
            same += int(((found == classes) & valid).sum())
            total += int(valid.sum())
        share = same / total if total else 0.0
        if share < agreement:
            break
        best = halo, share
    if best is None:
        raise BundleError(
            f"a halo of {largest} px leaves the classes of only {share:.4%} of the pixels as they are, "
            f"{agreement:.2%} are asked for; give windows larger than {least} px"
        )
    return best


def _core_classes(
    predictor: Predictor,
    window: tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]],
    side: int,
    halo: int | None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Classes and validity of the core, seen with a halo or with the whole window (None)."""
    pixels, valid = window
    alignment = predictor.spec.alignment
    row, col = ((length - side) // 2 // alignment * alignment for length in valid.shape)
    top, left = (0, 0) if halo is None else (row - halo, col - halo)
    height, width = valid.shape if halo is None else (side + 2 * halo, side + 2 * halo)
    cut = np.s_[top : top + height, left : left + width]
    logits = torch.from_numpy(predictor.logits(pixels[None, :, *cut], valid[None, *cut]))
    classes = without_border(logits, len(predictor.spec.classes))[0].argmax(0).numpy()
    inside = np.s_[row - top : row - top + side, col - left : col - left + side]
    return classes[*inside], valid[*cut][*inside]
