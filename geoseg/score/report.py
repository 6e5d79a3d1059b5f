"""What a score says: one value, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from geoseg.errors import LabelError
from geoseg.score.bootstrap import Bootstrap, Interval, bootstrap
from geoseg.score.confusion import DEFINITIONS, Confusion, mean_iou
from geoseg.score.tally import SceneTally, widest_cells

__all__ = ["ClassScore", "Measure", "SceneScore", "ScoreReport", "Unscored", "score_report"]

_MEASURES = {
    "iou": "pixels in map and reference over pixels in either",
    "f1": "harmonic mean of precision and recall",
    "precision": "share of mapped pixels that are right",
    "recall": "share of reference pixels that are mapped",
    "accuracy": "share of scored pixels that are right",
}
"""What each measure is, for the reader of a report."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Measure(_Value):
    """A measure with its interval."""

    value: float | None
    """None: undefined, such as the precision of a class that the map never uses."""
    low: float | None = None
    """Lower end of the interval; None: fewer than two cells bear on it."""
    high: float | None = None
    """Upper end of the interval."""


class ClassScore(_Value):
    """The score of one class."""

    id: int
    name: str
    iou: Measure
    f1: Measure
    precision: Measure
    recall: Measure
    reference_pixels: int
    """Scored pixels of this class in the reference."""
    mapped_pixels: int
    """Scored pixels mapped as this class."""
    reference_share: float
    """Share of the scored pixels that are this class in the reference."""
    mapped_share: float
    """Share of the scored pixels that are mapped as this class."""


class SceneScore(_Value):
    """The score of one scene, without intervals."""

    scene: str
    iou: tuple[float | None, ...]
    """Per class."""
    mean_iou: float | None
    """By the definition ``dataset``, of this scene alone."""
    accuracy: float | None
    labelled_pixels: int
    """Pixels with a label, excluded ones included."""
    excluded_pixels: int
    """Labelled pixels where the map has nodata."""
    repaired_polygons: int
    reference_polygons: int


class Unscored(_Value):
    """A scene that is in no figure."""

    scene: str
    reason: str
    """One sentence."""


class ScoreReport(_Value):
    """A map's score against a reference."""

    classes: tuple[ClassScore, ...]
    mean_iou: Measure
    """By the definition ``dataset``."""
    accuracy: Measure
    mean_iou_by_definition: dict[str, float | None]
    """By each name in :data:`~geoseg.score.confusion.DEFINITIONS`, for comparison with published figures."""
    scenes: tuple[SceneScore, ...]
    unscored: tuple[Unscored, ...]
    """Scenes that could not be scored, and why."""
    labelled_pixels: int
    """Pixels with a label, excluded ones included."""
    excluded_pixels: int
    """Labelled pixels where the map has nodata: in no measure."""
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

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values: numbers, text, null; no NaN."""
        return self.model_dump(mode="json")

    def text(self) -> str:
        """The report as text: a line per class, then the means, then what was counted; no newline at its end.

        Precision and recall have their intervals in :meth:`to_dict` alone.
        """
        name_width = max(8, *(len(row.name) for row in self.classes))
        head = f"{'class':<{name_width}}  {'IoU':<22}{'F1':<22}{'precision':>9}{'recall':>8}"
        lines = [f"{head}{'reference':>11}{'map':>8}"]
        for row in self.classes:
            measures = f"{_text(row.iou):<22}{_text(row.f1):<22}"
            measures += f"{_value(row.precision):>9}{_value(row.recall):>8}"
            shares = f"{row.reference_share:>11.1%}{row.mapped_share:>8.1%}"
            lines.append(f"{row.name:<{name_width}}  {measures}{shares}")
        scored = f"{self.labelled_pixels - self.excluded_pixels:,}"
        left_out = f"{self.excluded_pixels:,} labelled px without a map (nodata) left out"
        polygons = _count(self.reference_polygons, "reference polygon")
        side = self.cell_pixels
        drawn = f"{self.draws} draws of {_count(self.cells, 'cell')} of {side}×{side} px"
        means = "mean over the reference's classes ('dataset')"
        lines += [
            "",
            f"{'mIoU':<{name_width}}  {_text(self.mean_iou):<22}{means}",
            f"{'accuracy':<{name_width}}  {_text(self.accuracy):<22}{_MEASURES['accuracy']}",
            "",
            f"{scored} px scored in {_count(len(self.scenes), 'scene')}; {left_out}",
            f"{polygons}; {self.repaired_polygons} invalid, repaired",
            f"[{self.level:.0%} interval: {drawn}, seed {self.seed}; –: undefined]",
        ]
        lines += [f"not scored: {scene.reason}" for scene in self.unscored]
        return "\n".join(line.rstrip() for line in lines)


def score_report(
    scenes: Sequence[SceneTally],
    names: Sequence[str],
    how: Bootstrap | None = None,
    *,
    unscored: Sequence[Unscored] = (),
) -> ScoreReport:
    """Score several scenes as one.

    Args:
        scenes: tallies of the same classes, at least one.
        names: a name for each class, in the order of ids 0..K-1.
        how: of the intervals; default 1000 draws, seed 0, 95 %.
        unscored: scenes to name as left out.

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
            f"scene {', '.join(scene.scene for scene in scenes)}: no labelled pixel is mapped "
            f"({total.excluded:,} labelled pixels lie in nodata); check the labelled area"
        )
    side, cells = widest_cells(scenes)
    intervals = bootstrap(cells, how)
    return ScoreReport(
        classes=tuple(
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
            )
            for index, name in enumerate(names)
        ),
        mean_iou=_measure(mean_iou(matrices), intervals.mean_iou),
        accuracy=_measure(total.accuracy, intervals.accuracy),
        mean_iou_by_definition={name: mean_iou(matrices, name) for name in DEFINITIONS},
        scenes=tuple(
            SceneScore(
                scene=scene.scene,
                iou=matrix.iou,
                mean_iou=mean_iou([matrix]),
                accuracy=matrix.accuracy,
                labelled_pixels=matrix.pixels + matrix.excluded,
                excluded_pixels=matrix.excluded,
                repaired_polygons=scene.repaired,
                reference_polygons=scene.features,
            )
            for scene, matrix in zip(scenes, matrices, strict=True)
        ),
        unscored=tuple(unscored),
        labelled_pixels=total.pixels + total.excluded,
        excluded_pixels=total.excluded,
        repaired_polygons=sum(scene.repaired for scene in scenes),
        reference_polygons=sum(scene.features for scene in scenes),
        confusion=tuple(tuple(row) for row in total.counts.tolist()),
        cells=len(cells),
        cell_pixels=side,
        draws=how.draws,
        seed=how.seed,
        level=how.level,
        definitions={**_MEASURES, **{f"mean_iou {name}": text for name, text in DEFINITIONS.items()}},
    )


def _measure(value: float | None, interval: Interval | None) -> Measure:
    if value is None or interval is None:
        return Measure(value=value)
    return Measure(value=value, low=interval.low, high=interval.high)


def _value(measure: Measure) -> str:
    return "–" if measure.value is None else f"{measure.value:.3f}"


def _text(measure: Measure) -> str:
    if measure.low is None or measure.high is None:
        return _value(measure)
    return f"{_value(measure)} [{measure.low:.3f}, {measure.high:.3f}]"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
