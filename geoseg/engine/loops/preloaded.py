"""Imported last by the process that local workers are forked from: loads the loops that are compiled here.

A loop is loaded by calling it; each worker would do so for itself. What is there then is never garbage.
"""

from __future__ import annotations

import gc

from geoseg.compiled import is_compiled
from geoseg.engine.loops.exercise import EXERCISES

__all__: list[str] = []

for _exercise in EXERCISES.values():
    if is_compiled(_exercise):
        _exercise()

gc.freeze()
gc.enable()
