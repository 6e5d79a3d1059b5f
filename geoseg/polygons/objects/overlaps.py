"""What a fit has taken from its neighbors or from beyond the scene, cut off again.

Of two fits that overlap one keeps the overlap and the other is cut along its outline. A cut alone leaves its
ends in one of both; the other's edge passes them at the distance of a rounding, and GIS software finds the
overlap of that width, and the missing vertices. So both get the points where their outlines cross (x) as
vertices first (p, q), and share the border between them to the bit:

    +-------+                +-------+
    | A +---x---+            | A +---p---+
    |   |   |   |     ->     |   |       |
    +---x---+   |            +---q   B   |
        |     B |                |       |
        +-------+                +-------+
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely

from geoseg.arrays import Bool, Int64, Objects
from geoseg.grid.geobox import GeoBox
from geoseg.polygons.objects.noding import STEPS, Outlines, find_crossings, ranges, with_vertices
from geoseg.polygons.shared_area import shared_areas

__all__ = ["cut_overlaps", "snapped", "within_area", "within_scene", "without_others"]

_NOTHING: Final = 1e-9
"""Overlaps of less area than this, in square pixels, are rounding."""


def cut_overlaps(fits: Objects, contours: Objects, wanted: Bool) -> tuple[Objects, Bool]:
    """The wanted polygons without what belongs to their neighbors, and which of them lost something.

    Of two fits that overlap, the one whose contour holds more of the overlap keeps it; of equals the first.
    Who keeps what follows from the fits as they came, so neither the order nor what else is given matters.
    Who keeps an overlap gets the vertices of those that end there. Where a polygon falls apart its largest
    part is kept; where nothing is left, its contour.

    ``fits``, shape (n,), on the steps of :mod:`~geoseg.polygons.objects.noding`, are all that may overlap the
    wanted ones; ``contours`` what each was fitted to: these do not overlap.
    """
    chosen = np.flatnonzero(wanted)
    cut, lost = fits[chosen], np.zeros(chosen.size, np.bool_)
    groups = _groups(fits, contours, wanted)
    if not groups.member.size:
        return shapely.orient_polygons(cut), lost
    needed = np.flatnonzero(groups.is_own | groups.keeps)
    noded = _noded(fits, groups, needed)
    is_own = groups.is_own[needed]
    place = np.searchsorted(chosen, groups.member[needed[is_own]])
    cut[place] = noded[is_own]

    group = groups.group[needed[~is_own]]
    winners = noded[~is_own]
    losers, number, count = np.unique(group, return_inverse=True, return_counts=True)
    if losers.size:
        taken = np.full((losers.size, count.max()), None, np.object_)
        taken[number, ranges(np.zeros_like(count), count)[1]] = winners
        several = count > 1
        taken[several, 0] = shapely.union_all(taken[several], axis=1)
        mine = place[losers]
        part = _largest(shapely.difference(cut[mine], taken[:, 0]))
        left = shapely.area(part) > _NOTHING
        cut[mine] = snapped(np.where(left, shapely.normalize(part), contours[chosen[mine]]))
        lost[mine] = True
    return shapely.orient_polygons(cut), lost


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """Each wanted polygon that overlaps others, with those, as equal-length arrays: a row for each member."""

    group: Int64
    """Number of the group, not falling; the groups are in the order of their own polygons."""
    member: Int64
    """Place of a polygon among all, rising within a group."""
    is_own: Bool
    """Whether it is the wanted polygon."""
    keeps: Bool
    """Whether it keeps what it shares with that one."""


def _groups(fits: Objects, contours: Objects, wanted: Bool) -> _Groups:
    one, other = _near(fits, wanted).T
    real = shared_areas(fits[one], fits[other]) > _NOTHING
    one, other = one[real], other[real]
    shared = shapely.intersection(fits[one], fits[other])
    part, of = shapely.get_parts(shared, return_index=True)
    is_area = shapely.get_type_id(part) == shapely.GeometryType.POLYGON
    part, of = part[is_area], of[is_area]
    first, second = (
        np.bincount(of, shared_areas(part, contours[n[of]]), minlength=one.size) for n in (one, other)
    )
    one_keeps = second <= first + _NOTHING
    own = np.concatenate([one, other])
    member, keeps = np.concatenate([other, one]), np.concatenate([~one_keeps, one_keeps])
    own, member, keeps = own[wanted[own]], member[wanted[own]], keeps[wanted[own]]
    alone = np.unique(own)
    own, member = np.append(own, alone), np.append(member, alone)
    keeps = np.append(keeps, np.zeros(alone.size, np.bool_))
    order = np.lexsort((member, own))
    own, member = own[order], member[order]
    return _Groups(np.searchsorted(alone, own), member, own == member, keeps[order])


def _near(fits: Objects, wanted: Bool) -> Int64:
    """Pairs of polygons whose boxes meet, one of them wanted: each once, the lower number first, (k, 2)."""
    bounds = shapely.bounds(fits)
    low = bounds[wanted, :2].min(axis=0, initial=np.inf)
    high = bounds[wanted, 2:].max(axis=0, initial=-np.inf)
    beside = np.flatnonzero((bounds[:, :2] <= high).all(axis=1) & (bounds[:, 2:] >= low).all(axis=1))
    chosen = np.flatnonzero(wanted)
    mine, other = shapely.STRtree(fits[beside]).query(fits[chosen])
    one, other = chosen[mine], beside[other]
    return _pairs(one[one != other], other[one != other])[0]


def _noded(fits: Objects, groups: _Groups, rows: Int64) -> Objects:
    """Members of groups, by their rows, with the vertices where they cross the others of their groups."""
    start = np.searchsorted(groups.group, np.arange(groups.group[-1] + 2))
    group = groups.group[rows]
    row, other = ranges(start[group], np.diff(start)[group])
    used, member = np.unique(groups.member, return_inverse=True)
    one, other = member[rows][row], member[other]
    row, one, other = row[one != other], one[one != other], other[one != other]
    pairs, pair = _pairs(one, other)
    outlines = Outlines.of(fits[used])
    found = find_crossings(outlines, pairs)
    of, point = ranges(found.start[pair], np.diff(found.start)[pair])
    edge = found.edge[point, (one > other)[of].astype(np.int64)]
    return with_vertices(fits[used], outlines, member[rows], row[of], edge, found.xy[point])


def _pairs(one: Int64, other: Int64) -> tuple[Int64, Int64]:
    """Each pair once, the lower number first, rising, shape (k, 2); and which of them each is, shape (n,)."""
    count = int(max(one.max(initial=0), other.max(initial=0))) + 1
    keys, pair = np.unique(np.minimum(one, other) * count + np.maximum(one, other), return_inverse=True)
    return np.stack(np.divmod(keys, count), axis=1), pair


def without_others(polygons: Objects, others: Objects) -> Objects:
    """Polygons without what others take of them, the largest part of each; shapely Polygons, shape (n,)."""
    out = polygons.copy()
    mine, other = shapely.STRtree(others).query(polygons, predicate="intersects")
    for index in np.unique(mine).tolist():
        takers = others[np.sort(other[mine == index])]
        out[index] = shapely.difference(polygons[index], shapely.union_all(takers))
    oriented: Objects = shapely.orient_polygons(snapped(_largest(out)))
    return oriented


def within_scene(polygons: Objects, box: GeoBox) -> tuple[Objects, Bool]:
    """Polygons, in pixels, without what lies beyond the scene's edge, and which of them lost something.

    Neighbors that share vertices do so to the bit, wherever their fits were computed.
    """
    return within_area(polygons, shapely.box(0, 0, box.width, box.height))


def within_area(polygons: Objects, area: shapely.Geometry) -> tuple[Objects, Bool]:
    """The same without what lies beyond an area, in pixels."""
    out = snapped(polygons)
    shapely.prepare(area)
    beyond = ~shapely.covers(area, out)
    inside = shapely.normalize(_largest(shapely.intersection(out[beyond], area)))
    out[beyond] = snapped(inside)
    return shapely.orient_polygons(out), beyond


def _largest(shapes: Objects) -> Objects:
    """The largest polygon of what an operation left of each; an empty one where it left none."""
    out: Objects = shapes.copy()
    for index in np.flatnonzero(shapely.get_type_id(shapes) != shapely.GeometryType.POLYGON).tolist():
        parts = shapely.get_parts(shapes[index])
        parts = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
        out[index] = parts[int(np.argmax(shapely.area(parts)))] if len(parts) else shapely.Polygon()
    return out


def snapped(polygons: Objects) -> Objects:
    """Valid polygons in pixels, on the steps; of what falls apart the largest part.

    Without spikes and necks that are narrower, they stay valid on the ground.
    """
    # Adding 0 makes -0, which has other bits, 0.
    out: Objects = shapely.transform(polygons, lambda points: np.round(points * STEPS) / STEPS + 0.0)
    invalid = ~shapely.is_valid(out)
    out[invalid] = _largest(shapely.make_valid(out[invalid]))
    return out
