"""Small regions of a class map become part of their surroundings, by what the scores say of them.

A region (4-connected, of one class) of fewer pixels than wanted is small. The smallest one (of equals that
whose first pixel comes first) takes, of the classes of the regions beside it, the one with the largest sum of
stored scores over its pixels (of equals the lowest), and so becomes one region with those neighbors. This
goes on until none is small, but for islands of data that are small as a whole. Pixels without data stay so,
and a region that is not small keeps all of its pixels.

The scene is passed twice, strip by strip: :func:`plan_sieve` finds what changes, :meth:`Sieve.apply` changes
it. Strips do not decide anything: small regions act upon each other only where they touch, so a cluster of
them between large regions and missing data is decided alone, as soon as all of it has been seen.

Memory: a plan takes 9 bytes for each upper end of a changed region. Planning takes about 150 bytes, and 10
more for each band, for each run of a strip and each small region whose cluster goes on below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import GridError
from geoseg.grid.encoding import NODATA, SCALE
from geoseg.polygons.coverage.sieve_plan import Open, advance
from geoseg.polygons.trace.regions import Strip
from geoseg.polygons.trace.runs import find_runs, group, touching_rows

__all__ = ["Sieve", "plan_sieve", "sieved"]


@dataclass(frozen=True, slots=True, eq=False)
class Sieve:
    """Which regions of a scene get another class."""

    top: NDArray[np.int64]
    """Upper ends of these regions: first pixels of runs with none of their region above, each a flat index,
    ``row × width + column``; shape (n,), rising."""
    class_id: NDArray[np.uint8]
    """Class that the region of each end gets, shape (n,)."""
    width: int
    """Columns of the scene."""

    def apply(self, strips: Iterable[Strip], level: float | None = None) -> Iterator[Strip]:
        """The scene without its small regions.

        Args:
            strips: consecutive rows from the top of the scene that the plan was made of; heights may differ.
            level: the stored value that separates two classes in the only band; None: a band per class.

        Yields:
            The same strips with their new classes, and the scores of these.

        Raises:
            GridError: a strip has no bands, or does not fit the width.
        """
        above = np.full(self.width, NODATA, np.uint8)
        changed_above = above
        row = 0
        for strip in strips:
            stored = _stored(strip, self.width, row)
            runs = find_runs(np.concatenate([above[None], strip.classes]))
            becomes = np.full(runs.start.size, -1, np.int64)
            span = slice(
                *np.searchsorted(self.top, (row * self.width, (row + len(strip.classes)) * self.width))
            )
            becomes[np.searchsorted(runs.start, self.top[span] - (row - 1) * self.width)] = self.class_id[
                span
            ]
            in_above = runs.start < self.width
            becomes[in_above] = changed_above[runs.start[in_above]]
            upper, lower = touching_rows(
                runs, np.flatnonzero(runs.start < runs.start[-1] - runs.start[-1] % self.width)
            )
            same = runs.value[upper] == runs.value[lower]
            count, number = group(becomes.size, upper[same], lower[same])
            of_region = np.full(count, -1, np.int64)
            np.maximum.at(of_region, number, becomes)  # all that is known of a region is the same
            becomes = np.where(of_region[number] < 0, runs.value, of_region[number])
            after = np.repeat(becomes.astype(np.uint8), runs.stop - runs.start).reshape(-1, self.width)
            above, changed_above = strip.classes[-1], after[-1]
            row += len(strip.classes)
            yield _changed(strip, stored, after[1:], level)


def sieved(
    strips: Callable[[], Iterable[Strip]], width: int, min_pixels: int, level: float | None = None
) -> Iterator[Strip]:
    """The scene without its small regions.

    Args:
        strips: consecutive rows from the top with all bands, each time anew.
        width: columns of the scene.
        min_pixels: smaller regions go.
        level: as for :meth:`Sieve.apply`.

    Yields:
        Strips of the heights that came.

    Raises:
        GridError: as :func:`plan_sieve`.
    """
    return plan_sieve(strips(), width, min_pixels).apply(strips(), level)


def plan_sieve(strips: Iterable[Strip], width: int, min_pixels: int) -> Sieve:
    """Find the small regions of a scene and decide what becomes of them.

    Args:
        strips: consecutive rows from the top, with all bands: one per class, or one for two classes.
        width: columns of the scene.
        min_pixels: smaller regions go.

    Raises:
        GridError: a strip has no bands or does not fit the width, or a pixel's class has no band or no score.
    """
    tops, class_ids = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    state: Open | None = None
    row = 0
    for strip in strips:
        stored = _stored(strip, width, row)
        state = Open.start(width, len(stored)) if state is None else state
        state, top, class_id = advance(state, strip.classes, stored, row, min_pixels)
        tops.append(top)
        class_ids.append(class_id)
        row += len(strip.classes)
    if state is not None:  # a row without data below the scene completes what is left
        blank = np.full((len(stored), 1, width), NODATA, np.uint8)
        _, top, class_id = advance(state, blank[0], blank, row, min_pixels)
        tops.append(top)
        class_ids.append(class_id)
    top = np.concatenate(tops)
    order = np.argsort(top)
    return Sieve(top[order], np.concatenate(class_ids)[order].astype(np.uint8), width)


def _stored(strip: Strip, width: int, row: int) -> NDArray[np.uint8]:
    """A strip's bands."""
    if strip.stored is None:
        raise GridError(f"rows from {row} came without bands; small regions are judged by the scores of all")
    if (
        strip.stored.shape[1:] != strip.classes.shape
        or strip.classes.shape[1] != width
        or not len(strip.classes)
    ):
        raise GridError(
            f"rows from {row} came as classes of shape {strip.classes.shape} and bands of shape "
            f"{strip.stored.shape}; needed rows {width} wide, as many in both"
        )
    return strip.stored


def _changed(
    strip: Strip, stored: NDArray[np.uint8], classes: NDArray[np.uint8], level: float | None
) -> Strip:
    """A strip with other classes."""
    is_new = classes != strip.classes
    scores = strip.scores.copy()
    if level is None:
        rows, cols = np.nonzero(is_new)
        scores[is_new] = stored[classes[is_new], rows, cols]
    else:
        scores[is_new] = SCALE - scores[is_new]  # what one class does not have, the other has
    return replace(strip, classes=classes, scores=scores)
