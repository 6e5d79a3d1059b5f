"""geoseg: maps from satellite and aerial scenes.

From Python, as from the command line::

    summary = geoseg.run("workflows/austin_buildings.yaml")   # every scene of a workflow
    dataset = geoseg.predict(array, "buildings-mininet2")      # one xarray grid, lazily if it is lazy

How the packages fit together is drawn in CONTRIBUTING.md. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geoseg._version import __version__

if TYPE_CHECKING:
    from geoseg.flow.predict.predict import predict
    from geoseg.flow.run.run import run

__all__ = ["__version__", "predict", "run"]

_HOMES = {"predict": "geoseg.flow.predict.predict", "run": "geoseg.flow.run.run"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'geoseg' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - importing geoseg stays light

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
