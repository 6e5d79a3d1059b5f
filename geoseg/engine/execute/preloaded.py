"""Imported by the process that local workers are forked from: what each would import and load for itself.

Loops of polygons are loaded by calling them, those of each mode whose loops are compiled on this machine.
"""

from __future__ import annotations

import geoseg.engine.tasks  # noqa: F401 - it imports what tasks need
from geoseg.compiled import is_compiled
from geoseg.engine.exercise import EXERCISES

__all__: list[str] = []

for _exercise in EXERCISES.values():
    if is_compiled(_exercise):
        _exercise()
