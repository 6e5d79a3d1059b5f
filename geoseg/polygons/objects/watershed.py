"""Buildings that touch in the mask, separated: seeds, and a watershed between them.

A network's probability dips where two roofs meet; one that knows borders predicts them outright. Areas of a
region that are surer than the seed's level, and no border, are seeds; or, by shape alone, the areas that a
neck joins (h-maxima of the distance to the edge). Each floods downhill along the probability until it meets
another, so each becomes a segment of the region:

    probability   ──▁▃▆███▇▅▃▅▇██▇▅▂──     s  seeds: above the seed's level
    seeds              sss     ss          1 2  segments: pixels over the lowest pass to a seed; of equal
    segments         11111111222222           levels the pixel first reached first

(Meyer 1994, "Topographic distance and watershed lines"; by levels, first come, first served, so that the
result is exact and repeatable.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Bool, Float64, Int64, UInt8
from geoseg.compiled import compiled
from geoseg.grid.encoding import NODATA, SCALE
from geoseg.polygons.objects.floods import (
    find_tops,
    flood,
    gaussian,
    mark_connected,
    number_seeds,
    squared_distances,
)
from geoseg.polygons.trace.components import Components
from geoseg.polygons.trace.exact import trace_regions
from geoseg.polygons.trace.regions import Regions, Strip

__all__ = ["KERNEL", "RowBuffer", "Seeds", "find_segments", "segment_labels"]

_LEVELS: Final = 8
"""Steps of a pixel in which distances are counted."""
_FROM_BORDER: Final = 8
_CLOSED: Final = 3
"""A border that ends short of the edge still separates what lies beside it: seeds are as far from it as the
first number, in pixels, or as they can be, less the second number."""
_WIDTH: Final = 2048
"""Least width of the canvas that segments are traced on."""
_COLORS: Final = NODATA - 1

Numbers = tuple[int, int, int, int]
"""Of :class:`Seeds`: score, pixels, border (-1: none), and neck in steps of a level (0: none)."""


def _kernel() -> Float64:
    """Center and one side of a Gaussian of one pixel, the side's farthest first."""
    x = np.arange(-4, 5)
    weights: Float64 = np.exp(-0.5 * x**2)
    weights /= weights.sum()
    return weights[:5]


KERNEL: Final = _kernel()


class RowBuffer:
    """Holds the latest ``kept`` rows, whatever the strips that they came in.

    Memory is ``kept × width × layers`` bytes.
    """

    def __init__(self, width: int, kept: int, layers: int = 1) -> None:
        self.width = width
        self._ring = np.full((kept, layers, width), NODATA, np.uint8)
        self._end = 0

    def append(self, *layers: UInt8) -> None:
        """Take in the rows below the last one, uint8 (any number, width) of each layer."""
        self._end += len(layers[0])
        latest = min(len(layers[0]), len(self._ring))
        places = np.arange(self._end - latest, self._end) % len(self._ring)
        for layer, rows in enumerate(layers):
            self._ring[places, layer] = rows[-latest:]

    def crop(self, top: int, left: int, bottom: int, right: int) -> UInt8:
        """Pixels of a window, uint8 (layers, bottom - top, right - left); no data beyond the scene's edge.

        A row that is no longer held is an IndexError.
        """
        if max(top, 0) < self._end - len(self._ring):
            raise IndexError(
                f"row {top} is no longer held: of {self._end} rows the last {len(self._ring)} are"
            )
        _, layers, width = self._ring.shape
        out = np.full((layers, bottom - top, right - left), NODATA, np.uint8)
        a, b = max(top, 0), min(bottom, self._end)
        c, d = max(left, 0), min(right, width)
        found = self._ring[np.arange(a, b) % len(self._ring), :, c:d]
        out[:, a - top : b - top, c - left : d - left] = found.swapaxes(0, 1)
        return out


@dataclass(frozen=True, slots=True)
class Seeds:
    """What counts as a seed."""

    score: int
    """Least stored score of its pixels, above the mask's own level."""
    pixels: int
    """Fewest pixels of it; smaller ones are noise."""
    neck: float = 0.0
    """By shape instead: by how many pixels a neck's half width is below those of the areas it joins;
    0: by score."""
    border: int | None = None
    """Stored score of a border from which a pixel is no seed; None: there are no borders."""

    @property
    def numbers(self) -> Numbers:
        """The same for compiled loops."""
        border = -1 if self.border is None else self.border
        return self.score, self.pixels, border, round(_LEVELS * self.neck)


@compiled
def segment_labels(
    score: UInt8, border: UInt8, inside: UInt8, columns: int, seeds: Numbers, kernel: Float64
) -> tuple[NDArray[np.int32], int]:
    """Segment, from 1, of each pixel of one region, 0 elsewhere; and how many there are: 0, or 2 and more.

    ``score`` and ``inside``, which is 1 in the region, are a window, flat, uint8 (rows × columns); its
    outermost pixels are not in the region. ``border`` are the scores of the border; empty where none count.
    """
    least, pixels, most_border, neck = seeds
    cost = np.empty(score.size, np.uint8)
    is_seed = np.zeros(score.size, np.uint8)
    labels = np.zeros(score.size, np.int32)
    if neck:
        _tops_of_shape(inside, columns, neck, kernel, cost, is_seed)
        pixels = 1
    else:
        is_border, borders = np.empty(border.size, np.uint8), 0
        for pixel in range(border.size):
            is_border[pixel] = border[pixel] >= most_border
            borders += is_border[pixel]
        for pixel in range(score.size):
            is_seed[pixel] = inside[pixel] and score[pixel] >= least
            cost[pixel] = SCALE - min(score[pixel], SCALE)
            if borders:
                cost[pixel] = min(cost[pixel] + border[pixel], SCALE)
        if borders:
            _keep_from(is_border, columns, is_seed)
    found = number_seeds(is_seed, columns, neck > 0, pixels, labels)
    if found < 2:  # noqa: PLR2004 - two seeds make two segments
        return labels, 0
    flood(cost, inside, columns, labels)
    return labels, found


@compiled
def _tops_of_shape(inside: UInt8, columns: int, neck: int, kernel: Float64, cost: UInt8, tops: UInt8) -> None:
    """Mark what lies farthest from the edge, with passes deeper than the neck between; deep is cheap."""
    level = np.zeros(inside.size, np.uint8)
    for pixel in range(inside.size):
        level[pixel] = 1 - inside[pixel]
    height = squared_distances(level, columns, inside.size * inside.size, inside)
    for pixel in range(inside.size):
        height[pixel] = np.sqrt(height[pixel])
    gaussian(height, columns, kernel)
    for pixel in range(inside.size):
        level[pixel] = min(np.rint(_LEVELS * height[pixel]), 255.0) if inside[pixel] else 0.0
        cost[pixel] = 255 - level[pixel]
    find_tops(level, columns, neck, tops)


@compiled
def _keep_from(border: UInt8, columns: int, is_seed: UInt8) -> None:
    """Keep of the seeds what lies as far from a border as it can."""
    squared = squared_distances(border, columns, _FROM_BORDER**2, is_seed)
    level = np.empty(border.size, np.uint8)
    for pixel in range(border.size):
        level[pixel] = np.rint(_LEVELS * np.sqrt(squared[pixel]))
        is_seed[pixel] = 0
    find_tops(level, columns, _LEVELS * _CLOSED, is_seed)


def find_segments(
    regions: Regions, rows: RowBuffer, seeds: Seeds, level: float, tallest: int
) -> tuple[Bool, Regions | None]:
    """Split the regions, of one class against a background, that hold two seeds or more.

    ``rows`` are stored scores of that class, at least from the regions' first rows on, and in a second layer
    those of the border where it counts. ``level`` is the score that separates the class from the background.
    Regions of more than ``tallest`` rows stay whole.

    Returns:
        Which regions were split, shape (n,), and their segments; ``components.last_row`` of these is that of
        the whole region: all segments of a region are complete at once.
    """
    assert regions.detail is not None
    split = np.zeros(len(regions), np.bool_)
    known = regions.components
    top, col = np.divmod(known.first, rows.width)
    high = known.last_row - top + 1
    is_large = (known.pixels >= 2 * seeds.pixels) & (regions.detail.max_score >= seeds.score)
    chosen = np.flatnonzero(is_large & (high <= tallest))
    if not chosen.size:
        return split, None
    # The tallest first, so that they make full shelves.
    chosen = chosen[np.argsort(-high[chosen], kind="stable")]
    # With a pixel more on each side.
    origin = np.stack([top, known.left], axis=1)[chosen] - 1
    size = np.stack([high, known.right - known.left + 1], axis=1)[chosen] + 2
    above, below = int(origin[:, 0].min()), int((origin + size)[:, 0].max())
    layers = rows.crop(above, -1, below, rows.width + 1)
    windows = np.concatenate([origin - [above, -1], size], axis=1)
    start = col[chosen] - origin[:, 1]
    canvas, least = _empty_canvas(windows), int(np.ceil(level))
    places, height = _split_regions(layers, windows, start, least, seeds.numbers, KERNEL, *canvas)
    if not len(places):
        return split, None
    which = chosen[places[:, 0]]
    split[which] = True
    used, whole = canvas[:, :height], known.choose(which)
    return split, _traced(used, places[:, 1:], origin[places[:, 0]], whole, level, rows.width)


def _empty_canvas(windows: Int64) -> UInt8:
    """Room for the classes and scores of all windows on shelves, which is as much as for some of them."""
    width = max(_WIDTH, int(windows[:, 3].max()))
    height, column = 0, width
    for rows, columns in windows[:, 2:].tolist():
        if column + columns > width:
            height, column = height + rows, 0
        column += columns
    return np.zeros((2, height, width), np.uint8)


@compiled
def _split_regions(
    layers: UInt8,
    windows: Int64,
    start: Int64,
    least: int,
    seeds: Numbers,
    kernel: Float64,
    colors: UInt8,
    scores: UInt8,
) -> tuple[Int64, int]:
    """Draw the segments of regions, each in a window of some rows, side by side on a canvas.

    ``windows``, shape (n, 4), are row, column, rows and columns of each; ``start`` is the column in it of a
    pixel of the region in its second row; ``least`` is the lowest score of a region's pixel. ``colors`` and
    ``scores`` are the canvas, zeros.

    Returns:
        For each window with segments its number and the row and the column of its place; and the rows of the
        canvas that are in use.
    """
    places = np.empty((windows.shape[0], 3), np.int64)
    found, shelf, height, column = 0, 0, 0, colors.shape[1]
    for n in range(windows.shape[0]):
        rows, columns = windows[n, 2], windows[n, 3]
        pixels = rows * columns
        score, border = np.empty(pixels, np.uint8), np.empty((layers.shape[0] - 1) * pixels, np.uint8)
        inside = np.zeros(pixels, np.uint8)
        for i in range(rows):
            for j in range(columns):
                score[i * columns + j] = layers[0, windows[n, 0] + i, windows[n, 1] + j]
                if border.size:
                    border[i * columns + j] = layers[1, windows[n, 0] + i, windows[n, 1] + j]
        mark_connected(score, columns, columns + start[n], least, NODATA - 1, inside)
        labels, count = segment_labels(score, border, inside, columns, seeds, kernel)
        if count == 0:
            continue
        if column + columns > colors.shape[1]:
            shelf, height, column = height, height + rows, 0
        places[found, 0], places[found, 1], places[found, 2] = n, shelf, column
        found += 1
        color = _colors(labels, columns, count)
        for i in range(rows):
            for j in range(columns):
                pixel = i * columns + j
                scores[shelf + i, column + j] = score[pixel]
                colors[shelf + i, column + j] = NODATA if score[pixel] == NODATA else color[labels[pixel]]
        column += columns
    return places[:found], height


@compiled
def _colors(labels: NDArray[np.int32], columns: int, count: int) -> UInt8:
    """A color from 1 for each segment, one that none beside it or diagonally across has; 0 for none."""
    ahead = (1, columns - 1, columns, columns + 1)
    # Neighbors with a lower number, as a linked list for each segment.
    head = np.empty(count + 1, np.int32)
    for segment in range(count + 1):
        head[segment] = -1
    room, pairs = 4 * labels.size, 0
    leads_to, following = np.empty(room, np.int32), np.empty(room, np.int32)
    for pixel in range(labels.size - columns - 1):
        here = labels[pixel]
        if here == 0:
            continue
        for step in ahead:
            there = labels[pixel + step]
            if there == 0 or there == here:  # noqa: PLR1714 - a tuple of two types
                continue
            one, other = max(here, there), min(here, there)
            if head[one] >= 0 and leads_to[head[one]] == other:
                continue
            leads_to[pairs], following[pairs], head[one] = other, head[one], pairs
            pairs += 1
    color = np.zeros(count + 1, np.uint8)
    taken = np.zeros(_COLORS + 1, np.int32)  # by a neighbor of which segment
    for segment in range(1, count + 1):
        pair = head[segment]
        while pair >= 0:
            taken[color[leads_to[pair]]] = segment
            pair = following[pair]
        free = 1
        while taken[free] == segment:
            free += 1
        color[segment] = free
    return color


def _traced(
    canvas: UInt8, places: Int64, origin: Int64, whole: Components, level: float, width: int
) -> Regions:
    """The segments of pieces on a canvas, traced at once and put where they are in a scene of a width.

    ``places``, shape (n, 2), are row and column of each piece, rising; ``origin`` its row and column in the
    scene; ``whole`` the regions that they are of.
    """
    classes, scores = canvas
    strip = Strip(classes, scores, scores[None])
    traced = trace_regions([strip], classes.shape[1], range(1, NODATA), level=level, touching=False)
    found = Regions.join([*traced])
    row, col = np.divmod(found.components.first, classes.shape[1])
    shelf, piece = places.T
    row_of_shelf = shelf[np.searchsorted(shelf, row, side="right") - 1]
    key = row_of_shelf * classes.shape[1] + col
    which = np.searchsorted(shelf * classes.shape[1] + piece, key, side="right") - 1
    down, right = (origin[which] - places[which]).T
    # Whole pixels are added to multiples of 1/256: no bit is lost.
    moved = np.stack([right, down], axis=1)[np.repeat(np.arange(len(found)), np.diff(found.ring_start))]
    xy = found.rings.xy + np.repeat(moved, np.diff(found.rings.start), axis=0)
    known = replace(
        found.components,
        first=(row + down) * width + col + right,
        class_id=whole.class_id[which],
        last_row=whole.last_row[which],
        left=found.components.left + right,
        right=found.components.right + right,
    )
    return replace(found, rings=replace(found.rings, xy=xy), components=known)
