"""What a user reads of a score."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO

from geoseg.cli.tables import print_report
from geoseg.score.report.values import ScoreReport

__all__ = ["report_text"]


def report_text(report: ScoreReport) -> str:
    """Every line that the command prints of a report: tables with their titles, and notes."""
    printed = StringIO()
    with redirect_stdout(printed):
        print_report(report)
    return printed.getvalue()
