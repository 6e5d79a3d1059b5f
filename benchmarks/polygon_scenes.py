"""What the polygon benchmark looks at: stored probabilities whose true polygons are known.

Coordinates are those of ``geoseg.polygons``: pixels, x the column, y the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray
from pyogrio import list_layers
from scipy import ndimage
from synthetic.rooftops import RESOLUTION, make_rooftops

from geoseg.arrays import Bool, Float32, Objects, UInt8
from geoseg.grid.encoding import SCALE
from geoseg.io.labels.layers import near_another
from geoseg.score.objects.shapes import right_angles

__all__ = [
    "PLACES",
    "Buildings",
    "Row",
    "make_places",
    "make_rows",
    "make_town",
]

PLACES = {
    "Banepa": ("banepa/banepa_labels.gpkg", "buildings"),
    "Massachusetts": ("massachusetts/22978945_15.gpkg", None),
    "Zanzibar": ("zanzibar_a/zanzibar_a_labels.gpkg", "buildings"),
    "Kampala": ("kampala_a/kampala_a_labels.gpkg", "buildings"),
    "Atlanta": ("atlanta_spacenet/atlanta_buildings.geojson", None),
}
"""Real footprints under ``$GEOSEG_DATA/buildings``: file and layer."""


_PLAIN = ("rectangle", "L", "T", "U", "Z", "courtyard")
_REACH = 6.0  # px, as the generated town's
_BLUR, _NOISE, _NOISE_LENGTH, _STEEPNESS = 1.2, 0.6, 2.5, 1.5
_BORDER, _BORDER_BLUR, _BORDER_NOISE = 2, 1.0, 0.08  # px, px, probability
_MARGIN = 16  # px around the outermost footprints
_SMALLEST = 8.0  # m²: what every method leaves out
_SQUARE = 1.0  # degrees that a surveyed right angle may be off
_TURN = 17  # degrees between the rows of buildings and the pixels


@dataclass(frozen=True, slots=True, eq=False)
class Buildings:
    """A scene of single buildings."""

    name: str
    """What the tables call it."""
    stored: UInt8
    """Stored probability, 0 to 200, shape (rows, columns)."""
    truth: Objects
    """True outlines, shapely Polygons in pixels."""
    rectilinear: Bool
    """Which true outlines have right angles only."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Buildings in rows, some side by side."""

    gap: int
    """Pixels between those side by side."""
    stored: UInt8
    """Stored probability, shape (rows, columns)."""
    border: UInt8
    """Stored probability of the border with another building, as a network sees it that knows borders: true
    within 2 px of one, blurred, with noise; same shape."""
    labels: NDArray[np.int32]
    """Building of each pixel from 1, 0 elsewhere."""


def make_town(side: int, noise: str, seed: int = 0) -> Buildings:
    """The generated town of ``side`` × ``side`` buildings."""
    town = make_rooftops(side, noise, seed=seed)
    stored = np.rint(SCALE * town.probability).astype(np.uint8)
    return Buildings(noise, stored, town.truth, np.isin(town.kinds, _PLAIN))


def make_places(data: Path, names: list[str], seed: int = 0) -> Iterator[Buildings]:
    """Real footprints under the field of the generated town, at 0.3 m, with the noise called mid.

    Footprints that touch are one outline to the field, as they are to a network that knows no walls between
    roofs; each is a truth of its own.
    """
    for number, name in enumerate(names):
        file, layer = PLACES[name]
        path = data / "buildings" / file
        frame = geopandas.read_file(path, layer=layer or list_layers(path)[0][0])
        frame = frame.to_crs(frame.estimate_utm_crs())
        footprints = shapely.get_parts(shapely.make_valid(frame.geometry.to_numpy(), method="structure"))
        footprints = footprints[shapely.area(footprints) >= _SMALLEST]
        left, _, _, top = shapely.total_bounds(footprints)
        origin = np.array([left / RESOLUTION - _MARGIN, -top / RESOLUTION - _MARGIN])
        scale = np.array([1, -1]) / RESOLUTION
        truth = shapely.transform(footprints, lambda xy, scale=scale, origin=origin: xy * scale - origin)
        truth = shapely.orient_polygons(shapely.remove_repeated_points(truth))
        distance = _signed_distance(shapely.get_parts(shapely.union_all(truth)))
        stored = _stored(distance, np.random.default_rng([seed, number]))
        yield Buildings(name, stored, truth, right_angles(truth, _SQUARE) == 1)


def _signed_distance(outlines: Objects) -> Float32:
    """Distance of pixel centers to disjoint outlines, px, positive inside, within ±6 px.

    Exact: rasterized footprints, however fine, would move every wall by the size of their pixels.
    """
    _, _, right, bottom = shapely.total_bounds(outlines)
    rows, columns = int(bottom) + _MARGIN, int(right) + _MARGIN
    squared = np.full((rows, columns), _REACH**2)
    inside = np.zeros((rows, columns), np.bool_)
    for outline in outlines:
        first_column, first_row = (max(int(v - _REACH), 0) for v in outline.bounds[:2])
        end_column, end_row = (int(v + _REACH) + 1 for v in outline.bounds[2:])
        window = slice(first_row, min(end_row, rows)), slice(first_column, min(end_column, columns))
        y, x = (axis + 0.5 for axis in np.ogrid[window])
        for ring in (outline.exterior, *outline.interiors):
            for (x0, y0), (x1, y1) in pairwise(np.asarray(ring.coords)):
                dx, dy = x1 - x0, y1 - y0
                along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
                away = (x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2
                np.minimum(squared[window], away, out=squared[window])
                if y0 != y1:  # a ray to the right crosses an odd number of edges from inside
                    inside[window] ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (dx / dy))
    return (np.where(inside, 1, -1) * np.sqrt(squared)).astype(np.float32)


def make_rows(gap: int, seed: int, side: int = 640) -> Row:
    """Rows of buildings: seven in ten stand ``gap`` px from their neighbor, the others far from it.

    A quarter are L-shaped; side by side without a gap they jut out differently.
    """
    draw = np.random.default_rng(seed)
    labels = np.zeros((side, side), np.int32)
    count, top = 0, 12
    while top < side - 60:
        deep, left = int(draw.integers(26, 50)), 12
        while left < side - 60:
            wide = int(draw.integers(22, 60))
            first = max(0, top + (int(draw.integers(-6, 7)) if gap == 0 else 0))
            end = first + deep + int(draw.integers(-4, 5))
            count += 1
            labels[first:end, left : left + wide] = count
            if draw.random() < 0.25:  # noqa: PLR2004 - a quarter
                labels[first : first + (end - first) // 2, left + wide // 2 : left + wide] = 0
            left += wide + (gap if draw.random() < 0.7 else 25)  # noqa: PLR2004 - seven in ten
        top += deep + 26
    labels = ndimage.rotate(labels, _TURN, order=0, reshape=False)
    inside = labels > 0
    # Edges lie half a pixel from the centers beside them.
    distance = np.where(
        inside, ndimage.distance_transform_edt(inside) - 0.5, 0.5 - ndimage.distance_transform_edt(~inside)
    )
    stored = _stored(np.clip(distance, -_REACH, _REACH), draw)
    border = ndimage.gaussian_filter(near_another(labels, _BORDER).astype(np.float32), _BORDER_BLUR)
    wave = ndimage.gaussian_filter(draw.standard_normal(border.shape), _NOISE_LENGTH)
    seen = np.clip(border + _BORDER_NOISE * wave / wave.std(), 0, 1)
    return Row(gap, stored, np.minimum(np.rint(SCALE * seen).astype(np.uint8), stored), labels)


def _stored(distance: NDArray[np.floating], draw: np.random.Generator) -> UInt8:
    """What a network's store holds: distances blurred, moved by a correlated noise, made probabilities."""
    wave = ndimage.gaussian_filter(draw.standard_normal(distance.shape).astype(np.float32), _NOISE_LENGTH)
    seen = ndimage.gaussian_filter(distance, _BLUR) + _NOISE * (wave / wave.std())
    return np.rint(SCALE / (1 + np.exp(-_STEEPNESS * seen))).astype(np.uint8)
