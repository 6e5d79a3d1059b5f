"""Polygons of a vector layer, in the pixels of a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from pyproj.exceptions import ProjError
from rasterio.features import rasterize

from geoseg.arrays import Array, Bool, Float64, Objects, UInt8
from geoseg.errors import LabelError
from geoseg.grid.crs import transformer
from geoseg.grid.encoding import IGNORE
from geoseg.grid.geobox import GeoBox
from geoseg.grid.pixel_map import applied, rounded
from geoseg.grid.polygons import repaired
from geoseg.grid.window import Window
from geoseg.io.crs import datum_gap
from geoseg.io.labels.vector_file import Bounds, Layer
from geoseg.io.vector.writer import overview_layer
from geoseg.words import listed

__all__ = [
    "AREA_LAYER",
    "PixelPolygons",
    "candidate_layers",
    "lies_elsewhere",
    "near_another",
    "rectangle",
    "vector_polygons",
]

AREA_LAYER = "labelled_area"
"""Name of the layer, in the file of the labels, with the area where they are complete."""

Number = TypeVar("Number", np.uint8, np.int32)

_POLYGONAL = {shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON}


@dataclass(frozen=True, eq=False, slots=True)
class PixelPolygons:
    """Polygons and the values they burn, in the file's order; later ones lie on top."""

    shapes: Objects
    """shape (N,), Polygon or MultiPolygon in (column, row) of the grid."""
    values: UInt8
    """shape (N,), what each burns."""
    repaired: int = 0
    """How many were invalid and had to be repaired."""

    def burn(self, window: Window) -> UInt8:
        """Values where a pixel's center is inside a polygon, 0 elsewhere; uint8 (height, width).

        The same pixels come out whatever window they are in.
        """
        return self._burn(window, self.values)

    def burn_borders(self, window: Window, distance: float) -> Bool:
        """Where polygons of value 1 have another one within so many pixels; bool (height, width)."""
        margin = math.ceil(distance)
        numbers = np.where(self.values == 1, np.arange(1, len(self.values) + 1), 0).astype(np.int32)
        around = window.pad(margin)
        near = near_another(self._burn(around, numbers), distance)
        return near[window.relative_to(around).slices]

    def _burn(self, window: Window, values: NDArray[Number]) -> NDArray[Number]:
        image = np.zeros(window.shape, values.dtype)
        bounds = shapely.bounds(self.shapes)
        touching = (
            (bounds[:, 0] <= window.col_stop)
            & (bounds[:, 2] >= window.col)
            & (bounds[:, 1] <= window.row_stop)
            & (bounds[:, 3] >= window.row)
        )
        if touching.any():
            origin = np.array((window.col, window.row), np.float64)
            shapes = shapely.transform(self.shapes[touching], lambda xy: xy - origin)
            # A rewritten identity: rasterio takes Affine.identity() for a missing transform and warns.
            rasterize(
                zip(shapes, values[touching].tolist(), strict=True),
                out=image,
                transform=Affine(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
            )
        return image


_NOTHING = PixelPolygons(np.array([], object), np.array([], np.uint8))


def candidate_layers(names: Sequence[str], *, skip_area: bool) -> list[str]:
    """The layers of a file that may be meant where none is named: no generalized copy beside its original.

    ``skip_area``: nor the layer with the area where labels are complete.
    """
    copies = {overview_layer(name) for name in names}
    return [name for name in names if name not in copies and not (skip_area and name == AREA_LAYER)]


def near_another(numbers: NDArray[np.integer], distance: float) -> Bool:
    """Which pixels of numbered objects (0: none) have a pixel of another one within a distance in pixels.

    The distance is between the centers of two pixels. Beyond the edges there is no object: give
    ``ceil(distance)`` more pixels on each side than are wanted. Shapes are (rows, columns).
    """
    found = np.zeros(numbers.shape, np.bool_)
    rows, columns = numbers.shape
    whole = math.floor(distance)
    for down in range(min(whole, rows - 1) + 1):
        for right in range(-min(whole, columns - 1), min(whole, columns - 1) + 1):
            if (down, right) <= (0, 0) or math.hypot(down, right) > distance:
                continue  # each pair of pixels is looked at once
            first = slice(0, rows - down), slice(max(0, -right), columns - max(0, right))
            second = slice(down, rows), slice(max(0, right), columns + min(0, right))
            one, other = numbers[first], numbers[second]
            apart = (one != other) & (one > 0) & (other > 0)
            found[first] |= apart
            found[second] |= apart
    return found


def rectangle(corners: tuple[tuple[float, float], ...], grid: GeoBox) -> PixelPolygons:
    """One polygon of value 1 through ground positions in the grid's CRS."""
    shape = _to_lattice(np.array([shapely.Polygon(corners)], object), grid, None)
    return PixelPolygons(shape, np.ones(1, np.uint8))


def vector_polygons(
    layer: Layer, grid: GeoBox, attribute: str | None, names: tuple[tuple[str, int], ...] = ()
) -> PixelPolygons:
    """The polygons of a layer that may touch the grid, repaired where invalid, in the grid's pixels.

    Vertices are taken from the layer's CRS to the grid's (x before y, whatever the authority's order) and
    rounded to 1/65536 px; edges stay straight between them, as in QGIS. Invalid polygons are repaired by
    GEOS' "structure" method: overlapping parts are merged, holes outside their shell are dropped.

    Args:
        attribute: holds the values as whole numbers; None: every polygon has the value 1.
        names: the attribute's values as text, and what each burns; empty: the values are whole numbers.

    Raises:
        LabelError: unreadable features, no such attribute, no CRS, no polygons, values that are no ids.
    """
    where = layer.where
    if not layer.count:  # it may lack CRS and attributes: an empty GeoJSON does
        return _NOTHING
    if attribute is not None and attribute not in layer.fields:
        raise LabelError(f"{where}: has no attribute {attribute!r}; it has {listed(layer.fields) or 'none'}")
    to_grid = _to_grid(layer, grid)
    shapes, given = layer.read(attribute, _search_bounds(grid, to_grid))
    if len(shapes) == 0:
        return _NOTHING
    values = (
        np.ones(len(shapes), np.uint8) if given is None else _ids(given, f"{where}, {attribute}", dict(names))
    )
    present = ~shapely.is_missing(shapes) & ~shapely.is_empty(shapes)
    shapes, values = shapes[present], values[present]
    kinds = set(shapely.get_type_id(shapes).tolist()) - _POLYGONAL
    if kinds:
        found = ", ".join(sorted(shapely.GeometryType(kind).name.lower() for kind in kinds))
        raise LabelError(f"{where}: holds {found}, needed polygons")
    valid = shapely.is_valid(shapes)
    shapes[~valid] = repaired(shapes[~valid])
    try:
        shapes = _to_lattice(shapes, grid, to_grid)
    except ProjError as error:
        raise LabelError(f"{where}: coordinates that have no place in {grid.crs[:60]} ({error})") from error
    bounds = shapely.bounds(shapes)  # of a collapsed polygon: NaN, which touches nothing
    finite = np.isfinite(bounds).all(axis=1) | shapely.is_empty(shapes)
    if not finite.all():
        raise LabelError(
            f"{where}: {(~finite).sum()} polygons reach where {grid.crs[:60]} has no coordinates; clip them"
        )
    inside = (
        (bounds[:, 0] < grid.width) & (bounds[:, 2] > 0) & (bounds[:, 1] < grid.height) & (bounds[:, 3] > 0)
    )
    seen = inside | (~valid & shapely.is_empty(shapes))
    return PixelPolygons(shapes[inside], values[inside], repaired=int((~valid & seen).sum()))


def lies_elsewhere(layer: Layer, grid: GeoBox) -> bool:
    """Whether a layer has features, and the bounds of them all share no ground with a grid.

    A layer without features, or one around the grid, says that nothing is there; one that lies elsewhere is a
    mistake, such as a wrong CRS.
    """
    if layer.bounds is None:
        return bool(layer.count)
    to_grid = _to_grid(layer, grid)
    near = _search_bounds(grid, to_grid)
    if near is not None:
        return not _meet(layer.bounds, near)
    moved = to_grid.transform_bounds(*layer.bounds)
    return not np.isfinite(moved).all() or not _meet(moved, grid.bounds)


def _meet(one: Bounds, other: Bounds) -> bool:
    return one[0] <= other[2] and one[2] >= other[0] and one[1] <= other[3] and one[3] >= other[1]


def _to_grid(layer: Layer, grid: GeoBox) -> Transformer:
    if not layer.crs:
        raise LabelError(f"{layer.where}: has no CRS; assign the one its coordinates are in")
    try:
        gap = datum_gap(layer.crs, grid)
        if gap is not None:
            raise LabelError(
                f"{layer.where}: {gap} with ogr2ogr -a_srs EPSG:n, or gdal_edit.py for the scene"
            )
        return transformer(layer.crs, grid.crs)
    except ProjError as error:
        raise LabelError(f"{layer.where}: its CRS cannot be read ({error})") from error


def _search_bounds(grid: GeoBox, to_grid: Transformer) -> Bounds | None:
    """Bounds, in the layer's CRS, of all that may touch the grid; None where a box cannot tell."""
    bounds = to_grid.transform_bounds(*grid.bounds, direction="INVERSE")
    min_x, min_y, max_x, max_y = (float(value) for value in bounds)
    # Across the antimeridian min_x > max_x; outside the projection's domain infinity.
    if not np.isfinite(bounds).all() or min_x > max_x or min_y > max_y:
        return None
    pad_x, pad_y = 0.01 * (max_x - min_x), 0.01 * (max_y - min_y)  # bounds of a curved outline are estimates
    return min_x - pad_x, min_y - pad_y, max_x + pad_x, max_y + pad_y


def _to_lattice(shapes: Objects, grid: GeoBox, to_grid: Transformer | None) -> Objects:
    """Shapes in (column, row) of the grid, vertices on the lattice; ``to_grid`` None: already in its CRS."""

    def place(xy: Float64) -> Float64:
        x, y = xy.T if to_grid is None else to_grid.transform(xy[:, 0], xy[:, 1], errcheck=True)
        return rounded(np.column_stack(applied(~grid.transform, x, y)))

    return np.asarray(shapely.transform(shapes, place), object)


def _ids(values: Array, where: str, names: dict[str, int]) -> UInt8:
    """Attribute values as class ids 0..254, or what names make of them."""
    if names:
        texts = [f"{v:g}" if isinstance(v, int | float | np.number) else str(v) for v in values.tolist()]
        strange = sorted(set(texts) - set(names))
        if strange:
            raise LabelError(
                f"{where}: holds the value{'s' * (len(strange) > 1)} {', '.join(map(repr, strange[:5]))}, "
                f"known are {', '.join(map(repr, names))}; name their classes too (null: not labeled)"
            )
        return np.array([names[text] for text in texts], np.uint8)
    if values.dtype.kind not in "iufb":
        raise LabelError(
            f"{where}: holds values such as {values[0]!r:.40}, needed class ids; a training maps "
            "words by data.classes, such as {house: building}"
        )
    numbers = values.astype(np.float64)
    wrong = ~((numbers >= 0) & (numbers < IGNORE) & (numbers == np.floor(numbers)))
    if wrong.any():
        raise LabelError(
            f"{where}: {wrong.sum()} values such as {values[wrong][0]} are no class ids (0 to 254)"
        )
    return numbers.astype(np.uint8)
