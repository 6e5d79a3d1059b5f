"""Land cover without gaps: smooth outlines that neighbors share.

    classes → small regions to their best neighbor → sub-pixel outlines → fewer vertices on each arc

Laws (held by tests): the polygons are a valid coverage; their areas sum to that of the pixels with data; each
4-connected region is one polygon; every pixel's center lies in its region; strips of any height give the same
bits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from geoseg.polygons.coverage.arcs import simplify_rings
from geoseg.polygons.coverage.sieve import sieved
from geoseg.polygons.shapes import Shapes
from geoseg.polygons.trace.exact import trace_regions
from geoseg.polygons.trace.regions import Strip

__all__ = ["find_coverage"]


def find_coverage(
    strips: Callable[[], Iterator[Strip]],
    width: int,
    classes: Collection[int],
    level: float | None,
    *,
    min_pixels: int,
    tolerance: float,
) -> Iterator[Shapes]:
    """The regions of a scene, without gap or overlap, in the order of (last row, first pixel).

    ``strips`` gives consecutive rows from the top with all stored bands, from the start at each call.
    ``level`` is the stored value that separates two classes in the only band; None: a band per class. Between
    ``classes`` that are left out nothing is drawn. Regions below ``min_pixels`` go to their best neighbor.
    ``tolerance`` is how far an outline may move for fewer vertices, px; 0: not at all.
    """
    clean = sieved(strips, width, min_pixels, level) if min_pixels > 1 else strips()
    for regions in trace_regions(clean, width, classes, level=level, touching=True):
        if not len(regions):
            continue
        rings = simplify_rings(regions.rings, tolerance) if tolerance > 0 else regions.rings
        yield Shapes.of(replace(regions, rings=rings), "contour")
