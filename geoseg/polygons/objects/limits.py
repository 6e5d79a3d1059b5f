"""Limits of objects that bound the memory that finding them takes, known without the code that finds them."""

from __future__ import annotations

from typing import Final

__all__ = ["TALLEST"]

TALLEST: Final = 1024
"""Rows of the tallest object that is split or fitted: no building; what is longer keeps its contour."""
