"""Objects that several scenes show: which are the same, and which of them stays.

Two objects of different scenes are the same where they share at least half of the ground that they cover
together, whatever their classes. One that a scene's edge has cut is the same as a larger one of another
scene that holds at least four fifths of it. What stays does not depend on the order of scenes or objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ["CONTAINED", "SAME_IOU", "Counterparts", "Rank", "counterparts", "dropped"]

SAME_IOU: Final = 0.5
"""Intersection over union from which two objects are the same."""
CONTAINED: Final = 0.8
"""Part of a cut object that lies in a larger one where both are the same."""

Rank = tuple[bool, float, str, str]
"""Touches the edge, confidence negated, scene, id: what is smaller stays."""


@dataclass(frozen=True, slots=True, eq=False)
class Counterparts:
    """Pairs of objects of two scenes, as positions in both lists."""

    alike: NDArray[np.int64]
    """Pairs that share half of their ground, shape (n, 2)."""
    within: NDArray[np.int64]
    """Other pairs where one, cut by its scene's edge, lies in the other, larger one, shape (m, 2)."""
    first_holds: NDArray[np.bool_]
    """For each of these, whether the larger one is of the first scene, shape (m,)."""


def counterparts(
    first: NDArray[np.object_],
    second: NDArray[np.object_],
    first_cut: NDArray[np.bool_],
    second_cut: NDArray[np.bool_],
) -> Counterparts:
    """Find the same objects in two scenes.

    Args:
        first: valid polygons of one scene, in any planar unit, shape (a,).
        second: those of the other, in the same CRS, shape (b,).
        first_cut: whether each touches its scene's edge, shape (a,).
        second_cut: the same, shape (b,).
    """
    pairs = shapely.STRtree(second).query(first, predicate="intersects").T
    pairs = pairs[np.lexsort(pairs.T[::-1])].astype(np.int64)
    one, other = first[pairs[:, 0]], second[pairs[:, 1]]
    shared = shapely.area(shapely.intersection(one, other))
    areas = shapely.area(one), shapely.area(other)
    alike = shared >= SAME_IOU * (areas[0] + areas[1] - shared)
    in_first = second_cut[pairs[:, 1]] & (areas[1] < areas[0]) & (shared >= CONTAINED * areas[1])
    in_second = first_cut[pairs[:, 0]] & (areas[0] < areas[1]) & (shared >= CONTAINED * areas[0])
    within = ~alike & (in_first | in_second)
    return Counterparts(pairs[alike], pairs[within], in_first[within])


def dropped(
    ranks: Sequence[Rank],
    areas: Sequence[float],
    alike: Sequence[tuple[int, int]],
    within: Sequence[tuple[int, int]],
) -> set[int]:
    """Which objects go, so that no two of those which stay are the same.

    Pieces go first, the largest object that holds them deciding; then, of objects that are alike, those that
    a better one which stays is alike to. Whatever goes has a counterpart in another scene.

    Args:
        ranks: of each object; no two are equal.
        areas: of each object, in square units.
        alike: pairs of the same objects, as positions in ``ranks``.
        within: pairs of a larger object and the piece that it holds.

    Returns:
        Positions in ``ranks``.
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
