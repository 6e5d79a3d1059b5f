"""Several models' maps of the same ground, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import LabelError
from geoseg.score.bootstrap import Bootstrap, Interval, differences, intervals_of
from geoseg.score.pixels.confusion import defined
from geoseg.score.pixels.sums import Sums
from geoseg.score.report.comparison_text import comparison_markdown, comparison_text
from geoseg.score.report.values import Measure, Unscored, Value
from geoseg.score.tally import SceneTally, widest_side

__all__ = ["Comparison", "Cost", "ModelScore", "Place", "Scores", "aligned", "compare", "names_of"]


class Scores(Value):
    """Measures of one map, or how much more they are than another map's."""

    mean_iou: Measure
    """By the definition ``dataset``."""
    accuracy: Measure
    boundary_iou: Measure
    """Mean over the classes in the reference."""
    calibration_error: Measure
    """Expected; of the mapped class."""
    iou: tuple[Measure, ...]
    """Per class."""


class Cost(Value):
    """What a model takes."""

    parameters: int
    gflops_per_mpx: float
    """Multiply-adds of the convolutions per pixel of the network, in thousands: 10⁹ per megapixel."""
    weights_bytes: int
    """Size of the weights file."""
    network_mpx_per_second: float | None = None
    """Megapixels of windows predicted per second of one worker: reading, network, stitching, writing parts.
    Of this machine in this run; None: not measured."""
    map_mpx_per_second: float | None = None
    """The same in megapixels of map, which windows cover more than once."""


class ModelScore(Value):
    """One model."""

    model: str
    """Its name, told apart where several have the same."""
    version: str
    sha256: str
    """Of its weights."""
    scores: Scores
    difference: Scores | None = None
    """Against the first model, paired: the same cells in every draw; None: it is the first."""
    cost: Cost
    per_scene: tuple[float | None, ...]
    """Mean IoU of each scene, by the definition ``dataset``."""


class Place(Value):
    """A scene that all models were scored on."""

    scene: str
    labeled_pixels: int
    """Pixels with a label and a map, of the first model."""


class Comparison(Value):
    """Models on the same scenes, the first one being what the others are compared with."""

    classes: tuple[str, ...]
    models: tuple[ModelScore, ...]
    scenes: tuple[Place, ...]
    unscored: tuple[Unscored, ...] = ()
    """Scenes in no figure, and why."""
    grid: str
    """Which pixels were scored."""
    boundary_width: str
    machine: str
    """Where speed was measured."""
    cells: int
    """Cells that the intervals are drawn from."""
    cell_pixels: int
    """Side of a cell, in pixels of the map."""
    draws: int
    seed: int
    level: float

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values: numbers, text, null; no NaN."""
        return self.model_dump(mode="json")

    def text(self) -> str:
        """The comparison as tables for a terminal; no newline at its end."""
        return comparison_text(self)

    def markdown(self) -> str:
        """The comparison as Markdown tables; ends with a newline."""
        return comparison_markdown(self)


def aligned(models: Sequence[Sequence[SceneTally]]) -> tuple[int, list[Sums]]:
    """Each model's sums of the same cells in the same order, zeros where a model has nothing in a cell.

    Args:
        models: tallies of each model, of the same scenes in the same order, on the same grids.

    Returns:
        Side of the cells in pixels, see :func:`~geoseg.score.tally.widest_side`; the sums of each model.

    Raises:
        LabelError: other scenes, or another order.
    """
    scenes = [[tally.scene for tally in tallies] for tallies in models]
    if any(names != scenes[0] for names in scenes):
        raise LabelError(f"models are compared on the same scenes, got {scenes}")
    side = max(widest_side(tallies) for tallies in models)
    parts: list[list[Sums]] = [[] for _ in models]
    for tallies in zip(*models, strict=True):
        coarse = [tally.coarser(side) for tally in tallies]
        places = np.unique(np.concatenate([tally.places for tally in coarse]), axis=0)
        for tally, found in zip(coarse, parts, strict=True):
            found.append(_spread(tally, places))
    return side, [Sums.joined(found) for found in parts]


def _spread(tally: SceneTally, places: NDArray[np.int64]) -> Sums:
    """A scene's sums at more places than it has cells."""
    index = {place: row for row, place in enumerate(map(tuple, places.tolist()))}
    rows = [index[place] for place in map(tuple, tally.places.tolist())]

    def spread(array: NDArray[Any] | None) -> NDArray[Any] | None:
        if array is None:
            return None
        wide = np.zeros((len(places), *array.shape[1:]), array.dtype)
        wide[rows] = array
        return wide

    sums = tally.sums
    pixels = spread(sums.pixels)
    assert pixels is not None
    return Sums(pixels, spread(sums.boundary), spread(sums.calibration))


def compare(sums: Sequence[Sums], how: Bootstrap) -> list[tuple[Scores, Scores | None]]:
    """The scores of each model, and how much more they are than those of the first.

    Args:
        sums: of the same cells, from :func:`aligned`.
        how: draws, seed and level of the intervals.
    """
    found: list[tuple[Scores, Scores | None]] = []
    for place, one in enumerate(sums):
        values, intervals = one.total().measures(), intervals_of(one, how)
        names = {"boundary_iou": "mean_boundary_iou"}
        own = {
            key: _measures(values.get(name, np.full((1,), np.nan))[0], getattr(intervals, name))
            for key in Scores.model_fields
            for name in (names.get(key, key),)
        }
        away = None
        if place:
            more = differences(one, sums[0], how)
            away = {
                key: _measures(*more.get(names.get(key, key), (np.array(np.nan), None)))
                for key in Scores.model_fields
            }
        found.append((Scores(**own), None if away is None else Scores(**away)))
    return found


def _measures(values: Any, intervals: Interval | tuple[Interval | None, ...] | None) -> Any:
    """A measure with its interval, or one of each class."""
    if isinstance(intervals, tuple):
        pairs = zip(defined(np.atleast_1d(values)), intervals, strict=True)
        return tuple(_measure(value, interval) for value, interval in pairs)
    return _measure(defined(np.atleast_1d(values))[0], intervals)


def _measure(value: float | None, interval: Interval | None) -> Measure:
    if value is None or interval is None:
        return Measure(value=value)
    return Measure(value=value, low=interval.low, high=interval.high)


def names_of(models: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Names that tell models apart: a name that several have gets the start of each one's identity.

    Args:
        models: name and identity of each.

    >>> names_of([("a", "11112222ff"), ("b", "0"), ("a", "33334444ff")])
    ('a-11112222', 'b', 'a-33334444')
    """
    names = [name for name, _ in models]
    return tuple(name if names.count(name) == 1 else f"{name}-{identity[:8]}" for name, identity in models)
