"""Buildings that touch are split as scipy and a queue would: by seeds, away from borders, by necks."""

from __future__ import annotations

import heapq

import numpy as np
import shapely
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.arrays import Bool, UInt8
from geoseg.grid.encoding import NODATA, SCALE
from geoseg.polygons.objects.watershed import KERNEL, RowBuffer, Seeds, find_segments, segment_labels
from geoseg.polygons.trace.exact import trace_regions
from geoseg.polygons.trace.regions import Regions, Strip

LEVEL = 99.5
AROUND = np.ones((3, 3), np.bool_)


def fields(seed: int, rows: int = 30, columns: int = 40, holes: float = 0.0) -> UInt8:
    """Stored scores and borders, uint8 (2, rows, columns)."""
    random = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(random.standard_normal((2, rows, columns)), (0, 2, 2))
    score, border = 1 / (1 + np.exp(-9 * noise)), 1 / (1 + np.exp(3 - 20 * noise))[::-1]
    stored = np.rint(200 * np.stack([score[0], border[0]])).astype(np.uint8)
    stored[:, random.random((rows, columns)) < holes] = NODATA
    return stored


def rebuilt(low: UInt8, high: UInt8) -> UInt8:
    while True:
        grown = np.minimum(ndimage.grey_dilation(low, footprint=AROUND), high)
        if np.array_equal(grown, low):
            return low
        low = grown


def tops(level: UInt8, depth: int) -> Bool:
    flat = rebuilt(level - np.minimum(level, np.uint8(depth)), level)
    higher: Bool = flat > rebuilt(flat - np.minimum(flat, 1), flat)
    return higher


def expected(layers: UInt8, inside: Bool, seeds: Seeds) -> NDArray[np.int32] | None:
    """The same by distance transforms, dilations and a priority queue."""
    if seeds.neck:
        height = ndimage.gaussian_filter(ndimage.distance_transform_edt(inside), 1.0) * inside
        level = np.minimum(np.rint(8 * height), 255).astype(np.uint8)
        found, count = ndimage.label(inside & tops(level, round(8 * seeds.neck)), AROUND)
        cost = 255 - level.astype(np.int64)
    else:
        is_seed, score = inside & (layers[0] >= seeds.score), np.minimum(layers[0], SCALE).astype(np.int64)
        if seeds.border is not None and (is_border := layers[1] >= seeds.border).any():
            away = np.minimum(ndimage.distance_transform_edt(~is_border), 8.0)
            level = np.where(is_seed, np.rint(8 * away), 0).astype(np.uint8)
            is_seed &= tops(level, 24)
            score -= np.minimum(score, layers[1])
        found, count = ndimage.label(is_seed)
        cost = SCALE - score
    size = np.bincount(found.ravel(), minlength=count + 1)
    large = size >= (1 if seeds.neck else seeds.pixels)
    large[0] = False
    if np.count_nonzero(large) < 2:
        return None
    labels = np.where(large, np.cumsum(large), 0)[found].astype(np.int32)
    queue = [(int(cost[place]), n, place) for n, place in enumerate(zip(*np.nonzero(labels), strict=True))]
    heapq.heapify(queue)
    pushed = len(queue)
    while queue:
        level_here, _, (i, j) = heapq.heappop(queue)
        for other in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            if inside[other] and not labels[other]:
                labels[other] = labels[i, j]
                heapq.heappush(queue, (max(level_here, int(cost[other])), pushed, other))
                pushed += 1
    return labels


def segmented(layers: UInt8, inside: Bool, seeds: Seeds) -> NDArray[np.int32] | None:
    flat = layers.reshape(len(layers), -1)
    border = flat[0, :0] if seeds.border is None else flat[1]
    labels, count = segment_labels(
        flat[0], border, inside.astype(np.uint8).ravel(), inside.shape[1], seeds.numbers, KERNEL
    )
    if count == 0:
        return None
    assert labels.max() == count
    return labels.reshape(inside.shape)


ways = st.sampled_from(
    [
        Seeds(190, 3),
        Seeds(150, 10),
        Seeds(120, 1, border=100),
        Seeds(110, 4, border=160),
        Seeds(0, 1, 1.0),
        Seeds(0, 1, 0.125),
    ]
)


@given(st.integers(0, 10_000), ways, st.sampled_from([0.0, 0.03]))
@example(1, Seeds(110, 1, border=1), 0.0)
def test_segments_are_those_of_scipy_a_partition_each_in_one_piece(
    seed: int, seeds: Seeds, holes: float
) -> None:
    layers = np.pad(fields(seed, holes=holes), ((0, 0), (1, 1), (1, 1)), constant_values=NODATA)
    regions, count = ndimage.label((layers[0] > LEVEL) & (layers[0] != NODATA))
    for region in range(1, count + 1):
        inside = regions == region
        wanted, labels = expected(layers, inside, seeds), segmented(layers, inside, seeds)
        assert (wanted is None) == (labels is None)
        if labels is None or wanted is None:
            continue
        np.testing.assert_array_equal(labels, wanted)
        assert np.array_equal(labels > 0, inside)
        for part in range(1, labels.max() + 1):
            assert ndimage.label(labels == part)[1] == 1


@given(st.integers(0, 10_000), ways, st.sampled_from([0.0, 0.03]), st.sampled_from([0, 12]))
def test_segments_of_all_regions_are_traced_where_they_are(
    seed: int, seeds: Seeds, holes: float, above: int
) -> None:
    layers = fields(seed, 60, 50, holes)
    classes = np.where(layers[0] == NODATA, NODATA, layers[0] > LEVEL).astype(np.uint8)
    strip = Strip(classes, layers[0], layers[:1])
    regions = Regions.join([*trace_regions([strip], 50, [1], level=LEVEL, touching=False)])
    rows = RowBuffer(50, 60, 1 if seeds.border is None else 2)
    for part in (layers[:, :above], layers[:, above:]):
        rows.append(*part[: 1 if seeds.border is None else 2])
    split, segments = find_segments(regions, rows, seeds, LEVEL, 40)

    around = np.pad(layers, ((0, 0), (1, 1), (1, 1)), constant_values=NODATA)
    numbers, _ = ndimage.label((around[0] > LEVEL) & (around[0] != NODATA))
    wanted = {}
    for index, (first, last) in enumerate(
        zip(regions.components.first, regions.components.last_row, strict=True)
    ):
        row, col = divmod(int(first), 50)
        inside = numbers == numbers[row + 1, col + 1]
        large = inside.sum() >= 2 * seeds.pixels and layers[0][inside[1:-1, 1:-1]].max() >= seeds.score
        left, right = np.flatnonzero(inside.any(axis=0))[[0, -1]]
        window = slice(row, int(last) + 3), slice(left - 1, right + 2)
        labels = expected(around[:, *window], inside[window], seeds) if large and last - row < 40 else None
        assert split[index] == (labels is not None)
        for part in range(1, 1 if labels is None else labels.max() + 1):
            places = np.argwhere(labels == part) + np.array([row - 1, left - 2])
            scores = layers[0][tuple(places.T)]
            wanted[tuple(places[0])] = (int(last), len(places), int(scores.sum()), int(scores.max()))
    if segments is None:
        assert not wanted
        return
    known = segments.components
    assert segments.detail is not None
    found = zip(known.last_row, known.pixels, known.score, segments.detail.max_score, strict=True)
    places = zip(*np.divmod(known.first, 50), strict=True)
    assert dict(zip(places, found, strict=True)) == wanted
    assert (known.class_id == 1).all()
    # Outlines are within half a pixel of the segments' own.
    bounds = shapely.bounds(segments.polygons)
    assert abs(bounds[:, 0] - known.left).max() <= 0.5
    assert abs(bounds[:, 1] - known.first // 50).max() <= 0.5
    assert abs(bounds[:, 2] - known.right - 1).max() <= 0.5
