"""What was found of objects: counts, precision over recall, and whether confidences hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Array, Bool, Float64
from geoseg.errors import GridError
from geoseg.grid.encoding import SCALE
from geoseg.score.objects.matching import LEAST_IOU, Matching, Outcome
from geoseg.score.objects.shapes import ShapeMeasures
from geoseg.score.pixels.calibration import BINS

__all__ = [
    "COCO_IOUS",
    "SIZES",
    "ObjectCounts",
    "ObjectTally",
    "average_precision",
    "binned_confidence",
    "object_tally",
]

COCO_IOUS: Final = tuple(round(LEAST_IOU + 0.05 * step, 2) for step in range(10))
"""IoU thresholds that average precision is the mean of."""
SIZES: Final = ((0.0, 50.0), (50.0, 200.0), (200.0, float("inf")))
"""Size classes, from (inclusive) to (exclusive), in m²: sheds, houses, and what is larger."""
_PER_CENT: Final = np.arange(101)
"""Recalls at which precision is read."""


@dataclass(frozen=True, slots=True)
class ObjectCounts:
    """Objects counted: matched pairs, and all objects of either side, matched or not."""

    matched: int
    mapped: int
    reference: int

    @property
    def precision(self) -> float | None:
        """Share of mapped objects that are matched; None: nothing is mapped."""
        return self.matched / self.mapped if self.mapped else None

    @property
    def recall(self) -> float | None:
        """Share of the reference's objects that are matched; None: there are none."""
        return self.matched / self.reference if self.reference else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of both; None: there are no objects."""
        objects = self.mapped + self.reference
        return 2 * self.matched / objects if objects else None


@dataclass(frozen=True, slots=True, eq=False)
class ObjectTally:
    """The objects of one class in one or several scenes: what every measure is taken of."""

    outcome: NDArray[np.int8]
    """:class:`~geoseg.score.objects.matching.Outcome` of each mapped object, shape (P,)."""
    confidence: Float64
    """Its confidence, 0 to 1, shape (P,)."""
    iou: Float64
    """Its IoU with its partner, 0 without one, shape (P,)."""
    area: Float64
    """Area in m² that decides its size class: its partner's, its own without one; shape (P,)."""
    reference_outcome: NDArray[np.int8]
    """Outcome of each object of the reference, shape (R,)."""
    reference_area: Float64
    """Its area in m², shape (R,)."""
    shapes: ShapeMeasures | None = None
    """How the matched ones are drawn, in meters; None: not measured."""

    @classmethod
    def joined(cls, parts: Sequence[ObjectTally]) -> ObjectTally:
        """The objects of several scenes as one."""
        names = ("outcome", "confidence", "iou", "area", "reference_outcome", "reference_area")
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        shapes = [part.shapes for part in parts if part.shapes is not None]
        return cls(**arrays, shapes=ShapeMeasures.joined(shapes) if shapes else None)

    @property
    def counts(self) -> ObjectCounts:
        """All objects that are scored."""
        return self.of_size(0, float("inf"))

    def of_size(self, low: float, high: float) -> ObjectCounts:
        """The objects of ``low`` to ``high`` m² (exclusive); a pair has the size of its reference object."""
        sides = ((self.outcome, self.area), (self.reference_outcome, self.reference_area))
        here, there = (
            (outcome != Outcome.EXCLUDED) & (area >= low) & (area < high) for outcome, area in sides
        )
        matched = int((here & (self.outcome == Outcome.MATCHED)).sum())
        return ObjectCounts(matched, int(here.sum()), int(there.sum()))

    def precisions(self, ious: Sequence[float] = COCO_IOUS) -> tuple[float | None, ...]:
        """Average precision at each IoU; None: the reference has no objects."""
        scored = self.outcome != Outcome.EXCLUDED
        references = self.counts.reference
        return tuple(
            average_precision(self.confidence[scored], self.iou[scored] >= iou, references) for iou in ious
        )

    def reliability(self) -> Float64:
        """Confidence against being matched, float64 (bins, 3), see :func:`binned_confidence`."""
        scored = self.outcome != Outcome.EXCLUDED
        return binned_confidence(self.confidence[scored], self.outcome[scored] == Outcome.MATCHED)


def object_tally(
    matching: Matching,
    *,
    confidence: Float64,
    area: Float64,
    reference_area: Float64,
    shapes: ShapeMeasures | None = None,
) -> ObjectTally:
    """What is kept of the matched objects of a class in a scene.

    Args:
        matching: of P mapped objects and R of the reference.
        confidence: of each mapped object, 0 to 1, shape (P,).
        area: of each mapped object, in m², shape (P,).
        reference_area: in m², shape (R,).
        shapes: measures of the matched ones.

    Raises:
        GridError: a confidence that is no share.
    """
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise GridError("the confidence of an object is 0 to 1; map the scene again")
    paired = matching.partner >= 0
    size = area.astype(np.float64)
    size[paired] = reference_area[matching.partner[paired]]
    return ObjectTally(
        outcome=matching.outcome,
        confidence=confidence.astype(np.float64),
        iou=np.where(paired, matching.iou, 0.0),
        area=size,
        reference_outcome=matching.reference_outcome,
        reference_area=reference_area.astype(np.float64),
        shapes=shapes,
    )


def average_precision(confidence: Array, is_right: Bool, references: int) -> float | None:
    """Area under precision over recall, 0 to 1, as COCO takes it: mean of 101 recalls. None: no references.

    At each recall, the largest precision of any recall from there on; 0 past the last one. Objects of equal
    confidence come together, so that the figure does not depend on their order (COCO takes them one by one,
    in the order of the file).

    Args:
        confidence: of each mapped object, shape (n,); higher ranks first.
        is_right: whether it stands for an object of the reference, shape (n,).

    >>> found = average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 2)
    >>> round(found * 101, 6) == round(51 * 1 + 50 * 2 / 3, 6)
    True
    """
    if not references:
        return None
    order = np.argsort(-confidence, kind="stable")
    last = np.diff(confidence[order], append=-np.inf) != 0
    hits = np.cumsum(is_right[order])[last]
    precision = hits / (np.flatnonzero(last) + 1)
    reached = np.searchsorted(hits * 100, _PER_CENT * references, side="left")  # whole numbers: no rounding
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(best[reached].mean())


def binned_confidence(confidence: Float64, is_right: Bool) -> Float64:
    """Sums over bins of equal width; ``(b/bins, (b+1)/bins]``, the first one with 0.

    Of confidences 0 to 1 and whether they were right, each (n,). Gives float64 (bins, 3): objects, those that
    are right, sum of their confidences in steps of 1/200: what
    :func:`~geoseg.score.pixels.calibration.calibration_errors` takes.
    """
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    each = (np.ones(len(place)), is_right, confidence * SCALE)
    return np.stack([np.bincount(place, values, minlength=BINS) for values in each], axis=-1)
