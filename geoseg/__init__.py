"""geoseg: maps from satellite and aerial scenes.

From Python, as from the command line::

    run = geoseg.run("workflows/austin_buildings.yaml")         # every scene of a workflow
    run["austin_synthetic"].polygons                            # a GeoDataFrame in the scene's CRS
    dataset = geoseg.predict(array, "buildings-liteunet")       # one xarray grid, lazily if it is lazy
    polygons = geoseg.vectorize(dataset, min_area=8)            # a GeoDataFrame, min_area in m²

====================  =====================================================================================
``run``               map every scene of a workflow; a :class:`Run` holds its scenes' polygons and grids
``predict``           classes and probabilities of an array, as a dataset on the same grid
``vectorize``         polygons of a dataset, an array or a raster, as a GeoDataFrame
``evaluate``          score the maps of a workflow against reference labels
``train``             train a network by a training file
``catalog``           make a STAC catalog from a folder of GeoTIFFs
``load_model``        a model by name or path, with its contract
``Workflow``          a workflow made in Python; ``run`` and ``evaluate`` take it where they take a file
``Run``, ``SceneMap`` what ``run`` returns
``errors``            the errors that a caller can act on, all of them ``errors.GeosegError``
====================  =====================================================================================

``docs/architecture.md`` shows how the packages fit together. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geoseg import errors
from geoseg._version import __version__

if TYPE_CHECKING:
    from geoseg.api.functions import evaluate, train
    from geoseg.api.run import Run, SceneMap, run
    from geoseg.api.vectorize import vectorize
    from geoseg.config.workflow import Workflow
    from geoseg.flow.predict import predict
    from geoseg.io.stac.folder import make_catalog as catalog
    from geoseg.models.bundle import load_bundle as load_model

__all__ = [
    "Run",
    "SceneMap",
    "Workflow",
    "__version__",
    "catalog",
    "errors",
    "evaluate",
    "load_model",
    "predict",
    "run",
    "train",
    "vectorize",
]

_HOMES = {
    "Run": "geoseg.api.run",
    "SceneMap": "geoseg.api.run",
    "Workflow": "geoseg.config.workflow",
    "catalog": "geoseg.io.stac.folder",
    "evaluate": "geoseg.api.functions",
    "load_model": "geoseg.models.bundle",
    "predict": "geoseg.flow.predict",
    "run": "geoseg.api.run",
    "train": "geoseg.api.functions",
    "vectorize": "geoseg.api.vectorize",
}
_NAMES_THERE = {"catalog": "make_catalog", "load_model": "load_bundle"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'geoseg' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - importing geoseg stays light

    return getattr(import_module(_HOMES[name]), _NAMES_THERE.get(name, name))


def __dir__() -> list[str]:
    return sorted(__all__)
