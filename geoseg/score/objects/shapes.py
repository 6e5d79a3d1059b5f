"""How well single polygons are drawn: measures between predicted polygons and the true ones they stand for.

Polygons are in one planar CRS of any unit. A pair without a predicted polygon (None or empty) is missed: its
IoU and C-IoU are 0, the other measures NaN, undefined. Arrays of different length, a step that is not above
zero and geometries without an area are refused with a GridError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import shapely

from geoseg.arrays import Array, Bool, Float64, Int64, Objects
from geoseg.compiled import compiled
from geoseg.errors import GridError
from geoseg.grid.polygons import polygon_iou, repaired

__all__ = ["ShapeMeasures", "right_angles", "shape_measures"]

RIGHT_ANGLE_TOLERANCE = 1.0
"""Degrees that a right angle may be off."""
_HIGH = 0.95
"""Quantile that stands for the largest tangent error of a polygon."""


@dataclass(frozen=True, slots=True)
class ShapeSummary:
    """Measures of :class:`ShapeMeasures` for many pairs together; NaN where no pair has the measure.

    Missing pairs, without a predicted polygon, have an IoU and C-IoU of 0 and are in no other figure; invalid
    predicted polygons were repaired for the IoU.
    """

    pairs: int
    missing: int
    invalid: int
    iou: float
    c_iou: float
    polis: float
    hausdorff: float
    tangent_error: float
    n_ratio: float
    """All predicted vertices over all true ones."""
    vertices: float
    """Mean vertices of a predicted polygon."""
    right_angles: float
    """Share of all predicted vertices that are right angles."""
    area_bias: float
    """Predicted area over true area, less one."""


@dataclass(frozen=True, slots=True, eq=False)
class ShapeMeasures:
    """Measures of N pairs, each of shape (N,); areas are 0 where the predicted polygon is missing."""

    iou: Float64
    """Area in both over area in either, 0 to 1."""
    c_iou: Float64
    """IoU times ``1 − |n − m| / (n + m)`` of both numbers of vertices (PolyWorld, Zorzi et al. 2022)."""
    polis: Float64
    """PoLiS distance (Avbelj et al. 2014), in the polygons' unit."""
    hausdorff: Float64
    """Hausdorff distance of the boundaries, in the polygons' unit."""
    tangent_error: Float64
    """95th percentile of the angle between both boundaries (Girard et al. 2021), degrees, 0 to 90."""
    right_angles: Float64
    """Share of the predicted vertices that are right angles."""
    vertices: Int64
    true_vertices: Int64
    area: Float64
    true_area: Float64
    present: Bool
    valid: Bool
    """As it came; False where missing."""

    @classmethod
    def joined(cls, parts: Sequence[ShapeMeasures]) -> ShapeMeasures:
        """The pairs of several, one after another; at least one."""
        names = cls.__dataclass_fields__
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def chosen(self, pairs: Bool | Int64) -> ShapeMeasures:
        """Some of the pairs, by a mask (pairs,) or by their numbers, such as those of one size."""
        return ShapeMeasures(*(getattr(self, name)[pairs] for name in self.__dataclass_fields__))

    def summary(self) -> ShapeSummary:
        """Means over the pairs; counts of vertices and areas as ratios of sums."""
        found = self.present
        vertices, true_vertices = int(self.vertices[found].sum()), int(self.true_vertices[found].sum())
        right = float(np.nansum(self.right_angles[found] * self.vertices[found]))
        area, true_area = float(self.area[found].sum()), float(self.true_area[found].sum())
        return ShapeSummary(
            pairs=len(found),
            missing=int((~found).sum()),
            invalid=int((found & ~self.valid).sum()),
            iou=_mean(self.iou),
            c_iou=_mean(self.c_iou),
            polis=_mean(self.polis),
            hausdorff=_mean(self.hausdorff),
            tangent_error=_mean(self.tangent_error),
            n_ratio=_ratio(vertices, true_vertices),
            vertices=_ratio(vertices, int(found.sum())),
            right_angles=_ratio(right, vertices),
            area_bias=_ratio(area, true_area) - 1,
        )


def shape_measures(predicted: Objects, true: Objects, *, step: float) -> ShapeMeasures:
    """All measures of pairs of polygons.

    Args:
        predicted: Polygons, MultiPolygons, None or empty; shape (N,). Invalid ones are repaired for the IoU
            and measured as they are else.
        true: Polygons or MultiPolygons, shape (N,).
        step: distance of the points that the Hausdorff distance and the tangent error look at, in the
            polygons' unit, such as a third of a pixel.

    >>> square = shapely.box(0, 0, 10, 10)
    >>> wider = shapely.box(0, 0, 12, 10)
    >>> found = shape_measures(np.array([wider]), np.array([square]), step=0.1).summary()
    >>> round(found.iou, 3), round(found.polis, 3), found.hausdorff, found.n_ratio, round(found.area_bias, 3)
    (0.833, 0.5, 2.0, 1.0, 0.2)
    """
    _check(predicted, true, step)
    found, truth = Outlines.of(predicted), Outlines.of(true)
    overlap = polygon_iou(repaired(predicted), repaired(true))
    corners, true_corners = found.vertices, truth.vertices
    off = np.abs(corners - true_corners) / np.maximum(corners + true_corners, 1)
    present = corners > 0
    return ShapeMeasures(
        iou=overlap,
        c_iou=overlap * (1 - off),
        polis=_polis(found, truth),
        hausdorff=_hausdorff(found, truth, step),
        tangent_error=_tangent_error(found, truth, step),
        right_angles=right_angles(predicted),
        vertices=corners,
        true_vertices=true_corners,
        area=np.nan_to_num(shapely.area(predicted)),
        true_area=np.nan_to_num(shapely.area(true)),
        present=present,
        valid=present & shapely.is_valid(predicted),
    )


def right_angles(polygons: Objects, tolerance: float = RIGHT_ANGLE_TOLERANCE) -> Float64:
    """Share (n,) of the vertices of n polygons that are 90° or 270°, within a tolerance in degrees.

    NaN where a polygon has no vertex.
    """
    outlines = Outlines.of(polygons)
    right = np.abs(outlines.turns() - 90) <= tolerance
    return _means(right.astype(np.float64), outlines.first)


def _check(predicted: Objects, true: Objects, step: float) -> None:
    if predicted.shape != true.shape or predicted.ndim != 1:
        raise GridError(
            f"polygons come in pairs: got shapes {predicted.shape} and {true.shape}, needed the same (n,)"
        )
    if not 0 < step < np.inf:
        raise GridError(f"a step along the boundary is above zero, got {step}")
    for polygons in (predicted, true):
        kinds = set(shapely.get_type_id(polygons).tolist())
        strange = kinds - {-1, shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON}
        if strange:
            names = ", ".join(sorted(shapely.GeometryType(kind).name.lower() for kind in strange))
            raise GridError(f"only polygons have a shape to compare, got {names}")


def _polis(found: Outlines, truth: Outlines) -> Float64:
    """Mean distance of one polygon's vertices to the other's boundary, averaged over both ways.

    Avbelj, Müller & Bamler 2014, "A Metric for Polygon Comparison and Building Extraction Evaluation".
    """
    there, _ = truth.nearest(found.start, found.first)
    back, _ = found.nearest(truth.start, truth.first)
    return (_means(there, found.first) + _means(back, truth.first)) / 2


def _hausdorff(found: Outlines, truth: Outlines, step: float) -> Float64:
    """Edges count in full, by points along them: the distance is at most half a step too short."""
    largest = np.zeros(len(found.first) - 1)
    for one, other in ((found, truth), (truth, found)):
        points, edge = one.sampled(step)
        for places, first in ((one.start, one.first), (points, one.firsts(edge))):
            distance, _ = other.nearest(places, first)
            largest = np.maximum(largest, _maxima(distance, first))
    return largest


def _tangent_error(found: Outlines, truth: Outlines, step: float) -> Float64:
    """Largest angle of the predicted boundary to the true one where it is nearest.

    Girard et al. 2021 ("Polygonal Building Segmentation by Frame Field Learning") take the maximum along a
    contour, this takes the 95th percentile of the points along all rings: a point beside a corner, nearest to
    the other edge, makes any maximum 90.
    """
    points, edge = found.sampled(step)
    first = found.firsts(edge)
    _, beside = truth.nearest(points, first)
    missed = beside < 0
    here, there = found.way[edge], np.ones_like(points)
    there[~missed] = truth.way[beside[~missed]]
    cross = here[:, 0] * there[:, 1] - here[:, 1] * there[:, 0]
    # Of two lines without direction: at most a right angle.
    angle = np.degrees(np.arctan2(np.abs(cross), np.abs((here * there).sum(axis=1))))
    return _quantiles(np.where(missed, np.nan, angle), first, _HIGH)


def _means(values: Float64, first: Int64) -> Float64:
    """Mean of each run of values; NaN of none."""
    counts = np.diff(first)
    sums = np.bincount(np.repeat(np.arange(len(counts)), counts), values, minlength=len(counts))
    out: Float64 = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return out


def _maxima(values: Float64, first: Int64) -> Float64:
    """Largest of each run of values; NaN of none or of NaN."""
    some = np.diff(first) > 0
    out = np.full(len(some), np.nan)
    if some.any():  # the runs without values are empty, so the others follow each other
        out[some] = np.maximum.reduceat(values, first[:-1][some])
    return out


def _quantiles(values: Float64, first: Int64, share: float) -> Float64:
    """Quantile of each run of values, linear between two of them as numpy's; NaN of none or of NaN."""
    counts = np.diff(first)
    ordered = values[np.lexsort((values, np.repeat(np.arange(len(counts)), counts)))]
    out = np.full(len(counts), np.nan)
    some = counts > 0
    place = share * (counts[some] - 1)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, counts[some] - 1)
    begin = first[:-1][some]
    out[some] = ordered[begin + low] + (ordered[begin + high] - ordered[begin + low]) * (place - low)
    return out


def _mean(values: Float64) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """The edges of N polygons, ring after ring; edges without length are left out.

    Laws: the edges of polygon ``i`` are ``first[i]`` to ``first[i + 1]``; its vertices are their starts.
    """

    start: Float64
    """Where each edge starts, shape (E, 2): x, y."""
    way: Float64
    """From there to its end, shape (E, 2)."""
    ring: Int64
    """Which ring each belongs to, ascending, shape (E,)."""
    first: Int64
    """Where each polygon's edges start, and E, shape (N + 1,)."""

    @classmethod
    def of(cls, polygons: Objects) -> Self:
        """The outlines of Polygons and MultiPolygons, valid or not; None and empty ones have no edges."""
        parts, owner = shapely.get_parts(polygons, return_index=True)
        rings, part = shapely.get_rings(parts, return_index=True)
        ends, ring = shapely.get_coordinates(rings, return_index=True)
        way = np.diff(ends, axis=0)
        kept = (ring[1:] == ring[:-1]) & way.any(axis=1)
        ring = ring[:-1][kept]
        first = np.searchsorted(owner[part][ring], np.arange(len(polygons) + 1))
        return cls(ends[:-1][kept], way[kept], ring.astype(np.int64), first.astype(np.int64))

    @property
    def vertices(self) -> Int64:
        """Vertices of each polygon, without the repeated closing ones: shape (N,)."""
        return np.diff(self.first)

    def turns(self) -> Float64:
        """Change of direction at each edge's end, in degrees, 0 to 180, shape (E,)."""
        following = np.arange(1, len(self.ring) + 1)
        _, begins, counts = np.unique(self.ring, return_index=True, return_counts=True)
        following[begins + counts - 1] = begins
        here, there = self.way, self.way[following]
        cross = here[:, 0] * there[:, 1] - here[:, 1] * there[:, 0]
        found: Float64 = np.degrees(np.abs(np.arctan2(cross, (here * there).sum(axis=1))))
        return found

    def sampled(self, step: float) -> tuple[Float64, Int64]:
        """Points along every ring, evenly spaced and no further apart than a step.

        Gives the points (P, 2), in the order of the edges, and the edge that each lies on (P,).
        """
        _, begins = np.unique(self.ring, return_index=True)
        ends = np.append(begins, len(self.ring)).astype(np.int64)
        return _sampled(self.start, self.way, np.hypot(self.way[:, 0], self.way[:, 1]), ends, step)

    def firsts(self, edge: Int64) -> Int64:
        """Where each of n polygons' points start, (n + 1,), among points with ascending edges (P,)."""
        return np.searchsorted(edge, self.first).astype(np.int64)

    def nearest(self, points: Float64, first: Int64) -> tuple[Float64, Int64]:
        """How far points (P, 2) are from these outlines, each from the polygon of its own number.

        The points of polygon ``i`` are ``first[i]`` to ``first[i + 1]``. Gives distances and the nearest
        edges, (P,); NaN and -1 where a polygon has none.
        """
        distance, edge = _nearest(np.ascontiguousarray(points), first, self.start, self.way, self.first)
        return distance, edge


@compiled
def _sampled(start: Float64, way: Float64, length: Float64, rings: Int64, step: float) -> tuple[Array, Array]:
    """Points of each ring, measured from its own start: the same bits in any company."""
    pieces = np.zeros(len(rings) - 1, np.int64)
    around = np.zeros(len(rings) - 1)
    for ring in range(len(pieces)):
        for edge in range(rings[ring], rings[ring + 1]):
            around[ring] += length[edge]
        # Blind to rounding: a whole number of steps is that number.
        pieces[ring] = max(1, int(np.ceil(around[ring] / step - 1e-9)))
    points, edges = np.empty((pieces.sum(), 2)), np.empty(pieces.sum(), np.int64)
    n = 0
    for ring in range(len(pieces)):
        edge, passed = rings[ring], 0.0
        for piece in range(pieces[ring]):
            place = (piece + 0.5) * around[ring] / pieces[ring]
            while edge + 1 < rings[ring + 1] and passed + length[edge] <= place:
                passed += length[edge]
                edge += 1
            share = min(max((place - passed) / length[edge], 0.0), 1.0)
            points[n, 0] = start[edge, 0] + way[edge, 0] * share
            points[n, 1] = start[edge, 1] + way[edge, 1] * share
            edges[n] = edge
            n += 1
    return points, edges


@compiled
def _nearest(
    points: Float64, first: Int64, start: Float64, way: Float64, edges: Int64
) -> tuple[Array, Array]:
    distance = np.full(len(points), np.nan)
    nearest = np.full(len(points), -1, np.int64)
    for polygon in range(len(first) - 1):
        for point in range(first[polygon], first[polygon + 1]):
            best = np.inf
            for edge in range(edges[polygon], edges[polygon + 1]):
                x, y = points[point, 0] - start[edge, 0], points[point, 1] - start[edge, 1]
                along = (x * way[edge, 0] + y * way[edge, 1]) / (way[edge, 0] ** 2 + way[edge, 1] ** 2)
                along = min(1.0, max(0.0, along))
                off = (x - along * way[edge, 0]) ** 2 + (y - along * way[edge, 1]) ** 2
                if off < best:
                    best = off
                    distance[point] = np.sqrt(off)
                    nearest[point] = edge
    return distance, nearest
