"""Imported first by the process that local workers are forked from.

Imports make much and no garbage. To look for it takes an eighth of their time: until
:mod:`geoseg.engine.loops.preloaded` is there, nobody does.
"""

from __future__ import annotations

import gc

__all__: list[str] = []

gc.disable()
