"""A report as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from geoseg.score.report.object_text import object_lines
from geoseg.score.report.value_text import measure_text, value_text
from geoseg.words import counted

if TYPE_CHECKING:
    from geoseg.score.report.report import ScoreReport
    from geoseg.score.report.values import CurveBin

__all__ = ["report_text"]

_FEWEST_SCENES = 2
"""Scenes that have a table of their own."""


def report_text(report: ScoreReport) -> str:
    """The report: a line per class, the means, a line per scene where several; no newline at its end."""
    width = max(11, *(len(row.name) for row in report.classes))
    lines = [*_classes(report, width), "", *_means(report, width)]
    if report.boundary_width is not None or report.reliability:
        lines += ["", *_finer(report, width)]
    if report.objects:
        lines += ["", *object_lines(report.objects, width)]
    if len(report.scenes) >= _FEWEST_SCENES:
        lines += ["", *_scenes(report)]
    lines += ["", *_counted(report)]
    lines += [f"scene {scene}: no polygons, so no objects" for scene in report.without_objects]
    lines += [f"not scored: {scene.reason}" for scene in report.unscored]
    return "\n".join(line.rstrip() for line in lines)


def _classes(report: ScoreReport, width: int) -> list[str]:
    head = f"{'class':<{width}}  {'IoU':<22}{'F1':<22}{'precision':>9}{'recall':>8}"
    lines = [f"{head}{'reference':>11}{'map':>8}"]
    for row in report.classes:
        measures = f"{measure_text(row.iou):<22}{measure_text(row.f1):<22}"
        measures += f"{value_text(row.precision.value):>9}{value_text(row.recall.value):>8}"
        shares = f"{row.reference_share:>11.1%}{row.mapped_share:>8.1%}"
        lines.append(f"{row.name:<{width}}  {measures}{shares}")
    return lines


def _means(report: ScoreReport, width: int) -> list[str]:
    rows = [
        ("mIoU", report.mean_iou, "mean over the reference's classes ('dataset')"),
        ("accuracy", report.accuracy, report.definitions["accuracy"]),
    ]
    if report.boundary_width is not None:
        told = f"mean IoU within {report.boundary_width} of contours"
        rows.append(("boundary", report.boundary_iou, told))
    if report.reliability:
        rows.append(("calibration", report.calibration_error, "expected error of the mapped class"))
    return [f"{name:<{width}}  {measure_text(measure):<22}{told}" for name, measure, told in rows]


def _finer(report: ScoreReport, width: int) -> list[str]:
    """Boundaries and probabilities of each class, then how often a confidence was right."""
    head = f"{'class':<{width}}  {'boundary IoU':<22}{'calibration error':<22}{'largest':>9}{'Brier':>8}"
    lines = [head]
    for row in report.classes:
        measures = f"{measure_text(row.boundary_iou):<22}{measure_text(row.calibration_error):<22}"
        rest = f"{value_text(row.largest_calibration_error):>9}{value_text(row.brier):>8}"
        lines.append(f"{row.name:<{width}}  {measures}{rest}")
    for curve in report.reliability:
        if curve.name == "confidence":
            bins = [one for one in curve.bins if one.pixels]
            lines += [
                "",
                f"{'confidence':<{width}}" + "".join(f"{f'-{one.high:.0%}':>8}" for one in bins),
                f"{'right':<{width}}" + "".join(f"{value_text(one.true):>8}" for one in bins),
                f"{'pixels':<{width}}" + "".join(f"{one.pixels / _pixels(bins):>8.1%}" for one in bins),
            ]
    return lines


def _pixels(bins: Sequence[CurveBin]) -> int:
    return sum(one.pixels for one in bins)


def _scenes(report: ScoreReport) -> list[str]:
    """A line per place, without intervals."""
    width = max(5, *(len(row.scene) for row in report.scenes))
    names = [row.name[:9] for row in report.classes]
    head = "".join(f"{name:>10}" for name in names)
    lines = [
        f"{'scene':<{width}}  {'px scored':>11}{'mIoU':>7}{'accuracy':>10}{'boundary':>10}{'calibr.':>9}"
    ]
    lines[0] += f"   IoU:{head}"
    for row in report.scenes:
        each = "".join(f"{value_text(value):>10}" for value in row.iou)
        lines.append(
            f"{row.scene:<{width}}  {row.labeled_pixels - row.excluded_pixels:>11,}"
            f"{value_text(row.mean_iou):>7}{value_text(row.accuracy):>10}{value_text(row.boundary_iou):>10}"
            f"{value_text(row.calibration_error):>9}       {each}"
        )
    return lines


def _counted(report: ScoreReport) -> list[str]:
    scored = f"{report.labeled_pixels - report.excluded_pixels:,}"
    left_out = f"{report.excluded_pixels:,} labeled px without a map (nodata) left out"
    polygons = counted(report.reference_polygons, "reference polygon")
    side = report.cell_pixels
    drawn = f"{report.draws} draws of {counted(report.cells, 'cell')} of {side}×{side} px"
    return [
        f"{scored} px scored in {counted(len(report.scenes), 'scene')}; {left_out}",
        f"{polygons}; {report.repaired_polygons} invalid, repaired",
        f"[{report.level:.0%} interval: {drawn}, seed {report.seed}; –: undefined]",
    ]
