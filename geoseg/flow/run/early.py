"""Workers that start while the run is still being imported and planned: both take a second."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Final

from geoseg.config.workflow import Compute
from geoseg.engine.execute.workers import Template
from geoseg.io.yaml.files import LoadedWorkflow

__all__ = ["SMALL_RUN", "start_template"]

SMALL_RUN: Final = 8_000_000
"""Pixels of the model's grids up to which one process is as fast as several, which take time to start."""
_TASKS: Final = "geoseg.engine.tasks"
_LARGEST_CATALOG: Final = 1 << 22
"""Bytes of a catalog that is read twice, at most."""


def start_template(loaded: LoadedWorkflow) -> Template | None:
    """Start what worker processes are forked from, if a run will most likely have some; it imports meanwhile.

    Whether it has is decided when its scenes are planned. A wrong guess costs a second of a core, or of time.
    """
    return Template(_TASKS) if _has_processes(loaded.workflow.compute, loaded.catalog) else None


def _has_processes(compute: Compute, catalog: Path) -> bool:
    if compute.scheduler is not None or compute.executor in ("serial", "threads"):
        return False
    if compute.workers != "auto":
        return compute.workers > 1
    return compute.executor == "processes" or _pixels(catalog) > SMALL_RUN


def _pixels(catalog: Path) -> int:
    """Pixels of a catalog's scenes as its items state them; 0 where they do not, or it is no such file."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        if catalog.stat().st_size <= _LARGEST_CATALOG:
            items = json.loads(catalog.read_text(encoding="utf-8"))["features"]
            shapes = [item["properties"]["proj:shape"] for item in items]
            return sum(int(height) * int(width) for height, width in shapes)
    return 0
