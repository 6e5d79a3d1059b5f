"""Reference labels on a grid: what to train with and what to score against.

A :class:`~geoseg.config.stac.refs.LabelRef` names polygons (:mod:`~geoseg.io.labels.vector_file`) or a raster
(GeoTIFF, PNG) and, where only a part is labeled, the area. Both come out as class ids per pixel::

    inside the area    vector: the class of the last polygon over the pixel's center, else 0
                       raster: the class of the raster's pixel under the center
    elsewhere          255, not labeled

and, where the reference asks for it, what of one building lies near another one is a class of its own.

A pixel's label never depends on the window that was asked for.
"""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from geoseg.arrays import UInt8
from geoseg.config.stac.refs import LabelRef
from geoseg.errors import LabelError
from geoseg.grid.encoding import IGNORE
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import ground_resolution
from geoseg.grid.pixel_map import may_overlap
from geoseg.grid.window import Window
from geoseg.io.labels.layers import (
    AREA_LAYER,
    PixelPolygons,
    candidate_layers,
    lies_elsewhere,
    rectangle,
    vector_polygons,
)
from geoseg.io.labels.rasters import LabelRaster, lies_on_scene
from geoseg.io.labels.vector_file import VECTOR_FORMATS, Layer, is_vector, layer_names, open_layer
from geoseg.io.raster.gdal import PNG_SIGNATURE, TIFF_SIGNATURES

__all__ = ["BORDER", "LabelReader", "area_layer", "counts_scene_pixels", "label_kind", "label_layer"]

BORDER = 2
"""Label of the pixels of one class of objects that lie near another object."""
_SLACK = 1.02
"""A projection's meters are some per mille off the ground's: two pixels of 0.3 m shall lie within 0.6 m."""


def label_kind(path: Path) -> Literal["raster", "vector"]:
    """What a reference is, by its first bytes rather than its name; LabelError where it is neither."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise LabelError(f"labels {path}: cannot be opened ({error.strerror})") from error
    if head.startswith((*TIFF_SIGNATURES, PNG_SIGNATURE)):
        return "raster"
    if is_vector(head):
        return "vector"
    raise LabelError(
        f"labels {path}: neither a raster (GeoTIFF, PNG) nor polygons ({VECTOR_FORMATS}); convert them to "
        "one of these"
    )


def counts_scene_pixels(label: LabelRef) -> bool:
    """Whether a reference is placed in the scene's own pixels, so that the scene must be known."""
    path = Path(label.href)
    return label.area_window is not None or (label_kind(path) == "raster" and lies_on_scene(path))


class _File:
    """A file of labels or of their area, whose kind and layers are looked at once, when they are needed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def kind(self) -> Literal["raster", "vector"]:
        return label_kind(self.path)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        return layer_names(self.path)

    def layer(self, name: str | None, *, skip_area: bool) -> Layer:
        """The layer that is meant: the one named, or the only one."""
        if name is not None:
            if name not in self.layers:
                raise LabelError(f"labels {self.path}: no layer {name!r}; it has {', '.join(self.layers)}")
            return open_layer(self.path, name)
        candidates = candidate_layers(self.layers, skip_area=skip_area)
        if len(candidates) != 1:
            raise LabelError(
                f"labels {self.path}: {len(candidates)} layers ({', '.join(candidates)}); name the one to "
                "use: geoseg:layer in the catalog, or --layer beside --reference"
            )
        return open_layer(self.path, candidates[0])


def label_layer(path: Path, name: str | None = None) -> Layer:
    """A layer of a vector file: the one named, or the only one that holds labels; a LabelError else."""
    return _File(path).layer(name, skip_area=True)


class LabelReader:
    """Labels of a grid, window by window; opens files on reading and keeps none open.

    Args:
        label: the reference.
        grid: the pixels that windows are counted in, in any CRS and resolution.
        scene_grid: the scene's own pixels. Needed where the reference counts in them: an ``area_window``,
            or a raster without georeferencing. Where given, the reference must overlap the scene; else
            the grid.

    Raises:
        LabelError: unreadable or ambiguous reference, no overlap. Values of a raster are looked at
            when they are read.
    """

    def __init__(self, label: LabelRef, grid: GeoBox, scene_grid: GeoBox | None = None) -> None:
        self.grid = grid
        path = Path(label.href)
        file = _File(path)
        self._areas = _areas(label, file, grid, scene_grid)
        self._path = path
        pixel = ground_resolution(grid).mean if label.border else math.inf
        self._border_px = _SLACK * label.border / pixel
        if 0 < self._border_px < 1:
            raise LabelError(
                f"labels {path}: a border of {label.border:g} m is narrower than the pixels of {pixel:.3g} m "
                "that they are burned into; give a wider one, or leave out scenes as coarse as this"
            )
        self._labels: LabelRaster | PixelPolygons
        if file.kind == "raster":
            self._labels = LabelRaster.open(path, label.classes, scene_grid or grid)
            self.features = 0
            overlap = may_overlap(self._labels.grid, scene_grid or grid)
        else:
            layer = file.layer(label.layer, skip_area=True)
            self._labels = vector_polygons(layer, grid, label.attribute, label.names)
            self.features = len(self._labels.shapes)
            # No polygon on the scene is the truth: by an area, in an empty layer, or inside a town's.
            overlap = bool(self._areas) or self.features > 0 or not lies_elsewhere(layer, scene_grid or grid)
        if not overlap:
            raise LabelError(f"labels {path}: do not overlap the scene; check the file and its CRS")
        self.repaired = sum(area.repaired for area in self._areas) + getattr(self._labels, "repaired", 0)

    @property
    def polygons(self) -> PixelPolygons | None:
        """The label polygons that touch the grid, in its pixels, not cut by the area; None: a raster."""
        return self._labels if isinstance(self._labels, PixelPolygons) else None

    def read(self, window: Window) -> UInt8:
        """Class ids of a window, uint8 (height, width); 255: not labeled, or past the grid's edges."""
        labels = np.full(window.shape, IGNORE, np.uint8)
        inside = window.intersect(self.grid.window)
        if inside is None:
            return labels
        if isinstance(self._labels, PixelPolygons):
            classes = self._labels.burn(inside)
            if self._border_px:
                if (classes == BORDER).any():
                    raise LabelError(
                        f"labels {self._path}: hold the class {BORDER} beside 1, and a border parts objects "
                        "of one class alone; map it by data.classes, or leave the border out"
                    )
                classes[self._labels.burn_borders(inside, self._border_px)] = BORDER
        else:
            classes = self._labels.read(self.grid, inside)
        for area in self._areas:
            classes[area.burn(inside) == 0] = IGNORE
        labels[inside.relative_to(window).slices] = classes
        return labels


def area_layer(label: LabelRef) -> Layer | None:
    """The layer of a label's labeled area; None: it has none, or a window alone.

    Raises:
        LabelError: no such file or layer, or a raster.
    """
    return _area_layer(label, _File(Path(label.href)))


def _area_layer(label: LabelRef, labels: _File) -> Layer | None:
    file = _File(Path(label.area_href)) if label.area_href else labels
    named = label.area_href is not None or label.area_layer is not None
    if not named and not (file.kind == "vector" and AREA_LAYER in file.layers):
        return None
    if file.kind == "raster":
        raise LabelError(f"labeled area {file.path}: a raster, needed polygons")
    return file.layer(
        label.area_layer or (AREA_LAYER if AREA_LAYER in file.layers else None), skip_area=False
    )


def _areas(
    label: LabelRef, labels: _File, grid: GeoBox, scene_grid: GeoBox | None
) -> tuple[PixelPolygons, ...]:
    """Where labels count: inside all of these (polygons of the area file or layer, the area window)."""
    areas = []
    found = _area_layer(label, labels)
    if found is not None:
        area = vector_polygons(found, grid, None)
        if not len(area.shapes) and not _touches(found, scene_grid):
            path = label.area_href or label.href
            raise LabelError(f"labeled area {path}, layer {found.name}: does not overlap the scene")
        areas.append(area)
    if label.area_window is not None:
        if scene_grid is None:
            raise LabelError(
                f"labels {label.href}: an area window counts the scene's own pixels, needed the scene"
            )
        row, col, height, width = label.area_window
        if height < 1 or width < 1:
            raise LabelError(f"labels {label.href}: an area window of {height}×{width} pixels is empty")
        window = Window(row, col, height, width)
        if window.intersect(scene_grid.window) is None:
            raise LabelError(f"labels {label.href}: the area window {label.area_window} is outside the scene")
        areas.append(rectangle(scene_grid[window].corners, grid))
    return tuple(areas)


def _touches(layer: Layer, scene_grid: GeoBox | None) -> bool:
    """Whether a layer has polygons over the scene, asked where a part of it had none."""
    return scene_grid is not None and bool(len(vector_polygons(layer, scene_grid, None).shapes))
