"""Where a scene is labeled, on a grid: what of it has to be read, and what must not be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from geoseg.errors import LabelError
from geoseg.grid.encoding import IGNORE
from geoseg.grid.resample import Resampler
from geoseg.grid.window import Window
from geoseg.io.labels.reader import LabelReader
from geoseg.train.data.scenes import squares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoseg.config.stac.refs import LabelRef
    from geoseg.grid.geobox import GeoBox
    from geoseg.io.raster.scene import Scene

__all__ = ["Extent", "find_extent", "label_reader", "label_window"]

_SURROUNDINGS = 64
"""Pixels kept around the labeled area."""


class Extent(NamedTuple):
    """The labeled part of a grid."""

    window: Window
    """The labeled area and its surroundings."""
    parts: tuple[Window, ...]
    """Squares of the grid, cut to that, that hold a label."""
    repaired: int
    """Polygons that were invalid and had to be repaired."""


def find_extent(scene: Scene, label: LabelRef, grid: GeoBox, limit: Window | None) -> Extent:
    """Read the labels of a grid once, square by square; no pixel is read.

    Args:
        scene: The scene.
        label: Its labels.
        grid: The pixels to be read.
        limit: Nothing that is made of pixels outside this window of the scene's own is part of the extent.

    Raises:
        LabelError: labels that cannot be read or do not overlap, nothing is labeled, a limit outside.
    """
    allowed = grid.window if limit is None else _within(scene, grid, limit)
    labels = label_reader(scene, label, grid)
    boxes: list[Window] = []
    parts: list[Window] = []
    for _, part in squares(allowed):
        box = _box(label_window(scene.ref.id, labels, part) != IGNORE)
        if box is not None:
            boxes.append(box.shift(part.row, part.col))
            parts.append(part)
    if not boxes:
        raise LabelError(
            f"scene {scene.ref.id}: nothing of it is labeled by {label.href}; check the labeled area"
        )
    row, col = min(b.row for b in boxes), min(b.col for b in boxes)
    area = Window(row, col, max(b.row_stop for b in boxes) - row, max(b.col_stop for b in boxes) - col)
    window = area.pad(_SURROUNDINGS).intersect(allowed)
    assert window is not None
    cut = tuple(common for part in parts if (common := part.intersect(window)) is not None)
    return Extent(window, cut, labels.repaired)


def label_reader(scene: Scene, label: LabelRef, grid: GeoBox) -> LabelReader:
    """A reader of a scene's labels on a grid.

    Raises:
        LabelError: names the scene and the file.
    """
    try:
        return LabelReader(label, grid, scene.geobox)
    except LabelError as error:
        raise LabelError(f"scene {scene.ref.id}: {error}") from error


def label_window(name: str, reader: LabelReader, window: Window) -> NDArray[np.uint8]:
    """Labels of a window.

    Raises:
        LabelError: names the scene and the file.
    """
    try:
        return reader.read(window)
    except LabelError as error:
        raise LabelError(f"scene {name}: {error}") from error


def _within(scene: Scene, grid: GeoBox, given: Window) -> Window:
    """Pixels of a grid that are made of nothing outside a window of the scene's own."""
    limit = given.intersect(scene.geobox.window)
    if limit is None:
        height, width = scene.geobox.shape
        raise LabelError(f"scene {scene.ref.id}: the window {given} lies outside its {height}×{width} pixels")
    between = Resampler.between(scene.geobox, grid)
    spans = []
    for axis, first, stop in (
        (between.rows, limit.row, limit.row_stop),
        (between.cols, limit.col, limit.col_stop),
    ):
        index = axis.taps(0, axis.target).index
        inside = np.flatnonzero((index >= first).all(1) & (index < stop).all(1))
        if not inside.size:
            raise LabelError(
                f"scene {scene.ref.id}: the window {given} is smaller than a pixel of the training"
            )
        spans.append((int(inside[0]), int(inside[-1]) + 1))
    (top, bottom), (left, right) = spans
    return Window(top, left, bottom - top, right - left)


def _box(mask: NDArray[np.bool_]) -> Window | None:
    """The smallest window that holds all that is set; None where nothing is."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    row, col = int(rows[0]), int(cols[0])
    return Window(row, col, int(rows[-1]) + 1 - row, int(cols[-1]) + 1 - col)
