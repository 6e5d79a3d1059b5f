"""What calls the loops of polygons, so that one process of a machine compiles them and the others wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final, Literal

import numpy as np
from affine import Affine

from geoseg.arrays import UInt8
from geoseg.compiled import compile_once
from geoseg.config.vectorize import Vectorize
from geoseg.engine.vectorize import (
    ProbabilityRaster,
    SceneRows,
    find_objects_across,
    find_objects_between,
    find_shapes,
    join_objects,
)
from geoseg.grid.encoding import NODATA, SCALE, ProbabilityEncoding
from geoseg.grid.geobox import GeoBox
from geoseg.polygons.objects.sections import Section

__all__ = ["EXERCISES", "compile_loops", "exercise_coverage", "exercise_exact", "exercise_objects"]

_SIDE: Final = 160
"""Rows and columns of the town whose polygons are made, in pixels."""
_BOX: Final = GeoBox(_SIDE, _SIDE, Affine(0.3, 0, 500_000, 0, -0.3, 5_000_000), "EPSG:32633")


def compile_loops(mode: Literal["auto", "exact", "objects", "coverage"]) -> None:
    """Compile the loops of a mode of polygons, unless they are; waits where another process is at it."""
    compile_once(EXERCISES[mode])


def exercise_exact() -> None:
    """Call the loops of outlines along the pixels."""
    _find(Vectorize(mode="exact").resolved(binary=True), _town(1), ProbabilityEncoding(2, 0))


def exercise_coverage() -> None:
    """Call the loops of coverages."""
    _find(Vectorize(mode="coverage").resolved(binary=False), _town(3), ProbabilityEncoding(3, None))


def exercise_objects() -> None:
    """Call the loops of objects, with borders and without, of a whole scene and of its sections."""
    for border in (True, False):
        options = Vectorize(mode="objects").resolved(binary=True, border=border)
        encoding = ProbabilityEncoding(2, 0, border=border)
        town = _town(1 + border)
        _find(options, town, encoding)
        strips = partial(_rows, town)
        sections = []
        for part in ((0, _SIDE // 2), (_SIDE // 2, _SIDE)):
            raster = ProbabilityRaster(_BOX, encoding, partial(strips, *part))
            found = find_objects_between(raster, part, encoding.class_ids, options)
            sections.append(Section.unpack(found.pack()))
        rows = SceneRows(_BOX, encoding, strips)
        joint = find_objects_across(rows, sections[0], sections[1], encoding.class_ids, options)
        for _ in join_objects(rows, sections, [joint], encoding.class_ids, options):
            pass


EXERCISES: Final[Mapping[str, Callable[[], None]]] = {
    "exact": exercise_exact,
    "objects": exercise_objects,
    "coverage": exercise_coverage,
}
"""By mode: what calls its loops, each with the types of a map."""


def _find(options: Vectorize, town: UInt8, encoding: ProbabilityEncoding) -> None:
    raster = ProbabilityRaster(_BOX, encoding, lambda: iter(np.array_split(town, 2, axis=1)))
    for _ in find_shapes(raster, encoding.class_ids, options):
        pass


def _rows(town: UInt8, first: int, stop: int) -> Iterator[UInt8]:
    yield town[:, first:stop]


def _town(bands: int) -> UInt8:
    """Probabilities of a crowded town: houses at all angles that overlap, some with a court, some round."""
    chance = np.random.default_rng(1)
    rows, cols = np.mgrid[:_SIDE, :_SIDE].astype(np.float64)
    found = np.empty((bands, _SIDE, _SIDE), np.uint8)
    for band in found:
        inside = chance.normal(-4, 0.4, rows.shape)  # px to the nearest outline, and noise
        for x, y, angle, half in chance.uniform((0, 0, 0, 5), (_SIDE, _SIDE, np.pi, 16), (24, 4)):
            along = (cols - x) * np.cos(angle) + (rows - y) * np.sin(angle)
            across = (rows - y) * np.cos(angle) - (cols - x) * np.sin(angle)
            house = half - np.maximum(abs(along), 0.7 * abs(across))
            house = half - np.hypot(along, across) if angle < 0.5 else house  # noqa: PLR2004 - radians
            court = 4 - np.hypot(along, across) if angle > 2.5 else -house  # noqa: PLR2004 - radians
            inside = np.maximum(inside, np.minimum(house, -court))
        band[:] = np.clip(SCALE / 2 + 25 * inside, 0, SCALE)
    found[:, :8, :8] = NODATA
    return found
