"""Which mapped object stands for which object of the reference, and what went wrong with the others.

Polygons of both sides are in one planar CRS of any unit, such as the pixels of the scene: IoU and shares of
areas stay the same when both sides are moved, turned, stretched or sheared alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.arrays import Bool, Float64, Int64, Objects
from geoseg.grid.polygons import repaired

__all__ = ["LEAST_IOU", "Matching", "Outcome", "match_objects", "overlaps"]


LEAST_IOU = 0.5
"""IoU from which a mapped object stands for one of the reference."""
MOSTLY = 0.5
"""An object lies mostly in another one where more than this share of its own area does."""
_MOST_VERTICES = 256
"""Vertices of a polygon that is compared whole."""
_MOST_CELLS = 8
"""Rows and columns of the grid that others are cut by, at most."""
_MOST_CUTS = 4
"""How often pieces are cut again."""


class Outcome(IntEnum):
    """What became of an object; each has one outcome, the first that holds."""

    EXCLUDED = 0
    """Not scored: the edge of the labeled area cuts it, or it stands for an object that the edge cuts."""
    MATCHED = 1
    """It is one of a pair of IoU 0.5 or more."""
    MERGED = 2
    """Mapped: two or more objects of the reference lie mostly in it. Reference: it is one of those."""
    SPLIT = 3
    """Reference: two or more mapped objects lie mostly in it. Mapped: it is one of those."""
    FALSE = 4
    """Mapped, and none of the above."""
    MISSED = 5
    """Of the reference, and none of the above."""


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """The M pairs of a mapped and a reference polygon that share some area, each of shape (M,)."""

    mapped: Int64
    reference: Int64
    iou: Float64
    of_mapped: Float64
    """Shared area as a share of the mapped polygon's."""
    of_reference: Float64


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """What became of the P mapped objects and the R objects of the reference.

    Of mapped objects, shape (P,): ``partner``, the object of the reference that each stands for (-1: none);
    ``iou`` with the partner, without one the largest with any object; ``outcome``, an :class:`Outcome`. The
    ``reference_`` arrays, shape (R,), say the same of the reference's objects.
    """

    partner: Int64
    iou: Float64
    outcome: NDArray[np.int8]
    reference_partner: Int64
    reference_iou: Float64
    reference_outcome: NDArray[np.int8]


def overlaps(mapped: Objects, reference: Objects) -> Overlaps:
    """Pairs of polygons that share some area, by a spatial index: cost follows the number of pairs.

    Polygons of very many vertices, such as all roads of a town, are cut into pieces first: each of their
    thousands of neighbors would else go through all of their vertices. Invalid polygons are repaired.
    """
    one, other = repaired(mapped), repaired(reference)
    (pieces, owner), (others, other_owner) = _pieces(one), _pieces(other)
    here, there = shapely.STRtree(others).query(pieces, predicate="intersects")
    both = shapely.area(shapely.intersection(pieces[here], others[there]))
    some = both > 0
    pair = owner[here[some]] * len(other) + other_owner[there[some]]
    pairs, which = np.unique(pair, return_inverse=True)
    shared = np.bincount(which, both[some], minlength=len(pairs))
    first, second = np.divmod(pairs, max(1, len(other)))
    area, reference_area = shapely.area(one)[first], shapely.area(other)[second]
    either = area + reference_area - shared
    return Overlaps(first, second, shared / either, shared / area, shared / reference_area)


def match_objects(
    mapped: Objects, reference: Objects, *, cut: Bool | None = None, reference_cut: Bool | None = None
) -> Matching:
    """Pair objects off and say what became of each.

    Pairs of IoU 0.5 or more are taken from the largest IoU down, each object once; of equal IoU, the first
    mapped object goes first, then the first of the reference. Where the mapped objects do not overlap each
    other, and the reference's neither, an object has one possible partner only, so that any order finds the
    same.

    An object is excluded that is cut, whose partner is cut, or that has no partner and lies mostly in an
    object of the other side that is cut: what the whole of it would have scored is unknown.

    Args:
        mapped: Polygons or MultiPolygons in one planar CRS, shape (P,); invalid ones are repaired.
        reference: likewise, shape (R,).
        cut: which mapped objects the edge of the labeled area cuts, or lie outside of it; None: none.
        reference_cut: likewise of the reference.

    >>> squares = shapely.box([0, 20], 0, [10, 30], 10)
    >>> found = match_objects(squares, shapely.box([0, 40], 0, [8, 50], 10))
    >>> found.partner, found.iou
    (array([ 0, -1]), array([0.8, 0. ]))
    >>> [Outcome(code).name for code in (*found.outcome, *found.reference_outcome)]
    ['MATCHED', 'FALSE', 'MATCHED', 'MISSED']
    """
    cut = np.zeros(len(mapped), np.bool_) if cut is None else cut
    reference_cut = np.zeros(len(reference), np.bool_) if reference_cut is None else reference_cut
    found = overlaps(mapped, reference)
    partner, reference_partner = _paired(found, len(mapped), len(reference))
    out, reference_out = _left_out(found, partner, reference_partner, cut, reference_cut)
    scored = ~out[found.mapped] & ~reference_out[found.reference]
    # Reference objects that lie mostly in a mapped one, and mapped ones mostly in one of the reference.
    covered = scored & (found.of_reference > MOSTLY)
    pieces = scored & (found.of_mapped > MOSTLY)
    merges = np.bincount(found.mapped[covered], minlength=len(mapped)) > 1
    splits = np.bincount(found.reference[pieces], minlength=len(reference)) > 1
    merged = np.isin(np.arange(len(reference)), found.reference[covered & merges[found.mapped]])
    piece = np.isin(np.arange(len(mapped)), found.mapped[pieces & splits[found.reference]])

    iou, reference_iou = np.zeros(len(mapped)), np.zeros(len(reference))
    np.maximum.at(iou, found.mapped, found.iou)
    np.maximum.at(reference_iou, found.reference, found.iou)
    paired = partner[found.mapped] == found.reference
    iou[found.mapped[paired]] = reference_iou[found.reference[paired]] = found.iou[paired]
    return Matching(
        partner=partner,
        iou=iou,
        outcome=_outcomes(out, partner >= 0, merges, piece, Outcome.FALSE),
        reference_partner=reference_partner,
        reference_iou=reference_iou,
        reference_outcome=_outcomes(reference_out, reference_partner >= 0, merged, splits, Outcome.MISSED),
    )


def _pieces(polygons: Objects) -> tuple[Objects, Int64]:
    """Objects, those of too many vertices cut by a grid until they are small; whose piece each is."""
    done, owners = [np.zeros(0, np.object_)], [np.zeros(0, np.int64)]
    owner = np.arange(len(polygons))
    for cuts_left in reversed(range(_MOST_CUTS + 1)):
        vertices = shapely.get_num_coordinates(polygons)
        # Not for ever: where very many edges meet in one point, no piece round it gets small.
        large = (vertices > _MOST_VERTICES) & (cuts_left > 0)
        done.append(polygons[~large])
        owners.append(owner[~large])
        side = np.clip(np.ceil(np.sqrt(vertices[large] / _MOST_VERTICES)), 2, _MOST_CELLS).astype(np.int64)
        which = np.repeat(np.arange(len(side)), side**2)
        nth = np.arange(len(which)) - np.repeat(np.cumsum(side**2) - side**2, side**2)
        row, col = np.divmod(nth, side[which])
        left, bottom, right, top = shapely.bounds(polygons[large])[which].T
        across, up = (right - left) / side[which], (top - bottom) / side[which]
        x, y = left + col * across, bottom + row * up
        cells = shapely.intersection(polygons[large][which], shapely.box(x, y, x + across, y + up))
        parts, of_cell = shapely.get_parts(cells, return_index=True)
        areal = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
        polygons, owner = parts[areal], owner[large][which][of_cell[areal]]
    return np.concatenate(done), np.concatenate(owners)


def _paired(found: Overlaps, mapped: int, reference: int) -> tuple[Int64, Int64]:
    """Partners of both sides, from the largest IoU down."""
    partner, reference_partner = np.full(mapped, -1, np.int64), np.full(reference, -1, np.int64)
    enough = np.flatnonzero(found.iou >= LEAST_IOU)
    order = enough[np.lexsort((found.reference[enough], found.mapped[enough], -found.iou[enough]))]
    for one, other in zip(found.mapped[order].tolist(), found.reference[order].tolist(), strict=True):
        if partner[one] < 0 and reference_partner[other] < 0:
            partner[one], reference_partner[other] = other, one
    return partner, reference_partner


def _left_out(
    found: Overlaps, partner: Int64, reference_partner: Int64, cut: Bool, reference_cut: Bool
) -> tuple[Bool, Bool]:
    """Which objects of either side are not scored, see :func:`match_objects`."""

    def out(cut: Bool, partner: Int64, other_cut: Bool, inside: Int64) -> Bool:
        partner_cut = np.append(other_cut, False)[partner]  # -1, no partner: the False at the end
        lost: Bool = cut | partner_cut | ((partner < 0) & np.isin(np.arange(len(cut)), inside))
        return lost

    # Those that lie mostly in an object of the other side that is cut.
    inside = found.mapped[reference_cut[found.reference] & (found.of_mapped > MOSTLY)]
    reference_inside = found.reference[cut[found.mapped] & (found.of_reference > MOSTLY)]
    return (
        out(cut, partner, reference_cut, inside),
        out(reference_cut, reference_partner, cut, reference_inside),
    )


def _outcomes(out: Bool, matched: Bool, merged: Bool, split: Bool, rest: Outcome) -> NDArray[np.int8]:
    kinds = (Outcome.EXCLUDED, Outcome.MATCHED, Outcome.MERGED, Outcome.SPLIT)
    return np.select((out, matched, merged, split), kinds, rest).astype(np.int8)
