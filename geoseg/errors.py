"""Errors a user can act on.

Every error says what came, what was needed and what to do, and names the scene, file, key or line::

    GeosegError
    ├── ConfigError     a workflow file or a --set value
    ├── CatalogError    a STAC catalog
    ├── SceneError      a scene that cannot be read or breaks the model's contract
    ├── BundleError     a model bundle
    ├── GridError       windows, halos and blocks that do not fit together
    ├── LabelError      labels to score or train with
    ├── OutputError     a file that cannot be written or verified
    └── RunError        the run itself: executor, workers, interrupted

The command line prints one line and exits with 2; a traceback appears only with ``--debug``.
"""

from __future__ import annotations

__all__ = [
    "BundleError",
    "CatalogError",
    "ConfigError",
    "GeosegError",
    "GridError",
    "LabelError",
    "OutputError",
    "RunError",
    "SceneError",
]


class GeosegError(Exception):
    """Base of every error that geoseg raises on purpose; its text is one finished sentence."""


class ConfigError(GeosegError):
    """A workflow file, or a value given by ``--set``, is not what geoseg reads."""


class CatalogError(GeosegError):
    """A STAC catalog cannot be read, or lacks what a scene needs."""


class SceneError(GeosegError):
    """A scene cannot be read, or breaks the model's contract."""


class BundleError(GeosegError):
    """A model bundle is incomplete, altered or of another architecture."""


class GridError(GeosegError):
    """Windows, halos, strides and blocks that do not fit together."""


class LabelError(GeosegError):
    """Reference labels cannot be read or do not overlap the scene."""


class OutputError(GeosegError):
    """An output file could not be written, verified or put in place."""


class RunError(GeosegError):
    """The run could not go on: executor, workers, or another run in the same folder."""
