"""Build reports and comparisons of models from what was counted of scenes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Array, Float64, Int64
from geoseg.errors import LabelError
from geoseg.grid.encoding import SCALE
from geoseg.score.bootstrap import Bootstrap, Interval, Intervals, differences, intervals_of
from geoseg.score.objects.matching import Outcome
from geoseg.score.objects.tally import COCO_IOUS, SIZES, ObjectCounts, ObjectTally
from geoseg.score.pixels.calibration import BINS, Reliability, binned, calibration_errors
from geoseg.score.pixels.confusion import DEFINITIONS, Confusion, defined, mean_iou
from geoseg.score.pixels.sums import Sums
from geoseg.score.report.values import (
    CategoryScore,
    ClassScore,
    Curve,
    CurveBin,
    ErrorCounts,
    Measure,
    ObjectBin,
    ObjectScore,
    ObjectShape,
    SceneObjects,
    SceneScore,
    ScoreReport,
    Scores,
    SizeScore,
    Unscored,
)
from geoseg.score.tally import SceneTally, widest_side

__all__ = ["aligned", "compare", "score_report"]

_MEASURES = {
    "iou": "pixels in map and reference over pixels in either",
    "f1": "harmonic mean of precision and recall",
    "precision": "share of mapped pixels that are right",
    "recall": "share of reference pixels that are mapped",
    "accuracy": "share of scored pixels that are right",
    "boundary_iou": "IoU of the pixels of a class within a distance of its contours (Cheng et al. 2021)",
    "calibration_error": "mean distance between what was said and how often it was true, over bins of equal "
    "width: of a class's probability, or of the mapped class's (expected calibration error, Guo et al. 2017)",
    "largest_calibration_error": "the largest such distance of a bin",
    "brier": "mean squared distance of probabilities to the truth; of all classes their sum (Brier 1950)",
}
_OBJECT_MEASURES = {
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
"""Definitions of the measures of objects, as score.json prints them."""
_CATEGORY_MEAN = (
    "one matrix over all scenes, the classes of a category being one, mean over the categories in reference "
    "or map (category mIoU of Cityscapes, MiniNet)"
)


def score_report(
    scenes: Sequence[SceneTally],
    names: Sequence[str],
    how: Bootstrap | None = None,
    *,
    unscored: Sequence[Unscored] = (),
    boundary_width: str | None = None,
    categories: Mapping[str, Sequence[int]] | None = None,
) -> ScoreReport:
    """Score several scenes as one.

    Args:
        scenes: tallies of the same classes, at least one.
        names: a name for each class, in the order of ids 0..K-1.
        how: of the intervals; default 1000 draws, seed 0, 95 %.
        boundary_width: what the tallies' boundaries were counted with, in words.
        categories: ids of the classes of each category, by its name, each class once at most.

    Raises:
        LabelError: no scenes, another number of classes, or not a single pixel to score.
    """
    how = how or Bootstrap()
    total = _total(scenes, len(names))
    side = widest_side(scenes)
    sums = Sums.joined([scene.coarser(side).sums for scene in scenes])
    intervals, measures = intervals_of(sums, how), sums.total().measures()
    matrices = [scene.confusion for scene in scenes]
    outlined = [scene for scene in scenes if scene.object_tallies is not None]
    reliability = sum(
        (scene.reliability for scene in scenes if scene.reliability is not None),
        Reliability.zeros(len(names)),
    )
    return ScoreReport(
        classes=_classes(names, total, measures, reliability, intervals),
        mean_iou=Measure.of(mean_iou(matrices), intervals.mean_iou),
        accuracy=Measure.of(total.accuracy, intervals.accuracy),
        mean_iou_by_definition={name: mean_iou(matrices, name) for name in DEFINITIONS},
        scenes=tuple(map(_scene, scenes)),
        unscored=tuple(unscored),
        labeled_pixels=total.pixels + total.excluded,
        excluded_pixels=total.excluded,
        repaired_polygons=sum(scene.repaired for scene in scenes),
        reference_polygons=sum(scene.features for scene in scenes),
        confusion=tuple(tuple(row) for row in total.counts.tolist()),
        cells=len(sums),
        cell_pixels=side,
        draws=how.draws,
        seed=how.seed,
        level=how.level,
        definitions=_definitions(objects=bool(outlined), categories=bool(categories)),
        boundary_iou=Measure.of(_number(measures, "mean_boundary_iou"), intervals.mean_boundary_iou),
        boundary_width=boundary_width,
        calibration_error=Measure.of(_number(measures, "calibration_error"), intervals.calibration_error),
        largest_calibration_error=reliability.largest_error()[-1],
        brier=reliability.brier_score,
        reliability=_curves(names, reliability),
        objects=_objects(outlined, names, intervals),
        without_objects=tuple(scene.scene for scene in scenes if outlined and scene.object_tallies is None),
        categories=_categories(total, names, categories or {}),
        category_mean_iou=_category_mean(matrices, categories or {}),
    )


def _total(scenes: Sequence[SceneTally], classes: int) -> Confusion:
    """The matrix of all scenes; refuses what cannot be scored."""
    if not scenes:
        raise LabelError("no scene to score: none has both a finished map and a reference")
    for scene in scenes:
        if scene.cells.shape[1:] != (classes, classes):
            raise LabelError(f"counted {scene.cells.shape[1]} classes, needed {classes}", scene=scene.scene)
    total = sum((scene.confusion for scene in scenes), Confusion.zeros(classes))
    if total.pixels == 0:
        raise LabelError(
            f"no labeled pixel is mapped ({total.excluded:,} labeled pixels lie in nodata); check the "
            "labeled area",
            scene=", ".join(scene.scene for scene in scenes),
        )
    return total


def _scene(scene: SceneTally) -> SceneScore:
    matrix, measures = scene.confusion, scene.sums.total().measures()
    return SceneScore(
        scene=scene.scene,
        iou=matrix.iou,
        mean_iou=mean_iou([matrix]),
        accuracy=matrix.accuracy,
        labeled_pixels=matrix.pixels + matrix.excluded,
        excluded_pixels=matrix.excluded,
        repaired_polygons=scene.repaired,
        reference_polygons=scene.features,
        boundary_iou=_number(measures, "mean_boundary_iou"),
        boundary_pixels=None if scene.reach is None else (scene.reach.rows, scene.reach.cols),
        calibration_error=_number(measures, "calibration_error"),
    )


def _classes(
    names: Sequence[str],
    total: Confusion,
    measures: dict[str, Float64],
    reliability: Reliability,
    intervals: Intervals,
) -> tuple[ClassScore, ...]:
    errors, largest, brier = reliability.expected_error(), reliability.largest_error(), reliability.brier
    return tuple(
        ClassScore(
            id=index,
            name=name,
            iou=Measure.of(_number(measures, "iou", index), intervals.iou[index]),
            f1=Measure.of(_number(measures, "f1", index), intervals.f1[index]),
            precision=Measure.of(_number(measures, "precision", index), intervals.precision[index]),
            recall=Measure.of(_number(measures, "recall", index), intervals.recall[index]),
            reference_pixels=int(total.truth[index]),
            mapped_pixels=int(total.mapped[index]),
            reference_share=int(total.truth[index]) / total.pixels,
            mapped_share=int(total.mapped[index]) / total.pixels,
            boundary_iou=Measure.of(
                _number(measures, "boundary_iou", index), _of_class(intervals.boundary_iou, index)
            ),
            calibration_error=Measure.of(errors[index], _of_class(intervals.class_calibration_error, index)),
            largest_calibration_error=largest[index],
            brier=brier[index],
        )
        for index, name in enumerate(names)
    )


def _definitions(*, objects: bool, categories: bool) -> dict[str, str]:
    return {
        **_MEASURES,
        **(_OBJECT_MEASURES if objects else {}),
        **{f"mean_iou {name}": text for name, text in DEFINITIONS.items()},
        **({"category_mean_iou": _CATEGORY_MEAN} if categories else {}),
    }


def _category_mean(scenes: Sequence[Confusion], categories: Mapping[str, Sequence[int]]) -> float | None:
    return mean_iou(scenes, "cityscapes", groups=list(categories.values())) if categories else None


def _categories(
    total: Confusion, names: Sequence[str], categories: Mapping[str, Sequence[int]]
) -> tuple[CategoryScore, ...]:
    grouped = total.grouped(list(categories.values()))
    return tuple(
        CategoryScore(
            name=name,
            classes=tuple(names[class_id] for class_id in ids),
            iou=grouped.iou[index],
            reference_pixels=int(grouped.truth[index]),
            mapped_pixels=int(grouped.mapped[index]),
        )
        for index, (name, ids) in enumerate(categories.items())
    )


def _objects(
    scenes: Sequence[SceneTally], names: Sequence[str], intervals: Intervals
) -> tuple[ObjectScore, ...]:
    found = []
    for class_id, name in enumerate(names):
        tallies = [
            (scene.scene, scene.object_tallies[class_id])
            for scene in scenes
            if scene.object_tallies is not None and class_id in scene.object_tallies
        ]
        if tallies:
            found.append(_object_score(class_id, name, tallies, intervals))
    return tuple(found)


def _curves(names: Sequence[str], reliability: Reliability) -> tuple[Curve, ...]:
    return tuple(
        Curve(name=name, bins=tuple(CurveBin(pixels=pixels, **one) for pixels, one in _bins(sums)))
        for name, sums in zip((*names, "confidence"), binned(reliability.counts), strict=True)
        if sums.any()
    )


def _bins(sums: Array) -> Iterator[tuple[int, dict[str, Any]]]:
    """What is counted in each bin, and the other values of the bin, of sums (bins, 3)."""
    for place, (number, hits, said) in enumerate(sums.tolist()):
        shares = {
            "said": said / SCALE / number if number else None,
            "true": hits / number if number else None,
        }
        yield int(number), {"low": place / BINS, "high": (place + 1) / BINS, **shares}


def _number(measures: dict[str, Float64], name: str, index: int | None = None) -> float | None:
    """A measure of the only row; None: undefined or not counted."""
    if name not in measures:
        return None
    row = measures[name][0]
    return defined(np.atleast_1d(row if index is None else row[index]))[0]


def _object_score(
    class_id: int, name: str, scenes: Sequence[tuple[str, ObjectTally]], intervals: Intervals
) -> ObjectScore:
    """The score of the objects of one class: each scene's id and objects, at least one."""
    tally = ObjectTally.joined([found for _, found in scenes])
    counts, precisions = tally.counts, tally.precisions()
    known = [value for value in precisions if value is not None]
    each = [(scene, found.counts) for scene, found in scenes]
    scores = [found.f1 for _, found in each if found.f1 is not None]
    reliability = tally.reliability()
    error = float(calibration_errors(reliability)[0])
    bins = tuple(ObjectBin(objects=objects, **one) for objects, one in _bins(reliability))
    return ObjectScore(
        id=class_id,
        name=name,
        f1=Measure.of(counts.f1, _of_class(intervals.object_f1, class_id)),
        precision=Measure.of(counts.precision, _of_class(intervals.object_precision, class_id)),
        recall=Measure.of(counts.recall, _of_class(intervals.object_recall, class_id)),
        mean_scene_f1=sum(scores) / len(scores) if scores else None,
        average_precision=sum(known) / len(known) if known else None,
        average_precision_by_iou={
            f"{iou:.2f}": value for iou, value in zip(COCO_IOUS, precisions, strict=True)
        },
        reference_objects=counts.reference,
        mapped_objects=counts.mapped,
        mapped=_errors(tally.outcome, Outcome.FALSE),
        reference=_errors(tally.reference_outcome, Outcome.MISSED),
        sizes=tuple(_size(low, high, tally.of_size(low, high)) for low, high in SIZES),
        calibration_error=error if counts.mapped else None,
        reliability=bins if counts.mapped else (),
        shape=_shape(tally),
        scenes=tuple(
            SceneObjects(scene=scene, f1=one.f1, reference_objects=one.reference, mapped_objects=one.mapped)
            for scene, one in each
        ),
    )


def _of_class(intervals: Sequence[Interval | None], class_id: int) -> Interval | None:
    return intervals[class_id] if intervals else None


def _errors(outcomes: NDArray[np.int8], wrong: Outcome) -> ErrorCounts:
    counts = np.bincount(outcomes, minlength=len(Outcome)).tolist()
    return ErrorCounts(
        matched=counts[Outcome.MATCHED],
        wrong=counts[wrong],
        merged=counts[Outcome.MERGED],
        split=counts[Outcome.SPLIT],
        excluded=counts[Outcome.EXCLUDED],
    )


def _size(low: float, high: float, counts: ObjectCounts) -> SizeScore:
    return SizeScore(
        from_m2=low,
        to_m2=None if high == float("inf") else high,
        f1=counts.f1,
        precision=counts.precision,
        recall=counts.recall,
        reference_objects=counts.reference,
        mapped_objects=counts.mapped,
    )


def _shape(tally: ObjectTally) -> ObjectShape | None:
    if tally.shapes is None or not len(tally.shapes.iou):
        return None
    found = asdict(tally.shapes.summary())
    names = {"polis_m": "polis", "hausdorff_m": "hausdorff", "vertex_ratio": "n_ratio"}
    values = {name: found[names.get(name, name)] for name in ObjectShape.model_fields}
    return ObjectShape.model_validate({k: None if np.isnan(value) else value for k, value in values.items()})


def aligned(models: Sequence[Sequence[SceneTally]]) -> tuple[int, list[Sums]]:
    """Side of the cells in pixels, and each model's sums of the same cells in the same order.

    Zeros where a model has nothing in a cell. The side is :func:`~geoseg.score.tally.widest_side`.

    Args:
        models: tallies of each model, of the same scenes in the same order, on the same grids.

    Raises:
        LabelError: other scenes, or another order.
    """
    scenes = [[tally.scene for tally in tallies] for tallies in models]
    if any(names != scenes[0] for names in scenes):
        raise LabelError(f"models are compared on the same scenes, got {scenes}")
    side = max(widest_side(tallies) for tallies in models)
    parts: list[list[Sums]] = [[] for _ in models]
    for tallies in zip(*models, strict=True):
        coarse = [tally.coarser(side) for tally in tallies]
        places = np.unique(np.concatenate([tally.places for tally in coarse]), axis=0)
        for tally, found in zip(coarse, parts, strict=True):
            found.append(_spread(tally, places))
    return side, [Sums.joined(found) for found in parts]


def _spread(tally: SceneTally, places: Int64) -> Sums:
    """A scene's sums at more places than it has cells."""
    index = {place: row for row, place in enumerate(map(tuple, places.tolist()))}
    rows = [index[place] for place in map(tuple, tally.places.tolist())]

    def spread(array: Array) -> Array:
        wide = np.zeros((len(places), *array.shape[1:]), array.dtype)
        wide[rows] = array
        return wide

    return tally.sums.each(spread)


def compare(sums: Sequence[Sums], how: Bootstrap) -> list[tuple[Scores, Scores | None]]:
    """The scores of each model, and how much more they are than the first's; ``sums``: of :func:`aligned`."""
    found: list[tuple[Scores, Scores | None]] = []
    for place, one in enumerate(sums):
        intervals = intervals_of(one, how)
        own = {name: (row[0], getattr(intervals, name)) for name, row in one.total().measures().items()}
        found.append((_scores(own), _scores(differences(one, sums[0], how)) if place else None))
    return found


def _scores(found: Mapping[str, tuple[Any, Any]]) -> Scores:
    """Measures and intervals by the names of :meth:`Sums.measures`; those not counted are undefined."""
    names = {"boundary_iou": "mean_boundary_iou"}
    each = {key: found.get(names.get(key, key), (np.nan, None)) for key in Scores.model_fields}
    return Scores(**{key: _measures(*one) for key, one in each.items()})


def _measures(values: Any, intervals: Interval | tuple[Interval | None, ...] | None) -> Any:
    """A measure with its interval, or one of each class."""
    if isinstance(intervals, tuple):
        pairs = zip(defined(np.atleast_1d(values)), intervals, strict=True)
        return tuple(Measure.of(value, interval) for value, interval in pairs)
    return Measure.of(defined(np.atleast_1d(values))[0], intervals)
