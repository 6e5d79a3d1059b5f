"""Polygons of a map that holds class ids and no probability.

The outline lies half-way between the centers of two pixels of different classes, since nothing says where
else. In a coverage a small region goes to the class with which it has the longest border.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from geoseg.arrays import UInt8
from geoseg.config.units import Area
from geoseg.config.vectorize import Split, Vectorize
from geoseg.engine.vectorize import Store, find_shapes
from geoseg.grid.encoding import NODATA, SCALE, ProbabilityEncoding
from geoseg.grid.ground import ground_resolution
from geoseg.polygons.coverage.shared_borders import shared_sides
from geoseg.polygons.coverage.sieve import plan_sieve
from geoseg.polygons.shapes import Shapes
from geoseg.polygons.trace.regions import Strip

__all__ = ["EVEN", "ClassMap", "find_class_shapes"]

EVEN: Final = ProbabilityEncoding(classes=2, background=0)
"""Layout whose one band, equal everywhere, has the crossing of any two classes half-way."""
_EVIDENCE_BYTES: Final = 1 << 22
"""Of border lengths that are held at a time."""


@dataclass(frozen=True, slots=True)
class ClassMap(Store):
    """Class ids of a scene instead of probabilities: ``strips`` holds them in one band, 255 for no data."""

    classes: int
    """Ids are 0 … classes - 1, at most 255 of them."""
    least: int = 0
    """Regions of fewer pixels become part of their surroundings."""

    def classified(self) -> Iterator[Strip]:
        """The rows, small regions gone, with scores that put all crossings half-way."""
        certain = (_certain(ids) for (ids,) in self.strips())
        if self.least <= 1:
            return certain
        sieve = plan_sieve(self._borders(), self.grid.width, self.least)
        return sieve.apply(certain, self.layout.level)

    def _borders(self) -> Iterator[Strip]:
        """The rows with the lengths of borders in place of scores, a few at a time."""
        rows = max(1, _EVIDENCE_BYTES // (self.classes * self.grid.width))
        blank = np.full(self.grid.width, NODATA, np.uint8)
        above, held = blank, blank[:0].reshape(0, self.grid.width)
        for (ids,) in self.strips():
            for first in range(0, len(ids), rows):
                piece = ids[first : first + rows]
                if len(held):
                    yield _bordered(held, above, piece[0], self.classes)
                    above = held[-1]
                held = piece
        yield _bordered(held, above, blank, self.classes)


def _bordered(ids: UInt8, above: UInt8, below: UInt8, classes: int) -> Strip:
    return Strip(ids, ids, shared_sides(ids, above, below, classes))


def _certain(ids: UInt8) -> Strip:
    scores = np.where(ids == NODATA, np.uint8(NODATA), np.uint8(SCALE))
    return Strip(ids, scores, scores[None])


def find_class_shapes(store: ClassMap, classes: Sequence[int], options: Vectorize) -> Iterator[Shapes]:
    """Polygons of a class map, as :func:`geoseg.engine.vectorize.find_shapes` makes them of probabilities.

    Args:
        store: the ids, in the layout ``EVEN``.
        classes: ids to make polygons of.
        options: how; nothing in it is ``auto``. Objects are not split: no pixel is surer than another.

    Yields:
        Polygons in pixels; their ``score``, ``low`` and ``contrast`` mean nothing.

    Raises:
        GridError: a polygon has no place on the ground.
        ConfigError: a regularization that is not installed.
    """
    assert isinstance(options.min_area, Area)
    changes: dict[str, object] = {"split": Split(method="none")}
    if options.mode == "coverage":
        least = np.ceil(options.min_area.pixels(ground_resolution(store.grid).mean ** 2))
        store = replace(store, least=int(least))
        changes["min_area"] = Area(0, "px")  # done by the map itself
    return find_shapes(store, classes, options.model_copy(update=changes))
