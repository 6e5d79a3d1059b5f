"""The parts of a report that speak of objects."""

from __future__ import annotations

from collections.abc import Sequence

from geoseg.grid.encoding import SCALE
from geoseg.score.bootstrap import Interval, Intervals
from geoseg.score.objects.matching import Outcome
from geoseg.score.objects.tally import COCO_IOUS, SIZES, Counts, ObjectTally
from geoseg.score.pixels.calibration import BINS, calibration_errors
from geoseg.score.report.values import Measure, Value

__all__ = ["OBJECT_MEASURES", "ObjectScore", "object_score"]

OBJECT_MEASURES = {
    "object_f1": "harmonic mean of object precision and recall",
    "object_precision": "share of mapped objects that stand for one of the reference: IoU of 0.5 or more, "
    "each object once",
    "object_recall": "share of the reference's objects that a mapped one stands for",
    "average_precision": "mean precision over 101 recalls, objects ranked by confidence, and over IoUs of "
    "0.5 to 0.95 (COCO, Lin et al. 2014)",
    "object_calibration_error": "mean distance between the confidence of mapped objects and the share of "
    "them that is matched, over bins of equal width",
    "merged": "two or more objects of the reference, each mostly in one mapped object, and not matched",
    "split": "two or more mapped objects, each mostly in one object of the reference, and not matched",
    "object_shape": "of matched pairs: PoLiS (Avbelj et al. 2014), Hausdorff distance, C-IoU (Zorzi et al. "
    "2022), ratio of vertices, angle between boundaries (Girard et al. 2021, 95th percentile)",
}
"""What each measure is, for the reader of a report."""


class SizeScore(Value):
    """The objects of a size class; a pair has the size of its object of the reference."""

    from_m2: float
    """Smallest area, inclusive."""
    to_m2: float | None
    """Largest area, exclusive; None: no limit."""
    f1: float | None
    precision: float | None
    recall: float | None
    reference_objects: int
    mapped_objects: int


class ErrorCounts(Value):
    """Objects by what became of them; each counts once, excluded ones in no measure."""

    matched: int
    wrong: int
    """Mapped: false, nothing is there. Reference: missed."""
    merged: int
    split: int
    excluded: int
    """Cut by the edge of the labeled area, or beside what is."""


class ObjectBin(Value):
    """Mapped objects of similar confidence."""

    low: float
    """Confidences above this (the first bin: from this on) …"""
    high: float
    """… up to this."""
    objects: int
    said: float | None
    """Their mean confidence; None: no objects."""
    true: float | None
    """Share of them that is matched."""


class ObjectShape(Value):
    """How matched objects are drawn; None: undefined."""

    pairs: int
    iou: float | None
    c_iou: float | None
    polis_m: float | None
    """Mean PoLiS distance, in meters."""
    hausdorff_m: float | None
    """Mean Hausdorff distance, in meters."""
    tangent_error: float | None
    """Mean, in degrees."""
    vertex_ratio: float | None
    """Mapped vertices over those of the reference."""
    right_angles: float | None
    """Share of the mapped vertices."""
    area_bias: float | None
    """Mapped area over the reference's, less one."""
    invalid: int


class SceneObjects(Value):
    """A scene's objects of a class."""

    scene: str
    f1: float | None
    reference_objects: int
    mapped_objects: int


class ObjectScore(Value):
    """The objects of one class."""

    id: int
    name: str
    f1: Measure
    precision: Measure
    recall: Measure
    mean_scene_f1: float | None
    """Mean over the scenes that have objects of the class."""
    average_precision: float | None
    """Mean over the IoUs 0.5, 0.55, … 0.95; None: the reference has no objects."""
    average_precision_by_iou: dict[str, float | None]
    reference_objects: int
    """Scored objects of the reference."""
    mapped_objects: int
    """Scored mapped objects."""
    mapped: ErrorCounts
    reference: ErrorCounts
    sizes: tuple[SizeScore, ...]
    calibration_error: float | None
    """Expected; of the objects' confidence."""
    reliability: tuple[ObjectBin, ...]
    shape: ObjectShape | None
    """None: nothing is matched."""
    scenes: tuple[SceneObjects, ...]


def object_score(
    class_id: int, name: str, scenes: Sequence[tuple[str, ObjectTally]], intervals: Intervals
) -> ObjectScore:
    """The score of the objects of one class.

    Args:
        class_id: of the class.
        name: of the class.
        scenes: each scene's id and objects, at least one.
        intervals: of all classes, with those of objects.
    """
    tally = ObjectTally.joined([found for _, found in scenes])
    counts, precisions = tally.counts, tally.precisions()
    known = [value for value in precisions if value is not None]
    each = [(scene, found.counts) for scene, found in scenes]
    defined = [found.f1 for _, found in each if found.f1 is not None]
    error = float(calibration_errors(tally.reliability())[0])
    return ObjectScore(
        id=class_id,
        name=name,
        f1=_measure(counts.f1, intervals.object_f1, class_id),
        precision=_measure(counts.precision, intervals.object_precision, class_id),
        recall=_measure(counts.recall, intervals.object_recall, class_id),
        mean_scene_f1=sum(defined) / len(defined) if defined else None,
        average_precision=sum(known) / len(known) if known else None,
        average_precision_by_iou={
            f"{iou:.2f}": value for iou, value in zip(COCO_IOUS, precisions, strict=True)
        },
        reference_objects=counts.reference,
        mapped_objects=counts.mapped,
        mapped=_errors(tally, Outcome.FALSE, reference=False),
        reference=_errors(tally, Outcome.MISSED, reference=True),
        sizes=tuple(_size(low, high, tally.of_size(low, high)) for low, high in SIZES),
        calibration_error=error if counts.mapped else None,
        reliability=_reliability(tally) if counts.mapped else (),
        shape=_shape(tally),
        scenes=tuple(
            SceneObjects(scene=scene, f1=one.f1, reference_objects=one.reference, mapped_objects=one.mapped)
            for scene, one in each
        ),
    )


def _measure(value: float | None, intervals: tuple[Interval | None, ...], class_id: int) -> Measure:
    interval = intervals[class_id] if intervals else None
    if value is None or interval is None:
        return Measure(value=value)
    return Measure(value=value, low=interval.low, high=interval.high)


def _errors(tally: ObjectTally, wrong: Outcome, *, reference: bool) -> ErrorCounts:
    def number(outcome: Outcome) -> int:
        return tally.number(outcome, reference=reference)

    return ErrorCounts(
        matched=number(Outcome.MATCHED),
        wrong=number(wrong),
        merged=number(Outcome.MERGED),
        split=number(Outcome.SPLIT),
        excluded=number(Outcome.EXCLUDED),
    )


def _size(low: float, high: float, counts: Counts) -> SizeScore:
    return SizeScore(
        from_m2=low,
        to_m2=None if high == float("inf") else high,
        f1=counts.f1,
        precision=counts.precision,
        recall=counts.recall,
        reference_objects=counts.reference,
        mapped_objects=counts.mapped,
    )


def _reliability(tally: ObjectTally) -> tuple[ObjectBin, ...]:
    return tuple(
        ObjectBin(
            low=place / BINS,
            high=(place + 1) / BINS,
            objects=int(objects),
            said=said / SCALE / objects if objects else None,
            true=hits / objects if objects else None,
        )
        for place, (objects, hits, said) in enumerate(tally.reliability().tolist())
    )


def _shape(tally: ObjectTally) -> ObjectShape | None:
    if tally.shapes is None or not len(tally.shapes.iou):
        return None
    found = tally.shapes.summary().to_dict()
    return ObjectShape.model_validate(
        {
            "pairs": found["pairs"],
            "polis_m": found["polis"],
            "hausdorff_m": found["hausdorff"],
            "vertex_ratio": found["n_ratio"],
            **{
                name: found[name]
                for name in ("iou", "c_iou", "tangent_error", "right_angles", "area_bias", "invalid")
            },
        }
    )
