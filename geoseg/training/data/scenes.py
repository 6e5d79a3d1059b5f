"""Labeled scenes: what chips and validation windows are cut from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from geoseg.grid.encoding import IGNORE
from geoseg.grid.window import Window
from geoseg.training.data.holdout import Split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.arrays import Array, Bool, UInt8

__all__ = ["TILE", "LabeledScene", "Patch", "squares", "training_labels", "validation_labels"]

TILE = 256
"""Side of the squares that scenes are read in, in pixels of their grid."""


class Patch(NamedTuple):
    """What a window of a labeled scene holds."""

    pixels: Array  # (C, H, W) in stored units, in the scene's type
    valid: Bool  # (H, W): where the pixels are data
    labels: UInt8  # (H, W): class ids; 255 where nothing is labeled or the pixels are no data


class LabeledScene(Protocol):
    """A scene with labels, on a grid of square pixels, that chips and validation windows are cut from.

    Such as :class:`~geoseg.training.data.file_scene.FileScene`.
    """

    @property
    def name(self) -> str:
        """Its name in logs and figures."""

    @property
    def identity(self) -> str:
        """Text that stays the same while pixels and labels do."""

    @property
    def group(self) -> str:
        """The place it is scored with."""

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the first pixel, counted as the split's blocks are."""

    @property
    def bands(self) -> int:
        """Number of bands."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""

    @property
    def resolution(self) -> float:
        """Meters on the ground per pixel."""

    @property
    def weight(self) -> float:
        """Chips come from the scenes in proportion to this."""

    @property
    def split(self) -> Split:
        """Which blocks validate."""

    @property
    def chooses(self) -> bool:
        """Whether the score on its held-out blocks takes part in choosing the weights."""

    def patch(self, window: Window) -> Patch:
        """What a window inside the scene holds; the same values in whatever window they are read."""

    def tiles(self) -> Sequence[Window]:
        """Windows that together hold every labeled pixel once, for passes over the whole scene."""

    def at(self, resolution: float) -> LabeledScene:
        """The same ground and labels on the grid that a network of this resolution sees."""


def training_labels(scene: LabeledScene, window: Window, labels: UInt8) -> UInt8:
    """Labels (H, W) of a window with held-out blocks and their margins at 255."""
    return _masked(scene, window, labels, scene.split.margin, held=False)


def validation_labels(scene: LabeledScene, window: Window, labels: UInt8) -> UInt8:
    """Labels (H, W) of a window with all but the held-out blocks at 255."""
    return _masked(scene, window, labels, 0.0, held=True)


def _masked(scene: LabeledScene, window: Window, labels: UInt8, grow: float, *, held: bool) -> UInt8:
    origin = (scene.origin[0] + window.row, scene.origin[1] + window.col)
    mask = scene.split.held_out(window.shape, scene.resolution, grow=grow, origin=origin)
    return np.where(mask == held, labels, np.uint8(IGNORE))


def squares(window: Window, side: int = TILE) -> list[tuple[Window, Window]]:
    """The squares of a lattice from pixel (0, 0) that touch a window, and what each has in common with it.

    >>> squares(Window(3, 0, 4, 5), 5)[0]
    (Window(row=0, col=0, height=5, width=5), Window(row=3, col=0, height=2, width=5))
    """
    found = []
    for row in range(window.row // side * side, window.row_stop, side):
        for col in range(window.col // side * side, window.col_stop, side):
            square = Window(row, col, side, side)
            common = square.intersect(window)
            assert common is not None
            found.append((square, common))
    return found
