"""The demonstration that comes with geoseg: workflows, catalogs and a scene with its truth."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

__all__ = ["shared_workflow"]


def shared_workflow(name: str) -> Path:
    """A workflow of the repository's folder ``workflows``, which installed packages carry.

    >>> shared_workflow("landcover").name
    'landcover.yaml'
    """
    return Path(str(files("geoseg"))) / "share" / "workflows" / f"{name}.yaml"
