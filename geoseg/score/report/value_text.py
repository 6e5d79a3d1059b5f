"""Measures as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geoseg.score.report.values import Measure

__all__ = ["measure_text", "value_text"]


def value_text(value: float | None) -> str:
    """A measure with three digits; –: undefined."""
    return "–" if value is None else f"{value:.3f}"


def measure_text(measure: Measure) -> str:
    """A measure with its interval, where it has one."""
    if measure.low is None or measure.high is None:
        return value_text(measure.value)
    return f"{value_text(measure.value)} [{measure.low:.3f}, {measure.high:.3f}]"
