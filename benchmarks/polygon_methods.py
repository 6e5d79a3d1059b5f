"""One way from stored probabilities to polygons, run in a process of its own: its time is nobody else's.

Usage: python polygon_methods.py METHOD FOLDER SCENE …; FOLDER holds SCENE.npy and gets METHOD-SCENE.json,
with CPU seconds and polygons. Imports and compilation are not counted: a small scene goes first.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from scipy import ndimage
from shapely import Polygon
from synthetic.rooftops import RESOLUTION, make_rooftops

from geoseg.arrays import Objects, UInt8
from geoseg.config.vectorize import Regularization, Split, Vectorize
from geoseg.engine.vectorize import ProbabilityRaster, find_shapes
from geoseg.grid.encoding import SCALE, ProbabilityEncoding
from geoseg.grid.geobox import GeoBox
from geoseg.polygons.shapes import Shapes

__all__ = ["COVERINGS", "METHODS", "OURS", "missing", "polygons_of"]

Covering = tuple[Objects, UInt8]
"""Polygons and their classes."""

CRS, EAST, NORTH = "EPSG:32630", 500_000.0, 4_500_000.0
MIN_AREA, MIN_HOLE = 8 / RESOLUTION**2, 3 / RESOLUTION**2
"""Smallest object and hole of every method, px²: what geoseg leaves out unless told otherwise."""
OURS = "geoseg objects"
RUNS, ENOUGH = 2, 5.0
"""Runs of a method on a scene, and CPU seconds after which there are no more."""


def grid(stored: UInt8) -> GeoBox:
    """Where the scene lies."""
    origin = Affine.translation(EAST, NORTH) * Affine.scale(RESOLUTION, -RESOLUTION)
    return GeoBox(*stored.shape[-2:], origin, CRS)


def level() -> float:
    """The stored value that separates buildings from the rest."""
    value = ProbabilityEncoding(2, 0).level
    assert value is not None
    return value


def ours(stored: UInt8, border: UInt8 | None = None, **changes: Any) -> Objects:
    """What a run of geoseg writes with its defaults, in pixels; with borders where the model knows them."""
    known = border is not None
    planes = stored[None] if border is None else np.stack([stored, border])
    options = Vectorize(mode="objects", **changes).resolved(binary=True, border=known)
    store = ProbabilityRaster(grid(stored), ProbabilityEncoding(2, 0, border=known), lambda: iter([planes]))
    return np.concatenate([shapes.polygons for shapes in find_shapes(store, [1], options)])


def large_enough(polygons: Objects) -> Objects:
    """Polygons without the small ones, and without small holes."""
    kept = polygons[shapely.area(polygons) >= MIN_AREA]
    for index in np.flatnonzero(shapely.get_num_interior_rings(kept)).tolist():
        holes = [hole for hole in kept[index].interiors if Polygon(hole).area >= MIN_HOLE]
        kept[index] = Polygon(kept[index].exterior, holes)
    return kept


def stairs(stored: UInt8) -> Objects:
    """GDAL's polygonizer through rasterio: outlines along the pixels."""
    from rasterio.features import shapes  # noqa: PLC0415 - each process loads what it measures

    mask = (stored > level()).astype(np.uint8)
    found = [shapely.geometry.shape(shape) for shape, _ in shapes(mask, mask=mask > 0, connectivity=4)]
    return large_enough(np.array(found, np.object_))


def marching_squares(stored: UInt8) -> Objects:
    """The probability's crossing of one half, by contourpy in a window per object."""
    from contourpy import FillType, contour_generator  # noqa: PLC0415 - as above

    labels, count = ndimage.label(stored > level())
    pixels = np.bincount(labels.ravel(), minlength=count + 1)
    found = []
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        if pixels[number] < MIN_AREA / 2:
            continue
        top, left = place[0].start - 1, place[1].start - 1
        rows, columns = place[0].stop + 1, place[1].stop + 1
        low = max(top, 0), max(left, 0)
        window = slice(low[0], rows), slice(low[1], columns)
        mine = np.where((labels[window] == number) | (labels[window] == 0), stored[window], 0)
        ends = max(0, rows - stored.shape[0]), max(0, columns - stored.shape[1])
        field = np.pad(mine.astype(np.float64), ((low[0] - top, ends[0]), (low[1] - left, ends[1])))
        y, x = (np.arange(n) + 0.5 for n in field.shape)
        lines = contour_generator(x + left, y + top, field, name="serial", fill_type=FillType.OuterOffset)
        for points, offsets in zip(*lines.filled(level(), np.inf), strict=True):
            rings = [points[first:end] for first, end in pairwise(offsets)]
            found.append(Polygon(rings[0], rings[1:]))
    return large_enough(np.array(found, np.object_))


def simplified(make: Callable[[UInt8], Objects], tolerance: float, stored: UInt8) -> Objects:
    """Outlines by Douglas and Peucker; the tolerance in meters."""
    return shapely.simplify(make(stored), tolerance / RESOLUTION)


def framed(polygons: Objects) -> Any:
    """Polygons on the ground, for tools that take a GeoDataFrame in meters."""
    import geopandas  # noqa: PLC0415 - as above

    ground = shapely.transform(polygons, lambda xy: xy * [RESOLUTION, -RESOLUTION] + [EAST, NORTH])
    return geopandas.GeoDataFrame(geometry=ground, crs=CRS)


def unframed(frame: Any) -> Objects:
    """Back to pixels, one polygon each."""
    parts = shapely.get_parts(frame.geometry.to_numpy())
    return shapely.transform(parts, lambda xy: (xy - [EAST, NORTH]) / [RESOLUTION, -RESOLUTION])


def smoothed(stored: UInt8) -> Objects:
    """The package smoothify on stairs, its defaults; neighbors are not merged, as these are objects."""
    from smoothify import smoothify  # noqa: PLC0415 - as above

    frame = framed(stairs(stored))
    return unframed(smoothify(frame, segment_length=RESOLUTION, num_cores=1, merge_collection=False))


def regularized(make: Callable[[UInt8], Objects], stored: UInt8, **options: float) -> Objects:
    """The package buildingregulariser."""
    from buildingregulariser import regularize_geodataframe  # noqa: PLC0415 - as above

    return unframed(regularize_geodataframe(framed(make(stored)), num_cores=1, **options))


def traced(stored: UInt8) -> Objects:
    """The package potracer (Potrace in Python), curves as four chords each."""
    import potrace  # noqa: PLC0415 - as above

    bitmap = potrace.Bitmap(stored <= level())  # it traces what is black: False
    rings = []
    for curve in bitmap.trace(turdsize=20, alphamax=1.0, opttolerance=0.2):
        points = [(curve.start_point.x, curve.start_point.y)]
        for segment in curve.segments:
            end = segment.end_point.x, segment.end_point.y
            if segment.is_corner:
                points += [(segment.c.x, segment.c.y), end]
                continue
            control = np.array([points[-1], *((p.x, p.y) for p in (segment.c1, segment.c2)), end])
            t = np.array([0.25, 0.5, 0.75, 1.0])[:, None]
            weights = np.hstack([(1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3])
            points += [tuple(point) for point in weights @ control]
        rings.append(shapely.linearrings(points))
    # Outer and inner curves come mixed: what lies in an odd number of them is inside.
    area = shapely.build_area(shapely.geometrycollections(rings))
    return large_enough(shapely.get_parts(area))


def rectangles(stored: UInt8) -> Objects:
    """The smallest rectangle round each object."""
    return shapely.minimum_rotated_rectangle(stairs(stored))


METHODS: dict[str, tuple[Callable[[UInt8], Objects], tuple[str, ...]]] = {
    OURS: (ours, ()),
    "geoseg objects unsplit": (partial(ours, split=Split(method="none")), ()),
    "geoseg contours": (partial(ours, regularize=Regularization(method="none")), ()),
    "shapes (stairs)": (stairs, ()),
    "shapes + simplify 0.6 m": (partial(simplified, stairs, 0.6), ()),
    "marching squares": (marching_squares, ("contourpy",)),
    "marching squares + simplify 0.15 m": (partial(simplified, marching_squares, 0.15), ("contourpy",)),
    "marching squares + simplify 0.6 m": (partial(simplified, marching_squares, 0.6), ("contourpy",)),
    "potracer": (traced, ("potrace",)),
    "smoothify": (smoothed, ("smoothify",)),
    "buildingregulariser": (partial(regularized, stairs), ("buildingregulariser",)),
    "buildingregulariser tuned": (
        partial(regularized, stairs, simplify_tolerance=1.0, parallel_threshold=2.0),
        ("buildingregulariser",),
    ),
    "buildingregulariser on marching squares": (
        partial(regularized, marching_squares, simplify_tolerance=0.6, parallel_threshold=1.5),
        ("buildingregulariser", "contourpy"),
    ),
    "smallest rectangle": (rectangles, ()),
}
"""Ways from a building's probability to its polygon, and the packages they ask for."""


def covering(tolerance: float, least: int, stored: UInt8) -> Covering:
    """The coverage of all classes by geoseg."""
    options = Vectorize(mode="coverage", min_area=f"{least} px", simplify=f"{tolerance} px")
    encoding = ProbabilityEncoding(len(stored), None)
    store = ProbabilityRaster(grid(stored), encoding, lambda: iter([stored]))
    found = Shapes.join(find_shapes(store, range(len(stored)), options.resolved(binary=False)))
    return found.polygons, found.class_id


def regions(stored: UInt8) -> Covering:
    """GDAL's polygons of all classes."""
    from rasterio.features import shapes  # noqa: PLC0415 - as above

    classes = ProbabilityEncoding(len(stored), None).classify(stored)
    found = [(shapely.geometry.shape(shape), class_id) for shape, class_id in shapes(classes, connectivity=4)]
    polygons, ids = zip(*found, strict=True)
    return np.array(polygons, np.object_), np.array(ids, np.uint8)


def noded(polygons: Objects) -> Objects:
    """The same outlines with a vertex wherever another region's outline has one: a valid coverage.

    Corners of pixels are integers: every unit step of an outline is looked up in the set of corners.
    """
    unit = shapely.segmentize(polygons, 1.0)
    kind, points, (rings, parts) = shapely.to_ragged_array(unit)
    corner = np.rint(shapely.get_coordinates(polygons)).astype(np.int64)
    place = np.rint(points).astype(np.int64)
    taken = np.zeros(place.max(axis=0) + 1, np.bool_)
    taken[corner[:, 0], corner[:, 1]] = True
    kept = taken[place[:, 0], place[:, 1]]
    starts = np.concatenate([[0], np.cumsum(kept)])[rings]
    return shapely.from_ragged_array(kind, points[kept], (starts, parts))


def coverage_simplified(tolerance: float, stored: UInt8) -> Covering:
    """Simplification of coverages by shapely, on stairs that are one."""
    polygons, classes = regions(stored)
    return shapely.coverage_simplify(noded(polygons), tolerance, simplify_boundary=False), classes


def each_simplified(tolerance: float, stored: UInt8) -> Covering:
    """Each region on its own."""
    polygons, classes = regions(stored)
    return shapely.simplify(polygons, tolerance), classes


COVERINGS: dict[str, Callable[[UInt8], Covering]] = {
    "geoseg coverage 0 px": partial(covering, 0.0, 0),
    "geoseg coverage 0.5 px": partial(covering, 0.5, 0),
    "geoseg coverage 0.75 px": partial(covering, 0.75, 0),
    "geoseg coverage 0.5 px, from 16 px on": partial(covering, 0.5, 16),
    "regions (stairs)": regions,
    "regions + simplify 1 px": partial(each_simplified, 1.0),
    "regions + nodes + coverage_simplify 1 px": partial(coverage_simplified, 1.0),
    "regions + nodes + coverage_simplify 1.5 px": partial(coverage_simplified, 1.5),
}
"""Ways from scores of land cover to polygons and their classes."""


def missing(method: str) -> list[str]:
    """Packages that a method asks for and that are not installed."""
    needed = METHODS[method][1] if method in METHODS else ()
    return [package for package in needed if find_spec(package) is None]


def polygons_of(method: str, stored: UInt8) -> tuple[Objects, UInt8, float]:
    """What a method makes of a scene, once everything is loaded and compiled.

    Args:
        method: a name of :data:`METHODS` or :data:`COVERINGS`.
        stored: the scene.

    Returns:
        Polygons in pixels, their classes (buildings: all 1), and CPU seconds: the fewer of two runs, of
        one where it takes long.
    """
    town = np.rint(SCALE * make_rooftops(3, "mid", seed=5).probability).astype(np.uint8)
    if method in METHODS:
        make: Callable[[UInt8], Objects | Covering] = METHODS[method][0]
        make(town)
    else:
        make = COVERINGS[method]
        make(np.stack([town, SCALE - town]))
    times: list[float] = []
    while len(times) < RUNS and sum(times) < ENOUGH:
        gc.collect()
        start = time.process_time()
        found = make(stored)
        times.append(time.process_time() - start)
    polygons, classes = found if isinstance(found, tuple) else (found, np.ones(len(found), np.uint8))
    return polygons, classes, min(times)


def main(method: str, folder: Path, *scenes: str) -> None:
    """Run a method on scenes."""
    for scene in scenes:
        polygons, classes, seconds = polygons_of(method, np.load(folder / f"{scene}.npy"))
        result = {
            "seconds": seconds,
            "polygons": shapely.to_wkb(polygons, hex=True).tolist(),
            "classes": classes.tolist(),
        }
        (folder / f"{method}-{scene}.json").write_text(json.dumps(result), encoding="ascii")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
