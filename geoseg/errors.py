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

What a user should know of a scene that is mapped all the same is a warning: one sentence in the run's outcome
and in the map's ``item.json``, and a :class:`SceneWarning` where an array was given.

Code that works on one scene gives the reason alone; code that works through scenes wraps the work on each in
:func:`of_scene`, which puts ``scene X:`` before it, once.

The command line prints one line and exits with 2; a traceback appears only with ``--debug``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
    "SceneWarning",
    "of_scene",
    "without_scene",
]


class GeosegError(Exception):
    """Base of every error that geoseg raises on purpose; its text is one finished sentence.

    Args:
        reason: what came, what was needed and what to do.
        scene: id of the scene that it is about, which its text then begins with; None: of none, or
            :func:`of_scene` will say.
    """

    def __init__(self, reason: str = "", *, scene: str | None = None) -> None:
        super().__init__(reason)
        self.scene = scene

    def __str__(self) -> str:
        reason = super().__str__()
        return reason if self.scene is None else f"scene {self.scene}: {reason}"


class ConfigError(GeosegError):
    """A workflow file, or a value given by ``--set``, is not what geoseg reads."""


class CatalogError(GeosegError):
    """A STAC catalog cannot be read, or lacks what a scene needs."""


class SceneError(GeosegError):
    """A scene cannot be read, or breaks the model's contract."""


class SceneWarning(UserWarning):
    """An array may not be what its user takes it for; it is predicted all the same."""


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


@contextmanager
def of_scene(scene: str) -> Iterator[None]:
    """Put ``scene X:`` before errors about a scene that leave the block, once: the innermost scene counts.

    >>> with of_scene("a"), of_scene("b"):
    ...     raise SceneError("4 bands, needed 3")
    Traceback (most recent call last):
    ...
    geoseg.errors.SceneError: scene b: 4 bands, needed 3
    """
    try:
        yield
    except RunError:
        raise  # of no scene
    except GeosegError as error:
        if error.scene is None:
            error.scene = scene
        raise


def without_scene(message: str, scene: str) -> str:
    """An error's message beside the id of its scene, which it need not name again.

    >>> without_scene("scene north: has no band 'nir'", "north")
    "has no band 'nir'"
    """
    return message.removeprefix(f"scene {scene}: ")
