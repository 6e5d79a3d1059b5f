"""What a score says: one value, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import LabelError
from geoseg.grid.encoding import SCALE
from geoseg.score.bootstrap import Bootstrap, Interval, Intervals, intervals_of
from geoseg.score.pixels.calibration import BINS, Reliability, binned
from geoseg.score.pixels.confusion import DEFINITIONS, Confusion, defined, mean_iou
from geoseg.score.pixels.sums import Sums
from geoseg.score.report.object_values import OBJECT_MEASURES, ObjectScore, object_score
from geoseg.score.report.report_text import report_text
from geoseg.score.report.values import ClassScore, Curve, CurveBin, Measure, SceneScore, Unscored, Value
from geoseg.score.tally import SceneTally, widest_side

__all__ = [
    "MEASURES",
    "ClassScore",
    "Measure",
    "ObjectScore",
    "SceneScore",
    "ScoreReport",
    "Unscored",
    "score_report",
]

MEASURES = {
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
"""What each measure is, for the reader of a report."""


class ScoreReport(Value):
    """A map's score against a reference."""

    classes: tuple[ClassScore, ...]
    mean_iou: Measure
    """By the definition ``dataset``."""
    accuracy: Measure
    mean_iou_by_definition: dict[str, float | None]
    """By each name in :data:`~geoseg.score.pixels.confusion.DEFINITIONS`, to compare with papers."""
    scenes: tuple[SceneScore, ...]
    unscored: tuple[Unscored, ...]
    """Scenes that could not be scored, and why."""
    labeled_pixels: int
    """Pixels with a label, excluded ones included."""
    excluded_pixels: int
    """Labeled pixels where the map has nodata: in no measure."""
    repaired_polygons: int
    reference_polygons: int
    confusion: tuple[tuple[int, ...], ...]
    """Pixels of true class (row) mapped as class (column)."""
    cells: int
    """Cells with scored pixels, which the intervals are drawn from."""
    cell_pixels: int
    """Side of a cell, in pixels of the map."""
    draws: int
    seed: int
    level: float
    definitions: dict[str, str]
    """What every measure above is."""
    boundary_iou: Measure = Measure(value=None)
    """Mean over the classes in the reference."""
    boundary_width: str | None = None
    """Distance from a contour that its boundary reaches, such as ``5 px``."""
    calibration_error: Measure = Measure(value=None)
    """Expected; of the mapped class. No value where no probabilities lie beside the maps."""
    largest_calibration_error: float | None = None
    """Of the mapped class."""
    brier: float | None = None
    """Sum over all classes: 0 to 2."""
    reliability: tuple[Curve, ...] = ()
    """Of each class whose probability is known, then of the mapped class."""
    objects: tuple[ObjectScore, ...] = ()
    """Of each class that is outlined; empty where no polygons lie beside the maps."""
    without_objects: tuple[str, ...] = ()
    """Scenes without polygons, where others have them."""

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values: numbers, text, null; no NaN."""
        return self.model_dump(mode="json")

    def text(self) -> str:
        """The report as text: a line per class, then the means, then what was counted; no newline at its end.

        Precision and recall have their intervals in :meth:`to_dict` alone.
        """
        return report_text(self)


def score_report(
    scenes: Sequence[SceneTally],
    names: Sequence[str],
    how: Bootstrap | None = None,
    *,
    unscored: Sequence[Unscored] = (),
    boundary_width: str | None = None,
) -> ScoreReport:
    """Score several scenes as one.

    Args:
        scenes: tallies of the same classes, at least one.
        names: a name for each class, in the order of ids 0..K-1.
        how: of the intervals; default 1000 draws, seed 0, 95 %.
        unscored: scenes to name as left out.
        boundary_width: what the tallies' boundaries were counted with, in words.

    Raises:
        LabelError: no scenes, another number of classes, or not a single pixel to score.
    """
    how = how or Bootstrap()
    if not scenes:
        raise LabelError("no scene to score: none has both a finished map and a reference")
    for scene in scenes:
        if scene.cells.shape[1:] != (len(names), len(names)):
            raise LabelError(
                f"scene {scene.scene}: counted {scene.cells.shape[1]} classes, needed {len(names)}"
            )
    matrices = [scene.confusion for scene in scenes]
    total = sum(matrices, Confusion.zeros(len(names)))
    if total.pixels == 0:
        raise LabelError(
            f"scene {', '.join(scene.scene for scene in scenes)}: no labeled pixel is mapped "
            f"({total.excluded:,} labeled pixels lie in nodata); check the labeled area"
        )
    side = widest_side(scenes)
    sums = Sums.joined([scene.coarser(side).sums for scene in scenes])
    intervals = intervals_of(sums, how)
    near = sums.total().measures()
    outlined = [scene for scene in scenes if scene.object_tallies is not None]
    reliability = sum(
        (scene.reliability for scene in scenes if scene.reliability is not None),
        Reliability.zeros(len(names)),
    )
    return ScoreReport(
        classes=_classes(names, total, near, reliability, intervals),
        mean_iou=_measure(mean_iou(matrices), intervals.mean_iou),
        accuracy=_measure(total.accuracy, intervals.accuracy),
        mean_iou_by_definition={name: mean_iou(matrices, name) for name in DEFINITIONS},
        scenes=tuple(
            SceneScore(
                scene=scene.scene,
                iou=matrix.iou,
                mean_iou=mean_iou([matrix]),
                accuracy=matrix.accuracy,
                labeled_pixels=matrix.pixels + matrix.excluded,
                excluded_pixels=matrix.excluded,
                repaired_polygons=scene.repaired,
                reference_polygons=scene.features,
                boundary_iou=_number(of_scene, "mean_boundary_iou"),
                boundary_pixels=None if scene.reach is None else (scene.reach.rows, scene.reach.cols),
                calibration_error=_number(of_scene, "calibration_error"),
            )
            for scene, matrix in zip(scenes, matrices, strict=True)
            for of_scene in (scene.sums.total().measures(),)
        ),
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
        definitions={
            **MEASURES,
            **(OBJECT_MEASURES if outlined else {}),
            **{f"mean_iou {name}": text for name, text in DEFINITIONS.items()},
        },
        boundary_iou=_measure(_number(near, "mean_boundary_iou"), intervals.mean_boundary_iou),
        boundary_width=boundary_width,
        calibration_error=_measure(_number(near, "calibration_error"), intervals.calibration_error),
        largest_calibration_error=reliability.largest_error()[-1],
        brier=reliability.brier_score,
        reliability=_curves(names, reliability),
        objects=_objects(outlined, names, intervals),
        without_objects=tuple(scene.scene for scene in scenes if outlined and scene.object_tallies is None),
    )


def _classes(
    names: Sequence[str],
    total: Confusion,
    near: dict[str, NDArray[np.float64]],
    reliability: Reliability,
    intervals: Intervals,
) -> tuple[ClassScore, ...]:
    errors, largest, brier = reliability.expected_error(), reliability.largest_error(), reliability.brier
    boundary_intervals = intervals.boundary_iou or (None,) * len(names)
    error_intervals = intervals.class_calibration_error or (None,) * len(names)
    return tuple(
        ClassScore(
            id=index,
            name=name,
            iou=_measure(total.iou[index], intervals.iou[index]),
            f1=_measure(total.f1[index], intervals.f1[index]),
            precision=_measure(total.precision[index], intervals.precision[index]),
            recall=_measure(total.recall[index], intervals.recall[index]),
            reference_pixels=int(total.truth[index]),
            mapped_pixels=int(total.mapped[index]),
            reference_share=int(total.truth[index]) / total.pixels,
            mapped_share=int(total.mapped[index]) / total.pixels,
            boundary_iou=_measure(_number(near, "boundary_iou", index), boundary_intervals[index]),
            calibration_error=_measure(errors[index], error_intervals[index]),
            largest_calibration_error=largest[index],
            brier=brier[index],
        )
        for index, name in enumerate(names)
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
            found.append(object_score(class_id, name, tallies, intervals))
    return tuple(found)


def _curves(names: Sequence[str], reliability: Reliability) -> tuple[Curve, ...]:
    curves = []
    for name, sums in zip((*names, "confidence"), binned(reliability.counts).tolist(), strict=True):
        if not any(pixels for pixels, _, _ in sums):
            continue
        bins = tuple(
            CurveBin(
                low=place / BINS,
                high=(place + 1) / BINS,
                pixels=pixels,
                said=said / SCALE / pixels if pixels else None,
                true=hits / pixels if pixels else None,
            )
            for place, (pixels, hits, said) in enumerate(sums)
        )
        curves.append(Curve(name=name, bins=bins))
    return tuple(curves)


def _number(measures: dict[str, NDArray[np.float64]], name: str, index: int | None = None) -> float | None:
    """A measure of the only row; None: undefined or not counted."""
    if name not in measures:
        return None
    row = measures[name][0]
    return defined(np.atleast_1d(row if index is None else row[index]))[0]


def _measure(value: float | None, interval: Interval | None) -> Measure:
    if value is None or interval is None:
        return Measure(value=value)
    return Measure(value=value, low=interval.low, high=interval.high)
