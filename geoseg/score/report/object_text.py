"""The objects of a report as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from geoseg.score.report.value_text import measure_text, value_text

if TYPE_CHECKING:
    from geoseg.score.report.object_values import ErrorCounts, ObjectScore, SizeScore

__all__ = ["object_lines"]


def object_lines(objects: Sequence[ObjectScore], width: int) -> list[str]:
    """Tables of the objects: how many are found, what is wrong with the others, sizes and shapes.

    Args:
        objects: of each class, at least one.
        width: of the column of names.
    """
    head = f"{'objects':<{width}}  {'F1 at IoU 0.5':<22}{'precision':>9}{'recall':>8}{'AP':>8}{'AP50':>8}"
    lines = [f"{head}{'AP75':>8}{'reference':>11}{'map':>8}"]
    for row in objects:
        values = [row.precision.value, row.recall.value, row.average_precision]
        values += [row.average_precision_by_iou[iou] for iou in ("0.50", "0.75")]
        each = f"{value_text(values[0]):>9}" + "".join(f"{value_text(value):>8}" for value in values[1:])
        counts = f"{row.reference_objects:>11,}{row.mapped_objects:>8,}"
        lines.append(f"{row.name:<{width}}  {measure_text(row.f1):<22}{each}{counts}")
    lines += [
        "",
        f"{'errors':<{width}}  {'':<12}{'matched':>9}{'wrong':>9}{'merged':>9}{'split':>9}{'at edge':>9}",
    ]
    for row in objects:
        lines += [_errors(row.name, width, "map", row.mapped), _errors("", width, "reference", row.reference)]
    sizes = "".join(f"{_span(size):>18}" for size in objects[0].sizes)
    lines += ["", f"{'F1 by size':<{width}}  {sizes}{'PoLiS':>10}{'vertices':>10}{'90°':>7}{'calibr.':>9}"]
    for row in objects:
        each = "".join(f"{_size(size):>18}" for size in row.sizes)
        shape = row.shape
        polis = "–" if shape is None or shape.polis_m is None else f"{shape.polis_m:.2f} m"
        ratio = "–" if shape is None or shape.vertex_ratio is None else f"×{shape.vertex_ratio:.2f}"
        right = "–" if shape is None or shape.right_angles is None else f"{shape.right_angles:.0%}"
        rest = f"{polis:>10}{ratio:>10}{right:>7}{value_text(row.calibration_error):>9}"
        lines.append(f"{row.name:<{width}}  {each}{rest}")
    return lines


def _errors(name: str, width: int, side: str, counts: ErrorCounts) -> str:
    numbers = (counts.matched, counts.wrong, counts.merged, counts.split, counts.excluded)
    return f"{name:<{width}}  {side:<12}" + "".join(f"{number:>9,}" for number in numbers)


def _span(size: SizeScore) -> str:
    if size.to_m2 is None:
        return f"from {size.from_m2:g} m²"
    return f"{size.from_m2:g}-{size.to_m2:g} m²" if size.from_m2 else f"under {size.to_m2:g} m²"


def _size(size: SizeScore) -> str:
    """F1, and of how many objects of the reference."""
    return f"{value_text(size.f1)} ({size.reference_objects:,})"
