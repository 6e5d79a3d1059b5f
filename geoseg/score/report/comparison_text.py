"""A comparison of models as tables: for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geoseg.score.report.value_text import value_text
from geoseg.words import counted

if TYPE_CHECKING:
    from geoseg.score.report.comparison import Comparison, ModelScore, Scores
    from geoseg.score.report.values import Measure

__all__ = ["comparison_markdown", "comparison_text"]

_SEVERAL = 2
"""Models, or scenes, that there is something to compare of."""


@dataclass(frozen=True, slots=True)
class _Table:
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def comparison_text(comparison: Comparison) -> str:
    """Tables for a terminal; no newline at the end."""
    lines: list[str] = []
    for table in _tables(comparison):
        widths = [max(map(len, column)) for column in zip(table.head, *table.rows, strict=True)]
        lines.append(table.title)
        for name, *values in (table.head, *table.rows):
            cells = (value.rjust(width) for value, width in zip(values, widths[1:], strict=True))
            lines.append("  ".join((name.ljust(widths[0]), *cells)).rstrip())
        lines.append("")
    return "\n".join((*lines, *_notes(comparison)))


def comparison_markdown(comparison: Comparison) -> str:
    """Markdown; ends with a newline."""
    lines = ["# Models compared", ""]
    for table in _tables(comparison):
        lines += [f"## {table.title}", ""]
        ruler = ("---", *("---:" for _ in table.head[1:]))
        for row in (table.head, ruler, *table.rows):
            cells = (cell.replace("|", "\\|").strip() for cell in row)
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    lines += [f"- {note}" for note in _notes(comparison)]
    return "\n".join(lines) + "\n"


def _tables(comparison: Comparison) -> Iterator[_Table]:
    models, level = comparison.models, f"{comparison.level:.0%} intervals"
    head = ("model", "mIoU", "accuracy", "boundary IoU", "calibration error")
    yield _Table(
        f"Scores, with {level}",
        head,
        tuple((one.model, *_overall(one.scores, signed=False)) for one in models),
    )
    yield _per_class(comparison, "IoU per class", [(one.model, one.scores) for one in models], signed=False)
    others = [(one.model, one.difference) for one in models if one.difference is not None]
    if others:
        title = f"Difference from {models[0].model}, paired; *: its interval leaves zero out"
        yield _Table(title, head, tuple((name, *_overall(more, signed=True)) for name, more in others))
        yield _per_class(comparison, f"IoU per class, difference from {models[0].model}", others, signed=True)
    if len(comparison.scenes) >= _SEVERAL:
        yield _Table(
            "mIoU by scene",
            ("scene", "px scored", *(one.model for one in models)),
            tuple(
                (
                    place.scene,
                    f"{place.labeled_pixels:,}",
                    *(value_text(one.per_scene[index]) for one in models),
                )
                for index, place in enumerate(comparison.scenes)
            ),
        )
    yield _Table(
        "Cost",
        ("model", "parameters", "GFLOPs/Mpx", "weights", "network Mpx/s", "map Mpx/s"),
        tuple(_cost(one) for one in models),
    )


def _per_class(
    comparison: Comparison, title: str, models: Sequence[tuple[str, Scores]], *, signed: bool
) -> _Table:
    """A row per class and a column per model: there may be many classes, but few models."""
    rows = tuple(
        (name, *(_cell(scores.iou[index], signed=signed) for _, scores in models))
        for index, name in enumerate(comparison.classes)
    )
    return _Table(title, ("class", *(name for name, _ in models)), rows)


def _overall(scores: Scores, *, signed: bool) -> tuple[str, ...]:
    each = (scores.mean_iou, scores.accuracy, scores.boundary_iou, scores.calibration_error)
    return tuple(_cell(measure, signed=signed) for measure in each)


def _cell(measure: Measure, *, signed: bool = False) -> str:
    if measure.value is None:
        return "–"
    sign = "+" if signed else ""
    value = f"{measure.value:{sign}.3f}"
    if measure.low is None or measure.high is None:
        return value
    mark = " *" if signed and (measure.low > 0 or measure.high < 0) else "  " if signed else ""
    return f"{value} [{measure.low:{sign}.3f}, {measure.high:{sign}.3f}]{mark}"


def _cost(one: ModelScore) -> tuple[str, ...]:
    cost = one.cost
    return (
        one.model,
        f"{cost.parameters:,}",
        f"{cost.gflops_per_mpx:.2f}",
        f"{cost.weights_bytes / 1e6:.2f} MB",
        _speed(cost.network_mpx_per_second),
        _speed(cost.map_mpx_per_second),
    )


def _speed(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _notes(comparison: Comparison) -> list[str]:
    scored = sum(place.labeled_pixels for place in comparison.scenes)
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
