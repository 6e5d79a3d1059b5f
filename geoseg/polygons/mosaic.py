"""Polygons of scenes that overlap as one layer: objects once, coverages without overlaps.

Two objects of different scenes are the same where they share at least half of the ground that they cover
together, whatever their classes. One that a scene's edge has cut is the same as a larger one of another
scene that holds at least four fifths of it. What stays does not depend on the order of scenes or objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely

from geoseg.arrays import Bool, Int64, Objects
from geoseg.polygons.trace.runs import group

__all__ = ["Counterparts", "Rank", "counterparts", "difference", "dropped", "touching", "united"]

_SAME_IOU: Final = 0.5
"""Intersection over union from which two objects are the same."""
_CONTAINED: Final = 0.8
"""Part of a cut object that lies in a larger one where both are the same."""

_GAP: Final = 0.75
"""Half of the gap in pixels that is closed between pieces which are united."""
_STEPS: Final = float(1 << 12)
"""Steps of a pixel on which pieces are united: their edges on a scene's edge are one but for rounding."""

Rank = tuple[bool, float, str, str]
"""Touches the edge, confidence negated, scene, id: what is smaller stays."""


@dataclass(frozen=True, slots=True, eq=False)
class Counterparts:
    """Pairs of objects of two scenes, as positions in both lists."""

    alike: Int64
    """Pairs that share half of their ground, shape (n, 2)."""
    within: Int64
    """Other pairs where one, cut by its scene's edge, lies in the other, larger one, shape (m, 2)."""
    first_holds: Bool
    """Of these, whether the larger one is of the first scene, shape (m,)."""


def counterparts(first: Objects, second: Objects, first_cut: Bool, second_cut: Bool) -> Counterparts:
    """Find the same objects in two scenes.

    The polygons are valid, shapes (a,) and (b,), in one CRS and any planar unit; ``first_cut`` and
    ``second_cut`` say of each whether it touches its scene's edge.
    """
    pairs = shapely.STRtree(second).query(first, predicate="intersects").T
    pairs = pairs[np.lexsort(pairs.T[::-1])].astype(np.int64)
    one, other = first[pairs[:, 0]], second[pairs[:, 1]]
    shared = shapely.area(shapely.intersection(one, other))
    areas = shapely.area(one), shapely.area(other)
    alike = shared >= _SAME_IOU * (areas[0] + areas[1] - shared)
    in_first = second_cut[pairs[:, 1]] & (areas[1] < areas[0]) & (shared >= _CONTAINED * areas[1])
    in_second = first_cut[pairs[:, 0]] & (areas[0] < areas[1]) & (shared >= _CONTAINED * areas[0])
    within = ~alike & (in_first | in_second)
    return Counterparts(pairs[alike], pairs[within], in_first[within])


def dropped(
    ranks: Sequence[Rank],
    areas: Sequence[float],
    alike: Sequence[tuple[int, int]],
    within: Sequence[tuple[int, int]],
) -> set[int]:
    """Which objects go, as positions in ``ranks`` (all distinct), so that no two which stay are the same.

    Pieces go first, the largest object that holds them deciding; then, of objects that are alike, those that
    a better one which stays is alike to. Whatever goes has a counterpart in another scene. ``alike`` are
    pairs of the same objects, ``within`` pairs of a larger object and the piece that it holds, as positions,
    too.
    """
    gone: set[int] = set()
    for larger, piece in sorted(within, key=lambda pair: (-areas[pair[1]], ranks[pair[1]])):
        # A larger object's own fate was settled before: as a piece it is larger than this one.
        if larger not in gone:
            gone.add(piece)
    ordered = (sorted(pair, key=ranks.__getitem__) for pair in alike)
    for better, worse in sorted(ordered, key=lambda pair: ranks[pair[1]]):
        # The better one's own fate was settled before, for the same reason.
        if better not in gone and worse not in gone:
            gone.add(worse)
    return gone


def difference(polygons: Objects, taken: Objects, least: float) -> tuple[Objects, Int64]:
    """Polygons without the ground that others cover already, and which of them each comes from.

    ``polygons``, shape (n,), and ``taken``, (m,), are valid and in one planar unit. Pieces of an area below
    ``least`` are left out, in the unit squared: rounding makes slivers along shared edges. What is left are
    single polygons, shape (k,), in the order of those they come from, of one polygon the largest part first.
    A polygon that none of ``taken`` covers comes back itself.
    """
    pairs = shapely.STRtree(taken).query(polygons, predicate="intersects")
    pairs = pairs[:, np.argsort(pairs[0], kind="stable")]
    met, starts = np.unique(pairs[0], return_index=True)
    others = np.split(pairs[1], starts[1:])
    left: Objects = polygons.copy()
    for n, neighbors in zip(met.tolist(), others, strict=False):
        left[n] = shapely.difference(polygons[n], shapely.union_all(taken[neighbors]))
    # What only touches its neighbors has lost nothing, whatever rounding did to its vertices.
    same = shapely.area(polygons) - shapely.area(left) < least
    left[same] = polygons[same]
    parts, source = shapely.get_parts(left, return_index=True)
    areas = shapely.area(parts)
    whole = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ((areas >= least) | same[source])
    parts, source, areas = parts[whole], source[whole], areas[whole]
    order = np.lexsort((-areas, source))
    return parts[order], source[order].astype(np.int64)


def touching(polygons: Objects, sources: Int64, classes: Int64, pixel: float) -> list[Int64]:
    """Groups of two or more polygons that go on in each other.

    Two polygons of different sources and one class do so where more than a pixel's length of their outlines
    is less than a pixel apart. ``pixel`` is its side. Groups and the positions in each are in rising order.
    """
    near = shapely.buffer(polygons, pixel, join_style="mitre")
    one, other = shapely.STRtree(polygons).query(near, predicate="intersects")
    apart = (sources[one] != sources[other]) & (classes[one] == classes[other])
    one, other = one[apart], other[apart]
    meet = shapely.area(shapely.intersection(near[one], polygons[other])) > pixel**2
    _, component = group(len(polygons), one[meet], other[meet])
    order = np.argsort(component, kind="stable")
    found = np.split(order, np.flatnonzero(np.diff(component[order])) + 1)
    return sorted((members for members in found if members.size > 1), key=lambda members: members[0])


def united(polygons: Objects, pixel: float) -> shapely.Polygon | None:
    """One polygon of several that touch, but for gaps of less than a pixel; None: they do not touch."""
    origin = np.array(polygons[0].bounds[:2])
    local = shapely.transform(polygons, lambda xy: np.round((xy - origin) / pixel * _STEPS) / _STEPS)
    whole: Any = shapely.union_all(local)
    if whole.geom_type != "Polygon":
        wider = shapely.buffer(whole, _GAP, join_style="mitre")
        whole = shapely.union(whole, shapely.buffer(wider, -_GAP, join_style="mitre"))
    whole = shapely.simplify(whole, 1 / _STEPS)
    if whole.geom_type != "Polygon" or not whole.is_valid:
        return None
    out: shapely.Polygon = shapely.orient_polygons(shapely.transform(whole, lambda xy: xy * pixel + origin))
    return out
