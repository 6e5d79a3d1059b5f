"""Exact polygons of class pixels, from strips of rows, without the scene in memory.

Every 4-connected component of equal class pixels becomes one polygon along the pixels' edges, holes included.
A strip is cut into runs; runs that touch, in the strip or across its upper edge, are one component; a
component that does not reach the strip's last row is complete: its outline is traced and it leaves memory.

Laws (held by tests): rasterizing the polygons gives the pixels back; the areas are the pixel counts; polygons
and statistics do not depend on how the scene is cut into strips.

Memory: about 15 bytes per pixel of the strip (up to 470 where every pixel differs from its neighbors), 27
bytes per corner plus 60 per component of what reaches the strip's last row, and about 200 per corner of the
polygons being traced. With outlines another 40 bytes per pixel, and 23 per unit of open outline. The scene's
size does not matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from geoseg.arrays import Bool, Int64, UInt8
from geoseg.errors import GridError
from geoseg.grid.encoding import NODATA
from geoseg.polygons.trace.components import Components, ScoreCounts, run_components
from geoseg.polygons.trace.corners import Corners, find_corners, trace
from geoseg.polygons.trace.edges import Edges, find_edges
from geoseg.polygons.trace.regions import Detail, Regions, Strip
from geoseg.polygons.trace.runs import find_runs, group, touching_rows

__all__ = ["exact_polygons", "trace_regions"]

_BATCH = 1 << 16
"""Most components traced at a time: polygons take far more memory than what they are made of."""


@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    """What is carried from strip to strip: components that reach the last row seen, each by its number."""

    components: Components
    corners: Corners
    edges: Edges
    counts: ScoreCounts
    classes: UInt8
    """The last row's pixels with one without data on both sides, shape (width + 2,)."""
    stored: UInt8 | None
    """Stored scores of that row, shape (bands, width + 2)."""
    of_runs: Int64
    """Number of the component of each run of that row that is of a class, from the left."""


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """What is traced, and how; see :func:`trace_regions`."""

    is_class: Bool
    level: float | None
    touching: bool


def exact_polygons(
    strips: Iterable[tuple[UInt8, UInt8]], width: int, classes: Collection[int]
) -> Iterator[Regions]:
    """Polygons and statistics of every 4-connected component of a scene, of pixels of these classes.

    Strips are class ids and stored scores of consecutive rows from the top, each uint8 of shape (any number
    of rows, width); the heights may differ.

    Yields:
        The components as they become complete, up to 65,536 at a time. Through all of them the order is that
        of (last row, first pixel), whatever the strips.

    Raises:
        GridError: strips of another shape or type, a class id out of range, or a class pixel whose score is
            nodata (the two rasters do not belong together).
    """
    return trace_regions((Strip(*strip) for strip in strips), width, classes)


def trace_regions(
    strips: Iterable[Strip],
    width: int,
    classes: Collection[int],
    *,
    level: float | None = None,
    touching: bool = True,
    row: int = 0,
) -> Iterator[Regions]:
    """The same, with what sub-pixel outlines are made of where the strips have all bands.

    ``level`` and ``touching`` are those of :func:`geoseg.polygons.trace.edges.find_edges`; ``row``: the
    scene's row of the first strip, above which all is as if it had no data.
    """
    is_class = np.zeros(256, np.bool_)
    for class_id in classes:
        if not 0 <= class_id < NODATA:
            raise GridError(f"class id {class_id} is out of range; a class raster holds 0 to 254")
        is_class[class_id] = True
    wanted = _Wanted(is_class, level, touching)
    empty = np.full(width + 2, NODATA, np.uint8)
    state = _Open(
        Components.none(),
        Corners.none(),
        Edges.none(),
        ScoreCounts.none(),
        empty,
        None,
        np.zeros(0, np.int64),
    )
    for strip in strips:
        for array in (strip.classes, strip.scores, *(() if strip.stored is None else strip.stored)):
            if array.dtype != np.uint8 or array.shape != (len(strip.classes), width) or not len(array):
                raise GridError(
                    f"rows from {row} came as {array.dtype} of shape {array.shape}; "
                    f"needed uint8, {width} wide, classes and scores of the same height"
                )
        state, done = _advance(state, strip, row, wanted)
        row += strip.classes.shape[0]
        yield from done
    # A row without data below the scene completes what is left.
    blank = np.full((1, width), NODATA, np.uint8)
    bands = None if state.stored is None else np.repeat(blank[None], len(state.stored), axis=0)
    _, done = _advance(state, Strip(blank, blank, bands), row, wanted)
    yield from done


def _advance(before: _Open, strip: Strip, row: int, wanted: _Wanted) -> tuple[_Open, Iterator[Regions]]:
    """Take one strip in, whose first row is the scene's row ``row``; give out what is complete.

    before.classes   ▒ A A ▒ B ▒      the last row of the strip above, ▒ no data on both sides
    strip            ▒ A C C B ▒      A goes on from above: one component
                     ▒ D C C ▒ ▒      A and B do not reach the last row: complete
    """
    height, width = strip.classes.shape
    padded = np.full((height + 1, width + 2), NODATA, np.uint8)
    padded[0] = before.classes
    padded[1:, 1:-1] = strip.classes

    # Nodes of a graph are the open components, then the new runs; runs that touch are joined.
    runs = find_runs(padded)
    of_class = wanted.is_class[runs.value]
    is_new = of_class & (runs.start >= width + 2)
    node = np.full(runs.start.size, -1, np.int64)
    node[of_class & ~is_new] = before.of_runs
    node[is_new] = len(before.components) + np.arange(int(np.count_nonzero(is_new)))

    matters = (of_class | (runs.value == NODATA)) & (runs.start < height * (width + 2))
    upper, lower = touching_rows(runs, np.flatnonzero(matters))
    same = of_class[upper] & (runs.value[upper] == runs.value[lower])
    at_edge = _beside_nodata(runs.value, of_class, upper, lower)
    fresh = run_components(runs, is_new, at_edge, strip.scores, row)

    nodes = len(before.components) + len(fresh)
    count, number = group(nodes, node[upper[same]], node[lower[same]])
    components = before.components.merged(fresh, count, number)
    components.touches_edge[number[node[at_edge & of_class & ~is_new]]] = True

    found, beside = find_corners(padded, wanted.is_class)
    found = replace(found, region=node[runs.of(beside)], row=found.row + (row - 1), col=found.col - 1)
    corners = Corners.join([before.corners, found]).renumber(number)
    edges, counts, last = before.edges, before.counts, None
    if strip.stored is not None:
        last, more, beside = _find_edges(before, strip.stored, padded, row, wanted)
        edges = Edges.join([edges, replace(more, region=node[runs.of(beside)])]).renumber(number)
        of_pixel = np.repeat(np.where(is_new, node, -1), runs.stop - runs.start)
        of_pixel = of_pixel.reshape(padded.shape)[1:, 1:-1]
        inside = of_pixel >= 0
        counts = counts.merged(ScoreCounts.of_pixels(of_pixel[inside], strip.scores[inside]), number)

    is_open = np.zeros(count, np.bool_)
    in_last_row = of_class & (runs.start >= height * (width + 2))
    is_open[number[node[in_last_row]]] = True
    rank = np.cumsum(is_open) - 1
    after = _Open(
        components.choose(is_open),
        corners.keep(is_open, rank),
        edges.keep(is_open, rank),
        counts.keep(is_open, rank),
        padded[-1].copy(),
        last,
        rank[number[node[in_last_row]]],
    )
    detail = None if strip.stored is None else (edges, counts)
    oldest = int(after.components.first.min()) // width if len(after.components) else None
    return after, _complete(components, corners, detail, ~is_open, oldest)


def _find_edges(
    before: _Open, stored: UInt8, padded: UInt8, row: int, wanted: _Wanted
) -> tuple[UInt8, Edges, Int64]:
    """The last row's scores, the edges that end inside the padded strip, and a pixel of each."""
    scores = np.full((len(stored), *padded.shape), NODATA, np.uint8)
    if before.stored is not None:
        scores[:, 0] = before.stored
    scores[:, 1:, 1:-1] = stored
    edges, beside = find_edges(
        padded, scores, row - 1, wanted.is_class, wanted.level, touching=wanted.touching
    )
    return scores[:, -1].copy(), edges, beside


def _beside_nodata(value: UInt8, of_class: Bool, upper: Int64, lower: Int64) -> Bool:
    """Which runs of a class have a pixel without data on any of their four sides."""
    blank = value == NODATA
    beside = np.zeros(value.size, np.bool_)
    beside[1:] |= blank[:-1]  # the padding ends each row with a pixel without data, so no run looks past it
    beside[:-1] |= blank[1:]
    beside[upper[blank[lower]]] = True
    beside[lower[blank[upper]]] = True
    return beside & of_class


def _complete(
    components: Components,
    corners: Corners,
    detail: tuple[Edges, ScoreCounts] | None,
    chosen: Bool,
    oldest: int | None,
) -> Iterator[Regions]:
    """The chosen components with their polygons, in order, some at a time."""
    done = np.flatnonzero(chosen)
    done = done[np.lexsort((components.first[done], components.last_row[done]))]
    position = np.full(len(components), -1, np.int64)
    position[done] = np.arange(done.size)
    corners = corners.keep(chosen, position)
    corners = corners.choose(np.argsort(corners.region, kind="stable"))
    if detail is not None:
        edges, counts = detail
        p10, max_score = (values[done] for values in counts.p10_and_max(len(components)))
        edges = edges.keep(chosen, position)
        edges = edges.choose(np.argsort(edges.region, kind="stable"))
    for start in range(0, done.size, _BATCH):
        batch = done[start : start + _BATCH]
        bounds = (start, start + batch.size)
        polygons = trace(corners.choose(slice(*np.searchsorted(corners.region, bounds))))
        known = None
        if detail is not None:
            of_batch = edges.choose(slice(*np.searchsorted(edges.region, bounds)))
            of_batch = replace(of_batch, region=of_batch.region - start)
            known = Detail(of_batch, p10[slice(*bounds)], max_score[slice(*bounds)])
        yield Regions(polygons, components.choose(batch), known, oldest)
