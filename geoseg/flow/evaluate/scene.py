"""Count one scene's map against its reference, strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geoseg.arrays import UInt8
from geoseg.config.stac.refs import LabelRef
from geoseg.engine.finished import PROBABILITY_NAME
from geoseg.errors import OutputError
from geoseg.grid.encoding import IGNORE, SCALE, ProbabilityEncoding
from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window, row_windows
from geoseg.io.labels.reader import LabelReader, counts_scene_pixels
from geoseg.io.raster.cog import strip_rows
from geoseg.io.raster.maps import TOP_BAND, MapReader
from geoseg.score.pixels.boundary import DEFAULT_WIDTH, BoundaryWidth, near_contour
from geoseg.score.tally import CellCounter, Extra, SceneTally

if TYPE_CHECKING:
    from geoseg.config.model.contract import ClassSpec

__all__ = ["Pair", "evaluate_scene", "label_reader", "strips"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A map of a scene, and the reference that it is scored against."""

    scene: str
    classes_tif: Path
    """The map: class ids, 255 = nodata."""
    label: LabelRef
    own: Callable[[], GeoBox]
    """Gives the scene's own pixels; called only where the reference counts in them."""


def evaluate_scene(
    pair: Pair, classes: Sequence[ClassSpec], width: BoundaryWidth = DEFAULT_WIDTH
) -> SceneTally:
    """Count one scene on its map's grid, by strips of about 4 million pixels: memory does not grow with it.

    Strips of the labels and the map overlap by the boundary's width, so that tiled equals whole; a width of
    many rows makes strips of twice as many. Probabilities count where there is a ``probability.tif`` beside
    the map.

    Raises:
        LabelError: the reference cannot be read, does not overlap, or has classes that the model has not.
        OutputError: there is no map, or it cannot be read.
        SceneError: the scene, which the reference counts in, cannot be opened.
    """
    if not pair.classes_tif.is_file():
        raise OutputError(f"there is no map {pair.classes_tif}; run the workflow first: geoseg run")
    counter = CellCounter(len(classes))
    with ExitStack() as files:
        chosen = files.enter_context(MapReader(pair.classes_tif))
        probabilities = _probabilities(pair, chosen.grid, classes, files)
        grid, reach = chosen.grid, width.reach(chosen.grid)
        labels = label_reader(pair, grid)
        bands = 1 if probabilities is None else len(probabilities.reader.bands)
        rows = max(1, strip_rows(grid.width) // bands, 2 * reach.rows)
        for core in row_windows(grid.shape, rows):
            row = core.row
            first, stop = max(0, row - reach.rows), min(grid.height, core.row_stop + reach.rows)
            wide = Window(first, 0, stop - first, grid.width)
            inner = slice(row - first, core.row_stop - first)
            truth = labels.read(wide)
            if (truth[inner] == IGNORE).all():
                continue
            (mapped,) = chosen.read(wide)
            counted = (truth != IGNORE) & (mapped != IGNORE)
            near = [near_contour(ids, counted, reach)[inner] for ids in (truth, mapped)]
            extra = Extra((near[0], near[1]))
            if probabilities is not None:
                extra = probabilities.beside(core, mapped[inner], extra)
            counter.add(row, 0, truth[inner], mapped[inner], extra)
    return counter.tally(pair.scene, repaired=labels.repaired, features=labels.features, reach=reach)


def strips(grid: GeoBox) -> Iterator[Window]:
    """A grid from the top, by strips of about 4 million pixels."""
    return row_windows(grid.shape, strip_rows(grid.width))


def label_reader(pair: Pair, grid: GeoBox) -> LabelReader:
    """The reference on a grid of its scene; raises as :func:`evaluate_scene`."""
    return LabelReader(pair.label, grid, pair.own() if counts_scene_pixels(pair.label) else grid)


@dataclass(frozen=True, slots=True)
class _Probabilities:
    """The probability raster beside a map."""

    reader: MapReader
    encoding: ProbabilityEncoding
    top: bool
    """Whether it holds the mapped class's probability alone."""

    def beside(self, window: Window, mapped: UInt8, known: Extra) -> Extra:
        """Probabilities of a window's pixels, beside what is known of them."""
        stored, encoding = self.reader.read(window), self.encoding
        confidence = stored[0] if self.top else encoding.confidence(stored, mapped)
        if not self.top and not encoding.binary:
            return Extra(known.near, stored, confidence)
        if encoding.classes != 2:  # noqa: PLR2004 - one probability tells both of two classes, not more
            return Extra(known.near, None, confidence)
        rest = SCALE - np.minimum(confidence, SCALE)
        each = [np.where(mapped == class_id, confidence, rest) for class_id in range(encoding.classes)]
        return Extra(known.near, np.stack(each), confidence)


def _probabilities(
    pair: Pair, grid: GeoBox, classes: Sequence[ClassSpec], files: ExitStack
) -> _Probabilities | None:
    path = pair.classes_tif.with_name(PROBABILITY_NAME)
    if not path.is_file():
        return None
    reader = files.enter_context(MapReader(path))
    background = next((one.id for one in classes if one.background), None)
    encoding = ProbabilityEncoding(len(classes), background, border=reader.border)
    top = reader.bands == (TOP_BAND,)
    if reader.grid != grid or len(reader.bands) != (1 if top else encoding.count):
        raise OutputError(
            f"{path} has {len(reader.bands)} bands of {reader.grid.height}×"
            f"{reader.grid.width} px, needed {encoding.count} (or the top one) on the grid of "
            f"{pair.classes_tif.name}, {grid.height}×{grid.width} px; map the scene again"
        )
    return _Probabilities(reader, encoding, top)
