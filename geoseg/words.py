"""Wording that reports and messages share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["counted", "did_you_mean", "listed"]


def counted(number: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "scene"), counted(2000, "scene")
    ('1 scene', '2,000 scenes')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The end of a sentence that names the nearest choice, or nothing when none is near.

    >>> did_you_mean("tilling", ["tiling", "compute"])
    "; did you mean 'tiling'?"
    >>> did_you_mean("zebra", ["tiling", "compute"])
    ''
    """
    by_lower = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""


def listed(words: Iterable[str], limit: int = 12) -> str:
    """Words with commas, cut after ``limit``.

    >>> listed(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    known = list(words)
    shown = ", ".join(known[:limit])
    return shown if len(known) <= limit else f"{shown} and {len(known) - limit} more"
