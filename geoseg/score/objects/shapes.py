"""How well single polygons are drawn: measures between predicted polygons and the true ones they stand for.

Every function takes two aligned arrays, pair by pair, in one planar CRS of any unit. A pair without a
predicted polygon (None or empty) is missed: its IoU and C-IoU are 0 and the other measures NaN, undefined.
"""

from __future__ import annotations

import numpy as np
import shapely

from geoseg.arrays import Float64, Int64, Objects
from geoseg.errors import GridError
from geoseg.grid.polygon_iou import polygon_iou
from geoseg.score.objects.outlines import Outlines
from geoseg.score.objects.shape_values import ShapeMeasures, ShapeSummary

__all__ = [
    "RIGHT_ANGLE_TOLERANCE",
    "ShapeMeasures",
    "ShapeSummary",
    "hausdorff",
    "iou",
    "polis",
    "right_angles",
    "shape_measures",
    "tangent_error",
]


RIGHT_ANGLE_TOLERANCE = 1.0
"""Degrees that a right angle may be off."""
_HIGH = 0.95
"""Quantile that stands for the largest tangent error of a polygon."""


def shape_measures(predicted: Objects, true: Objects, *, step: float) -> ShapeMeasures:
    """All measures of pairs of polygons.

    Args:
        predicted: Polygons, MultiPolygons, None or empty; shape (N,). Invalid ones are repaired for the IoU
            and measured as they are else.
        true: Polygons or MultiPolygons, shape (N,).
        step: distance of the points that the Hausdorff distance and the tangent error look at, in the
            polygons' unit, such as a third of a pixel.

    Raises:
        GridError: arrays of different length, a step that is not above zero, or geometries without an area.

    >>> square = shapely.box(0, 0, 10, 10)
    >>> wider = shapely.box(0, 0, 12, 10)
    >>> found = shape_measures(np.array([wider]), np.array([square]), step=0.1).summary()
    >>> round(found.iou, 3), round(found.polis, 3), found.hausdorff, found.n_ratio, round(found.area_bias, 3)
    (0.833, 0.5, 2.0, 1.0, 0.2)
    """
    _check(predicted, true, step)
    found, truth = Outlines.of(predicted), Outlines.of(true)
    overlap = iou(predicted, true)
    corners, true_corners = found.vertices, truth.vertices
    off = np.abs(corners - true_corners) / np.maximum(corners + true_corners, 1)
    present = corners > 0
    return ShapeMeasures(
        iou=overlap,
        c_iou=overlap * (1 - off),
        polis=_polis(found, truth),
        hausdorff=_hausdorff(found, truth, step),
        tangent_error=_tangent_error(found, truth, step),
        right_angles=_right_angles(found, RIGHT_ANGLE_TOLERANCE),
        vertices=corners,
        true_vertices=true_corners,
        area=np.nan_to_num(shapely.area(predicted)),
        true_area=np.nan_to_num(shapely.area(true)),
        present=present,
        valid=present & shapely.is_valid(predicted),
    )


def iou(predicted: Objects, true: Objects) -> Float64:
    """Intersection over union of each pair; symmetric.

    Args:
        predicted: as for :func:`shape_measures`.
        true: likewise.

    Returns:
        float64, shape (N,): 0 where one is missing, NaN where both are.

    Raises:
        GridError: arrays of different length, or geometries without an area.
    """
    _check(predicted, true)
    return polygon_iou(_repaired(predicted), _repaired(true))


def polis(predicted: Objects, true: Objects) -> Float64:
    """PoLiS distance of each pair; symmetric.

    The mean distance of one polygon's vertices to the other's boundary, averaged over both ways (Avbelj,
    Müller & Bamler 2014, "A Metric for Polygon Comparison and Building Extraction Evaluation").

    Args:
        predicted: as for :func:`shape_measures`.
        true: likewise.

    Returns:
        In the polygons' unit, float64, shape (N,); NaN where one is missing.

    Raises:
        GridError: arrays of different length, or geometries without an area.
    """
    _check(predicted, true)
    return _polis(Outlines.of(predicted), Outlines.of(true))


def hausdorff(predicted: Objects, true: Objects, *, step: float) -> Float64:
    """Hausdorff distance between the boundaries of each pair; symmetric.

    Edges count in full, not only their vertices: points are taken along them, so that the distance is at
    most half a step too short.

    Args:
        predicted: as for :func:`shape_measures`.
        true: likewise.
        step: distance of the points, in the polygons' unit.

    Returns:
        In the polygons' unit, float64, shape (N,); NaN where one is missing.

    Raises:
        GridError: as :func:`shape_measures`.
    """
    _check(predicted, true, step)
    return _hausdorff(Outlines.of(predicted), Outlines.of(true), step)


def tangent_error(predicted: Objects, true: Objects, *, step: float) -> Float64:
    """Largest angle between the predicted boundary and the true one where it is nearest.

    The max tangent angle error of Girard et al. 2021 ("Polygonal Building Segmentation by Frame Field
    Learning"), except that they take the maximum along a contour and this the 95th percentile of the points
    along all of a polygon's rings: a point beside a corner, nearest to the other edge, makes any maximum 90.

    Args:
        predicted: as for :func:`shape_measures`.
        true: likewise.
        step: distance of the points, in the polygons' unit.

    Returns:
        Degrees, 0 to 90, float64, shape (N,); NaN where one is missing.

    Raises:
        GridError: as :func:`shape_measures`.
    """
    _check(predicted, true, step)
    return _tangent_error(Outlines.of(predicted), Outlines.of(true), step)


def right_angles(polygons: Objects, tolerance: float = RIGHT_ANGLE_TOLERANCE) -> Float64:
    """Share of each polygon's vertices whose angle is 90° or 270°.

    Args:
        polygons: Objects, MultiPolygons, None or empty; shape (N,).
        tolerance: degrees that the angle may be off.

    Returns:
        float64, shape (N,); NaN where there are no vertices.
    """
    return _right_angles(Outlines.of(polygons), tolerance)


def _check(predicted: Objects, true: Objects, step: float = 1.0) -> None:
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


def _repaired(polygons: Objects) -> Objects:
    valid = shapely.is_valid(polygons) | shapely.is_missing(polygons)
    if valid.all():
        return polygons
    out = polygons.copy()
    out[~valid] = shapely.make_valid(polygons[~valid], method="structure", keep_collapsed=False)
    return out


def _polis(found: Outlines, truth: Outlines) -> Float64:
    there, _ = truth.nearest(found.start, found.first)
    back, _ = found.nearest(truth.start, truth.first)
    return (_means(there, found.first) + _means(back, truth.first)) / 2


def _hausdorff(found: Outlines, truth: Outlines, step: float) -> Float64:
    largest = np.zeros(len(found.first) - 1)
    for one, other in ((found, truth), (truth, found)):
        points, edge = one.sampled(step)
        for places, first in ((one.start, one.first), (points, one.firsts(edge))):
            distance, _ = other.nearest(places, first)
            largest = np.maximum(largest, _maxima(distance, first))
    return largest


def _tangent_error(found: Outlines, truth: Outlines, step: float) -> Float64:
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


def _right_angles(outlines: Outlines, tolerance: float) -> Float64:
    right = np.abs(outlines.turns() - 90) <= tolerance
    return _means(right.astype(np.float64), outlines.first)


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
