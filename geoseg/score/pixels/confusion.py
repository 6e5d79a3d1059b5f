"""The confusion matrix and the measures of it.

Counts are whole numbers, so matrices of blocks add up to the whole's, bit for bit, in any order. Every
measure is a function of counts; one whose denominator is zero is undefined: ``None``, never NaN or zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Array, Bool, Float64, Int64
from geoseg.errors import LabelError
from geoseg.grid.encoding import IGNORE

__all__ = ["DEFINITIONS", "Confusion", "defined", "margins", "mean_iou", "measures", "pair_index", "ratio"]


MeanIou = Literal["dataset", "cityscapes", "per-image", "faster-unet", "faster-unet-present"]
"""Names of the definitions of mean IoU in :data:`DEFINITIONS`."""

DEFINITIONS: MappingProxyType[MeanIou, str] = MappingProxyType(
    {
        "dataset": "one matrix over all scenes, mean over the classes in the reference (Micro-Net)",
        "cityscapes": "one matrix over all scenes, mean over the classes in reference or map",
        "per-image": "'dataset' of each scene, mean over scenes (Micro-Net in training, one image a batch)",
        "faster-unet": "per class the mean IoU of the scenes whose reference has it, mean over all classes, "
        "one that never occurs counting 0 (Faster UNet)",
        "faster-unet-present": "as 'faster-unet', mean over the classes in a reference",
    }
)
"""What each mean IoU is the mean of; only figures of one definition compare."""


@dataclass(frozen=True, eq=False, slots=True)
class Confusion:
    """Pixels by true and mapped class.

    >>> one = Confusion.of(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), classes=3)
    >>> two = Confusion.of(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]), classes=3)
    >>> (one + two).counts.tolist()
    [[4, 2, 0], [0, 2, 0], [0, 0, 0]]
    >>> (one + two).iou
    (0.6666666666666666, 0.5, None)
    """

    counts: Int64
    """int64, shape (K, K): pixels of true class i mapped as class j."""
    excluded: int = 0
    """Labeled pixels that the map has no class for (its nodata); no measure counts them."""

    @classmethod
    def zeros(cls, classes: int) -> Confusion:
        """No pixels yet; ``zeros + x`` is ``x``."""
        return cls(np.zeros((classes, classes), np.int64))

    @classmethod
    def of(cls, truth: Array, mapped: Array, classes: int) -> Confusion:
        """Count the pixels of two arrays of class ids 0..K-1, of one shape; 255 = not labeled, and nodata.

        Raises:
            LabelError: different shapes, or values that are neither a class nor 255.
        """
        _, index, excluded = pair_index(truth, mapped, classes)
        counts = np.bincount(index, minlength=classes * classes).reshape(classes, classes)
        return cls(counts.astype(np.int64, copy=False), excluded)

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.counts + other.counts, self.excluded + other.excluded)

    @property
    def pixels(self) -> int:
        """Pixels counted: labeled and mapped."""
        return int(self.counts.sum())

    def grouped(self, groups: Sequence[Sequence[int]]) -> Confusion:
        """The matrix of categories of classes, such as Cityscapes' seven groups of its 19 classes.

        A pixel whose true class is in no group is not counted; one whose mapped class is in none counts as
        excluded.

        Raises:
            LabelError: a class in two groups, or one that does not exist.

        >>> Confusion(np.array([[3, 1, 0], [1, 4, 2], [0, 0, 5]])).grouped([[0], [1, 2]]).counts.tolist()
        [[3, 1], [1, 11]]
        """
        given = [class_id for group in groups for class_id in group]
        classes = len(self.counts)
        if len(set(given)) != len(given) or not set(given) <= set(range(classes)):
            raise LabelError(
                f"the groups name the classes {given}; needed ids 0 to {classes - 1}, each once at most"
            )
        member = np.zeros((len(groups), classes), np.int64)
        for index, group in enumerate(groups):
            member[index, list(group)] = 1
        counts = member @ self.counts @ member.T
        labeled = int((member @ self.counts).sum())
        return Confusion(counts, self.excluded + labeled - int(counts.sum()))

    @property
    def truth(self) -> Int64:
        """int64, shape (K,): pixels of each true class."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def mapped(self) -> Int64:
        """int64, shape (K,): pixels mapped as each class."""
        return np.asarray(self.counts.sum(axis=0))

    @property
    def iou(self) -> tuple[float | None, ...]:
        """Per class, pixels in both over pixels in either; None: in neither."""
        return defined(measures(*margins(self.counts))["iou"])

    @property
    def accuracy(self) -> float | None:
        """The share of pixels that are right; None: no pixels."""
        return float(self.counts.trace()) / self.pixels if self.pixels else None


def pair_index(truth: Array, mapped: Array, classes: int) -> tuple[Bool, NDArray[np.intp], int]:
    """Where each pixel counts: at ``true class · K + mapped class`` of a flat matrix.

    Returns which pixels have both, bool of the arrays' shape; the place of each of those, in order; how many
    pixels are labeled but not mapped.

    Raises:
        LabelError: different shapes, or values that are neither a class nor 255.
    """
    if truth.shape != mapped.shape:
        raise LabelError(f"the map has shape {mapped.shape}, the labels {truth.shape}; needed the same")
    for values, name in ((truth, "labels"), (mapped, "map's pixels")):
        strange = (values != IGNORE) & ((values < 0) | (values >= classes))
        if strange.any():
            found = ", ".join(str(value) for value in np.unique(values[strange])[:5])
            raise LabelError(f"the {name} hold {found}, needed class ids 0 to {classes - 1} (or 255: none)")
    labeled = truth != IGNORE
    both = labeled & (mapped != IGNORE)
    index = truth[both].astype(np.intp) * classes + mapped[both].astype(np.intp)
    return both, index, int(labeled.sum()) - index.size


def margins(counts: Array) -> tuple[Array, Array, Array]:
    """Hits, true and mapped pixels per class, each (..., K), of matrices (..., K, K)."""
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2)


def measures(hits: Array, truth: Array, mapped: Array) -> dict[str, Float64]:
    """All measures of the counts per class (..., K); the one place where they are defined.

    Of the pixels of a class that are mapped as it (``hits``), all of the class, and all mapped as it:
    ``iou``, ``precision``, ``recall``, ``f1`` = 2·IoU / (1 + IoU) (..., K); ``mean_iou`` (definition
    ``dataset``), ``mean_iou_cityscapes`` and ``accuracy`` (...). NaN where undefined, for arithmetic only:
    what leaves this package goes through :func:`defined`.
    """
    union = truth + mapped - hits
    iou = ratio(hits, union)
    return {
        "iou": iou,
        "precision": ratio(hits, mapped),
        "recall": ratio(hits, truth),
        "f1": ratio(2 * hits, truth + mapped),
        "mean_iou": _mean(iou, truth > 0),
        "mean_iou_cityscapes": _mean(iou, union > 0),
        "accuracy": ratio(hits.sum(axis=-1), truth.sum(axis=-1)),
    }


def defined(values: Float64) -> tuple[float | None, ...]:
    """The numbers of an array (n,), and None where they are NaN."""
    return tuple(None if np.isnan(value) else float(value) for value in values)


def mean_iou(
    scenes: Sequence[Confusion],
    definition: MeanIou = "dataset",
    *,
    groups: Sequence[Sequence[int]] | None = None,
) -> float | None:
    """Mean IoU of images (scenes) of the same classes by a named definition; None where no class occurs.

    Micro-Net's authors print averages over batches of two images: give the sum of each two for ``per-image``.

    Args:
        scenes: the matrix of each scene (image).
        definition: one of :data:`DEFINITIONS`.
        groups: class ids of each category, for a mean over categories rather than classes (MiniNet's and
            Cityscapes' category mIoU: ``cityscapes`` with its 7 groups); see :meth:`Confusion.grouped`.

    Raises:
        LabelError: no such definition, or groups that share a class.
    """
    if definition not in get_args(MeanIou):
        raise LabelError(
            f"no definition of mean IoU is called {definition!r}; there are {', '.join(DEFINITIONS)}"
        )
    if not scenes:
        return None
    if groups is not None:
        scenes = [scene.grouped(groups) for scene in scenes]
    counts = np.stack([scene.counts for scene in scenes])
    if definition in ("dataset", "cityscapes"):
        name = "mean_iou" if definition == "dataset" else "mean_iou_cityscapes"
        return defined(measures(*margins(counts.sum(axis=0)))[name][None])[0]
    hits, truth, mapped = margins(counts)
    each = measures(hits, truth, mapped)
    if definition == "per-image":
        return defined(_mean(each["mean_iou"], ~np.isnan(each["mean_iou"]))[None])[0]
    per_class = _mean(each["iou"].T, truth.T > 0)
    present = ~np.isnan(per_class)
    if definition == "faster-unet" and present.any():
        return float(per_class[present].sum()) / len(per_class)
    return defined(_mean(per_class, present)[None])[0]


def ratio(part: Array, whole: Array) -> Float64:
    """Part over whole, float64 of the whole's shape; NaN where the whole is zero."""
    quotient = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=quotient, where=np.asarray(whole) > 0)
    return quotient


def _mean(values: Float64, chosen: Bool) -> Float64:
    """Mean of the chosen values over the last axis; NaN where none is chosen."""
    return ratio(np.where(chosen, values, 0.0).sum(axis=-1), chosen.sum(axis=-1))
