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

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.arrays import Bool, Int64, UInt8
from geoseg.compiled import compiled
from geoseg.grid.encoding import NODATA, SCALE
from geoseg.polygons.trace.exact import trace_regions
from geoseg.polygons.trace.regions import Regions, Strip

__all__ = ["RowBuffer", "Seeds", "Segments", "find_segments", "segment_labels"]

_LEVELS = 8
"""Steps of a pixel in which distances are counted."""
_FROM_BORDER, _CLOSED = 8.0, 3.0
"""A border that ends short of the edge still separates what lies beside it: seeds are as far from it as this,
in pixels, or as they can be, less the second number."""
_AROUND = np.ones((3, 3), np.bool_)


class RowBuffer:
    """Holds the latest ``kept`` rows, whatever the strips that they came in.

    Memory is ``kept × width × layers`` bytes.
    """

    def __init__(self, width: int, kept: int, layers: int = 1) -> None:
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


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Segments of regions, on a canvas of their own."""

    regions: Regions
    """The segments, on the canvas; but ``components.last_row`` is the scene's, of the whole region: all
    segments of a region are complete at once."""
    first: Int64
    """Row and column of each segment's first pixel in the scene, shape (n, 2)."""
    offset: Int64
    """Columns and rows from the canvas to the scene, shape (n, 2)."""
    width: int


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """The window of a region that was split."""

    row: int
    col: int
    labels: NDArray[np.int32]
    scores: UInt8
    class_id: int
    last_row: int


def segment_labels(layers: UInt8, inside: Bool, seeds: Seeds) -> NDArray[np.int32] | None:
    """Segment, from 1, of each pixel of one region, 0 elsewhere; None: there are fewer than two seeds.

    ``layers`` are the stored scores, and those of the border where it counts, uint8 (1 or 2, rows, columns);
    ``inside`` is the region.
    """
    if seeds.neck:
        height = ndimage.gaussian_filter(ndimage.distance_transform_edt(inside), 1.0) * inside
        level = np.minimum(np.rint(_LEVELS * height), 255).astype(np.uint8)
        found, count = ndimage.label(inside & _tops(level, seeds.neck), _AROUND)
        cost = np.uint8(255) - level
    else:
        is_seed, score = inside & (layers[0] >= seeds.score), np.minimum(layers[0], SCALE)
        if seeds.border is not None and (is_border := layers[1] >= seeds.border).any():
            away = np.minimum(ndimage.distance_transform_edt(~is_border), _FROM_BORDER)
            level = np.where(is_seed, np.rint(_LEVELS * away), 0).astype(np.uint8)
            is_seed &= _tops(level, _CLOSED)
            score = score - np.minimum(score, layers[1])
        found, count = ndimage.label(is_seed)
        cost = SCALE - score
    if count < 2:  # noqa: PLR2004 - two seeds make two segments
        return None
    size = np.bincount(found.ravel(), minlength=count + 1)
    large = size >= (1 if seeds.neck else seeds.pixels)
    large[0] = False
    if np.count_nonzero(large) < 2:  # noqa: PLR2004 - as above
        return None
    number = np.where(large, np.cumsum(large), 0).astype(np.int32)
    labels: NDArray[np.int32] = number[found]
    _flood(cost, inside, labels)
    return labels


def _tops(level: UInt8, depth: float) -> Bool:
    """Maxima that are separated by a pass at least so deep from any higher one; none at level 0."""
    # They are the tops of what the level, lowered by the depth, is rebuilt to.
    flat = _rebuilt(level - np.minimum(level, np.uint8(round(_LEVELS * depth))), level)
    tops: Bool = flat > _rebuilt(flat - np.minimum(flat, 1), flat)
    return tops


@compiled
def _rebuilt(low: UInt8, high: UInt8) -> UInt8:
    """Reconstruction by dilation of one image under another that is nowhere below it (Vincent 1993).

    Sweeps to and fro until nothing changes.
    """
    out = low.copy()
    rows, columns = low.shape
    changed = True
    while changed:
        changed = False
        for way in range(2):
            for step in range(rows * columns):
                pixel = step if way == 0 else rows * columns - 1 - step
                i, j = pixel // columns, pixel % columns
                best = out[i, j]
                for k in range(max(0, i - 1), min(rows, i + 2)):
                    for m in range(max(0, j - 1), min(columns, j + 2)):
                        best = max(best, out[k, m])
                best = min(best, high[i, j])
                if best > out[i, j]:
                    out[i, j] = best
                    changed = True
    return out


@compiled
def _flood(cost: UInt8, inside: Bool, labels: NDArray[np.int32]) -> None:
    """Label every pixel inside by the seed that reaches it over the lowest pass; in place."""
    rows, columns = labels.shape
    following = np.full(rows * columns, -1, np.int64)
    head, tail = np.full(256, -1, np.int64), np.full(256, -1, np.int64)
    for i in range(rows):
        for j in range(columns):
            if labels[i, j]:
                level, pixel = cost[i, j], i * columns + j
                if head[level] < 0:
                    head[level] = pixel
                else:
                    following[tail[level]] = pixel
                tail[level] = pixel
    level = 0
    while level < 256:  # noqa: PLR2004 - a byte's values
        pixel = head[level]
        if pixel < 0:
            level += 1
            continue
        head[level] = following[pixel]
        i, j = pixel // columns, pixel % columns
        for step in range(4):
            k = i + (step == 1) - (step == 0)
            m = j + (step == 3) - (step == 2)  # noqa: PLR2004 - up, down, left, right
            if k < 0 or m < 0 or k >= rows or m >= columns or labels[k, m] or not inside[k, m]:
                continue
            labels[k, m] = labels[i, j]
            to, other = max(level, int(cost[k, m])), k * columns + m
            following[other] = -1
            if head[to] < 0:
                head[to] = other
            else:
                following[tail[to]] = other
            tail[to] = other


def _colors(labels: NDArray[np.int32]) -> UInt8:
    """A color from 1 for each segment, one that none beside it or diagonally across has; 0 for none."""
    pairs = [
        np.stack([one[apart], other[apart]])
        for one, other in (
            (labels[1:], labels[:-1]),
            (labels[:, 1:], labels[:, :-1]),
            (labels[1:, 1:], labels[:-1, :-1]),
            (labels[1:, :-1], labels[:-1, 1:]),
        )
        if (apart := (one != other) & (one > 0) & (other > 0)).any()
    ]
    color = np.zeros(int(labels.max()) + 1, np.uint8)
    beside: dict[int, set[int]] = {}
    for one, other in np.unique(np.concatenate(pairs, axis=1), axis=1).T.tolist() if pairs else ():
        beside.setdefault(one, set()).add(other)
        beside.setdefault(other, set()).add(one)
    for segment in range(1, color.size):
        taken = {int(color[other]) for other in beside.get(segment, ())}
        color[segment] = next(free for free in range(1, NODATA) if free not in taken)
    return color


def find_segments(
    regions: Regions, rows: RowBuffer, seeds: Seeds, level: float, tallest: int
) -> tuple[Bool, Segments | None]:
    """Split the regions, of one class against a background, that hold two seeds or more.

    ``rows`` are stored scores of that class, at least from the regions' first rows on, and in a second layer
    those of the border where it counts. ``level`` is the score that separates the class from the background.
    Regions of more than ``tallest`` rows stay whole.

    Returns:
        Which regions were split, shape (n,), and their segments.
    """
    split = np.zeros(len(regions), np.bool_)
    pieces: list[_Piece] = []
    large = regions.components.pixels >= 2 * seeds.pixels
    assert regions.detail is not None
    for index in np.flatnonzero(large & (regions.detail.max_score >= seeds.score)).tolist():
        left, top, right, bottom = (int(v) for v in regions.polygons[index].bounds)
        if bottom - top > tallest:
            continue
        layers = rows.crop(top - 1, left - 1, bottom + 1, right + 1)
        found, _ = ndimage.label((layers[0] >= level) & (layers[0] != NODATA))
        col = int(regions.polygons[index].exterior.coords[0][0])
        inside = found == found[1, 1 + col - left]
        labels = segment_labels(layers, inside, seeds)
        if labels is not None:
            split[index] = True
            class_id = int(regions.components.class_id[index])
            last_row = int(regions.components.last_row[index])
            pieces.append(_Piece(top - 1, left - 1, labels, layers[0], class_id, last_row))
    return split, _canvas(pieces, level) if pieces else None


def _canvas(pieces: list[_Piece], level: float) -> Segments:
    """All pieces one below the other, traced at once."""
    width = max(piece.labels.shape[1] for piece in pieces)
    height = sum(piece.labels.shape[0] for piece in pieces)
    classes, scores = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    start, top = np.zeros(len(pieces), np.int64), 0
    for index, piece in enumerate(pieces):
        rows, columns = piece.labels.shape
        color = _colors(piece.labels)
        place = slice(top, top + rows), slice(0, columns)
        classes[place] = np.where(piece.scores == NODATA, NODATA, color[piece.labels])
        scores[place] = piece.scores
        start[index] = top
        top += rows
    strip = Strip(classes, scores, scores[None])
    regions = Regions.join([*trace_regions([strip], width, range(1, NODATA), level=level, touching=False)])
    # Each segment with its place and class in the scene.
    segments = regions.components
    row, col = np.divmod(segments.first, width)
    which = np.searchsorted(start, row, side="right") - 1
    offset = np.array([[p.col, p.row] for p in pieces])[which]
    offset[:, 1] -= start[which]
    class_id = np.array([p.class_id for p in pieces], np.uint8)[which]
    last_row = np.array([p.last_row for p in pieces])[which]
    return Segments(
        Regions(regions.polygons, replace(segments, class_id=class_id, last_row=last_row), regions.detail),
        np.stack([row + offset[:, 1], col + offset[:, 0]], axis=1),
        offset,
        width,
    )
