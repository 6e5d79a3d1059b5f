"""A picture of the windows where a map is worst: scene, reference, map and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from geoseg.arrays import Float32
from geoseg.config.model.contract import BundleSpec
from geoseg.config.stac.refs import SceneRef
from geoseg.config.workflow import Scenes
from geoseg.errors import OutputError, RunError
from geoseg.flow.evaluate.scene import Pair, label_reader
from geoseg.io.raster.maps import MapReader
from geoseg.io.raster.reader import Raster
from geoseg.io.raster.scene import Reading
from geoseg.io.raster.scene_reader import SceneReader
from geoseg.score.tally import SceneTally, worst_windows

__all__ = ["WORST_NAME", "check_drawable", "draw_worst"]

WORST_NAME = "worst.png"
"""The picture beside a run's score."""
_DEVIATIONS = 2.5
"""Standard deviations round the mean that a picture shows of values without a natural black and white."""
_RGB = ("red", "green", "blue")


def check_drawable() -> None:
    """Refuse to begin what cannot be drawn at the end.

    Raises:
        RunError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise RunError(
            f"{WORST_NAME} needs matplotlib, which is not installed; pip install 'geoseg[train]', or "
            "leave it out with --worst 0"
        )


def draw_worst(
    path: Path,
    scored: Sequence[tuple[Pair, SceneTally]],
    scenes: Iterable[SceneRef],
    spec: BundleSpec,
    *,
    settings: Scenes,
    count: int,
) -> None:
    """Draw the ``count`` windows with the most wrong pixels, or fewer; no picture where nothing is wrong.

    Memory is that of the windows and of one scene's labels.

    Raises:
        SceneError: a scene cannot be read any more.
        OutputError: a map cannot be read, or the picture not written.
    """
    from geoseg.flow.evaluate.worst_figure import Panel, draw  # noqa: PLC0415 - matplotlib is an extra

    refs, reading = {ref.id: ref for ref in scenes}, Reading.of(settings, spec.bands)
    grids = []
    for pair, _ in scored:
        with MapReader(pair.classes_tif) as reader:
            grids.append(reader.grid)
    shaped = [(tally, grid.shape) for (_, tally), grid in zip(scored, grids, strict=True)]
    chosen = worst_windows(shaped, count)
    panels: list[Panel] = []
    for index in sorted({index for index, _ in chosen}):
        (pair, _), grid = scored[index], grids[index]
        labels = label_reader(pair, grid)
        ref = refs.get(pair.scene)
        if ref is None:
            raise OutputError("is scored but not in the catalog; no picture can be drawn", scene=pair.scene)
        source = reading.describe(ref)
        on_map = replace(grid, crs=source.geobox.crs)
        with MapReader(pair.classes_tif) as reader, SceneReader(source, on_map) as scene:
            panels += [
                Panel(
                    scene=pair.scene,
                    box=grid[window],
                    image=_shown(scene.read(window), spec, settings.stretch),
                    truth=labels.read(window),
                    mapped=reader.read(window)[0],
                )
                for other, window in chosen
                if other == index
            ]
    if panels:
        draw(path, sorted(panels, key=lambda panel: -panel.wrong), spec.classes)


def _shown(raster: Raster, spec: BundleSpec, stretch: tuple[float, float] | None) -> Float32:
    """A window as it is drawn: float32 (height, width, 3), 0 to 1; white where there is no data.

    Black and white are the same for every window.
    """
    mean, std = np.array(spec.scaling.mean), np.array(spec.scaling.std)
    if stretch is not None or spec.value_dtype == "uint8":
        low, high = (np.full(mean.shape, float(end)) for end in stretch or (0, 255))
    else:
        low, high = mean - _DEVIATIONS * std, mean + _DEVIATIONS * std
    names = list(spec.bands)
    bands = [names.index(name) for name in _RGB] if set(_RGB) <= set(names) else [0, 1, 2]
    if len(names) < len(_RGB):
        bands = [0, 0, 0]
    scaled = (raster.pixels[bands] - low[bands, None, None]) / (high - low)[bands, None, None]
    shown = np.where(raster.valid, np.clip(scaled, 0, 1), 1).astype(np.float32)
    return np.moveaxis(shown, 0, -1)
