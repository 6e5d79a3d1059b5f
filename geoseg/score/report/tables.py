"""Reports and comparisons as tables and notes of plain text.

What is in a table is decided here, how it looks by what prints it: the command line, or Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from geoseg.score.report.values import (
    Comparison,
    Curve,
    ErrorCounts,
    Measure,
    ModelScore,
    ObjectScore,
    ScoreReport,
    Scores,
    SizeScore,
)
from geoseg.words import counted

__all__ = [
    "Table",
    "comparison_markdown",
    "comparison_notes",
    "comparison_tables",
    "report_notes",
    "report_tables",
]

_SEVERAL = 2
"""Scenes, or models, from which on they have a table of their own."""


@dataclass(frozen=True, slots=True)
class Table:
    """Text in rows and columns."""

    title: str
    """Empty: none."""
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: tuple[int, ...] = (0,)
    """Columns of words, aligned to the left, which may be folded; the others hold numbers, which may not."""


def report_tables(report: ScoreReport) -> Iterator[Table]:
    """The tables of a report: classes, means, boundaries and probabilities, objects, scenes."""
    yield Table(
        "",
        ("class", "IoU", "F1", "precision", "recall", "reference", "map"),
        tuple(
            (
                row.name,
                _measure(row.iou),
                _measure(row.f1),
                _value(row.precision.value),
                _value(row.recall.value),
                f"{row.reference_share:.1%}",
                f"{row.mapped_share:.1%}",
            )
            for row in report.classes
        ),
    )
    yield _means(report)
    if report.categories:
        yield Table(
            "",
            ("category", "IoU", "classes"),
            tuple((one.name, _value(one.iou), ", ".join(one.classes)) for one in report.categories),
            left=(0, 2),
        )
    if report.boundary_width is not None or report.reliability:
        yield Table(
            "",
            ("class", "boundary IoU", "calibration error", "largest", "Brier"),
            tuple(
                (
                    row.name,
                    _measure(row.boundary_iou),
                    _measure(row.calibration_error),
                    _value(row.largest_calibration_error),
                    _value(row.brier),
                )
                for row in report.classes
            ),
        )
    yield from (_confidence(curve) for curve in report.reliability if curve.name == "confidence")
    if report.objects:
        yield from _objects(report.objects)
    if len(report.scenes) >= _SEVERAL:
        yield _scenes(report)


def report_notes(report: ScoreReport) -> list[str]:
    """What was counted, and what is in no figure; a line each."""
    scored = f"{report.labeled_pixels - report.excluded_pixels:,}"
    side = report.cell_pixels
    drawn = f"{report.draws} draws of {counted(report.cells, 'cell')} of {side}×{side} px"
    left_out = f"{report.excluded_pixels:,} labeled px without a map (nodata) left out"
    polygons = counted(report.reference_polygons, "reference polygon")
    return [
        f"{scored} px scored in {counted(len(report.scenes), 'scene')}; {left_out}",
        f"{polygons}; {report.repaired_polygons} invalid, repaired",
        f"[{report.level:.0%} interval: {drawn}, seed {report.seed}; –: undefined]",
        *_words(report),
        *(f"scene {scene}: no polygons, so no objects" for scene in report.without_objects),
        *(f"not scored: {one.reason}" for one in report.unscored),
    ]


def _words(report: ScoreReport) -> Iterator[str]:
    """What the columns mean whose names do not say it, a line each."""
    if report.reliability:
        yield "confidence: pixels by the probability of their class; right: share of them that are right"
    if report.boundary_width is not None or report.reliability:
        yield "Brier: mean squared error of the probabilities, 0 at best; largest: calibration error of a bin"
    if report.objects:
        yield "F1 of objects: found is what one of the other side overlaps with an IoU of 0.5 or more"
        yield "AP: average precision, the most confident first, over IoU 0.5 to 0.95; AP50, AP75: at one IoU"
        yield "wrong: no counterpart; merged, split: several for one; at edge: cut there, not counted"
        yield "PoLiS: mean distance of the two outlines; vertices: of the map, by those of the reference"
        yield "90°: share of corners that are right angles; calibr.: how far the objects' confidences are off"


def _means(report: ScoreReport) -> Table:
    rows = [
        ("mIoU", report.mean_iou, "mean over the reference's classes ('dataset')"),
        ("accuracy", report.accuracy, report.definitions["accuracy"]),
    ]
    if report.categories:
        meaning = "mean over the categories in reference or map ('cityscapes')"
        rows.append(("category mIoU", Measure(value=report.category_mean_iou), meaning))
    if report.boundary_width is not None:
        meaning = f"mean IoU within {report.boundary_width} of contours"
        rows.append(("boundary", report.boundary_iou, meaning))
    if report.reliability:
        rows.append(("calibration", report.calibration_error, "expected error of the mapped class"))
    return Table(
        "",
        ("mean", "value", "definition"),
        tuple((name, _measure(measure), meaning) for name, measure, meaning in rows),
        left=(0, 2),
    )


def _confidence(curve: Curve) -> Table:
    """How often a confidence was right: a column per bin that has pixels."""
    bins = [one for one in curve.bins if one.pixels]
    pixels = sum(one.pixels for one in bins)
    return Table(
        "",
        ("confidence", *(f"-{one.high:.0%}" for one in bins)),
        (
            ("right", *(_value(one.true) for one in bins)),
            ("pixels", *(f"{one.pixels / pixels:.1%}" for one in bins)),
        ),
    )


def _objects(objects: Sequence[ObjectScore]) -> Iterator[Table]:
    """How many objects are found, what is wrong with the others, sizes and shapes."""
    yield Table(
        "",
        ("objects", "F1 at IoU 0.5", "precision", "recall", "AP", "AP50", "AP75", "reference", "map"),
        tuple(
            (
                row.name,
                _measure(row.f1),
                _value(row.precision.value),
                _value(row.recall.value),
                _value(row.average_precision),
                *(_value(row.average_precision_by_iou[iou]) for iou in ("0.50", "0.75")),
                f"{row.reference_objects:,}",
                f"{row.mapped_objects:,}",
            )
            for row in objects
        ),
    )
    yield Table(
        "",
        ("errors", "side", "matched", "wrong", "merged", "split", "at edge"),
        tuple(
            line
            for row in objects
            for line in (_errors(row.name, "map", row.mapped), _errors("", "reference", row.reference))
        ),
        left=(0, 1),
    )
    yield Table(
        "",
        ("F1 by size", *map(_span, objects[0].sizes), "PoLiS", "vertices", "90°", "calibr."),
        tuple((row.name, *map(_size, row.sizes), *_shape(row)) for row in objects),
    )


def _errors(name: str, side: str, counts: ErrorCounts) -> tuple[str, ...]:
    numbers = (counts.matched, counts.wrong, counts.merged, counts.split, counts.excluded)
    return (name, side, *(f"{number:,}" for number in numbers))


def _span(size: SizeScore) -> str:
    if size.to_m2 is None:
        return f"from {size.from_m2:g} m²"
    return f"{size.from_m2:g}-{size.to_m2:g} m²" if size.from_m2 else f"under {size.to_m2:g} m²"


def _size(size: SizeScore) -> str:
    """F1, and the number of reference objects."""
    return f"{_value(size.f1)} ({size.reference_objects:,})"


def _shape(row: ObjectScore) -> tuple[str, ...]:
    shape = row.shape
    drawn = (None,) * 3 if shape is None else (shape.polis_m, shape.vertex_ratio, shape.right_angles)
    figures = (_value(*one) for one in zip(drawn, ("{:.2f} m", "×{:.2f}", "{:.0%}"), strict=True))
    return (*figures, _value(row.calibration_error))


def _scenes(report: ScoreReport) -> Table:
    return Table(
        "",
        (
            "scene",
            "px scored",
            "mIoU",
            "accuracy",
            "boundary",
            "calibr.",
            *(f"IoU {row.name}" for row in report.classes),
        ),
        tuple(
            (
                row.scene,
                f"{row.labeled_pixels - row.excluded_pixels:,}",
                *map(_value, (row.mean_iou, row.accuracy, row.boundary_iou, row.calibration_error)),
                *map(_value, row.iou),
            )
            for row in report.scenes
        ),
    )


def comparison_tables(comparison: Comparison) -> Iterator[Table]:
    """The tables of a comparison: scores, differences from the first model, scenes, cost."""
    models, level = comparison.models, f"{comparison.level:.0%} intervals"
    head = ("model", "mIoU", "accuracy", "boundary IoU", "calibration error")
    yield Table(
        f"Scores, with {level}",
        head,
        tuple((one.model, *_overall(one.scores, signed=False)) for one in models),
    )
    yield _per_class(comparison, "IoU per class", [(one.model, one.scores) for one in models], signed=False)
    others = [(one.model, one.difference) for one in models if one.difference is not None]
    if others:
        title = f"Difference from {models[0].model}, paired; *: its interval leaves zero out"
        yield Table(title, head, tuple((name, *_overall(more, signed=True)) for name, more in others))
        yield _per_class(comparison, f"IoU per class, difference from {models[0].model}", others, signed=True)
    if len(comparison.scenes) >= _SEVERAL:
        yield Table(
            "mIoU by scene",
            ("scene", "px scored", *(one.model for one in models)),
            tuple(
                (scene.scene, f"{scene.labeled_pixels:,}", *(_value(one.per_scene[index]) for one in models))
                for index, scene in enumerate(comparison.scenes)
            ),
        )
    yield Table(
        "Cost",
        ("model", "parameters", "GFLOPs/Mpx", "weights", "network Mpx/s", "map Mpx/s"),
        tuple(_cost(one) for one in models),
    )


def comparison_notes(comparison: Comparison) -> list[str]:
    """What was compared, how it was measured, and what is in no figure; a line each."""
    scored = sum(scene.labeled_pixels for scene in comparison.scenes)
    side = comparison.cell_pixels
    cells = f"{counted(comparison.cells, 'cell')} of {side}×{side} px, seed {comparison.seed}"
    near = f"boundary IoU: within {comparison.boundary_width} of contours, mean over the reference's classes"
    speed = "network Mpx/s: windows predicted by one worker, overlaps and reading included"
    return [
        f"{scored:,} px scored in {counted(len(comparison.scenes), 'scene')}, on {comparison.grid}",
        f"intervals: {comparison.draws} draws of {cells}; –: undefined",
        f"{near}; calibration error: expected, of the mapped class",
        f"GFLOPs: multiply-adds of the convolutions; {speed}",
        f"speed: wall time when the maps were made, other work included, on {comparison.machine}",
        *(f"not scored: {one.reason}" for one in comparison.unscored),
    ]


def comparison_markdown(comparison: Comparison) -> str:
    """The comparison as Markdown; ends with a newline."""
    lines = ["# Models compared", ""]
    for table in comparison_tables(comparison):
        lines += [f"## {table.title}", ""]
        ruler = tuple("---" if column in table.left else "---:" for column in range(len(table.head)))
        for row in (table.head, ruler, *table.rows):
            cells = (cell.replace("|", "\\|").strip() for cell in row)
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    lines += [f"- {note}" for note in comparison_notes(comparison)]
    return "\n".join(lines) + "\n"


def _per_class(
    comparison: Comparison, title: str, models: Sequence[tuple[str, Scores]], *, signed: bool
) -> Table:
    """A row per class and a column per model: there may be many classes, but few models."""
    rows = tuple(
        (name, *(_measure(scores.iou[index], signed=signed) for _, scores in models))
        for index, name in enumerate(comparison.classes)
    )
    return Table(title, ("class", *(name for name, _ in models)), rows)


def _overall(scores: Scores, *, signed: bool) -> tuple[str, ...]:
    each = (scores.mean_iou, scores.accuracy, scores.boundary_iou, scores.calibration_error)
    return tuple(_measure(measure, signed=signed) for measure in each)


def _cost(one: ModelScore) -> tuple[str, ...]:
    cost = one.cost
    return (
        one.model,
        f"{cost.parameters:,}",
        f"{cost.gflops_per_mpx:.2f}",
        f"{cost.weights_bytes / 1e6:.2f} MB",
        _value(cost.network_mpx_per_second, "{:.2f}"),
        _value(cost.map_mpx_per_second, "{:.2f}"),
    )


def _value(value: float | None, form: str = "{:.3f}") -> str:
    return "–" if value is None else form.format(value)


def _measure(measure: Measure, *, signed: bool = False) -> str:
    """A measure with its interval, where it has one; of a difference, * where that leaves zero out."""
    sign = "+" if signed else ""
    value = _value(measure.value, f"{{:{sign}.3f}}")
    if measure.low is None or measure.high is None:
        return value
    mark = " *" if signed and (measure.low > 0 or measure.high < 0) else "  " if signed else ""
    return f"{value} [{measure.low:{sign}.3f}, {measure.high:{sign}.3f}]{mark}"
