"""A picture of the windows where a map is worst: scene, reference, map and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from geoseg.arrays import Float32, Float64
from geoseg.config.model.contract import BundleSpec
from geoseg.config.stac.refs import SceneRef
from geoseg.config.workflow import Scenes
from geoseg.errors import OutputError, RunError
from geoseg.flow.evaluate.scene import Pair, label_reader
from geoseg.grid.geobox import GeoBox
from geoseg.io.raster.maps import MapReader
from geoseg.io.raster.reader import Raster
from geoseg.io.raster.scene import describe
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
    reading: Scenes,
    count: int,
) -> int:
    """Draw the ``count`` windows with the most wrong pixels, or fewer; no picture where nothing is wrong.

    Memory is that of the windows and of one scene's labels.

    Raises:
        SceneError: a scene cannot be read any more.
        OutputError: a map cannot be read, or the picture not written.
    """
    from geoseg.flow.evaluate.worst_figure import Panel, draw  # noqa: PLC0415 - matplotlib is an extra

    refs = {ref.id: ref for ref in scenes}
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
        picture = _Picture.of(refs, pair.scene, spec, reading)
        with MapReader(pair.classes_tif) as reader, picture.reader(grid) as scene:
            panels += [
                Panel(
                    scene=pair.scene,
                    box=grid[window],
                    image=picture.shown(scene.read(window)),
                    truth=labels.read(window),
                    mapped=reader.read(window)[0],
                )
                for other, window in chosen
                if other == index
            ]
    if panels:
        draw(path, sorted(panels, key=lambda panel: -panel.wrong), spec.classes)
    return len(panels)


@dataclass(frozen=True, slots=True)
class _Picture:
    """How a scene is shown: three of its bands, and what is black and white in each."""

    ref: SceneRef
    names: Sequence[str | int] | None
    spec: BundleSpec
    stretch: tuple[float, float] | None

    @classmethod
    def of(cls, refs: Mapping[str, SceneRef], scene: str, spec: BundleSpec, reading: Scenes) -> _Picture:
        ref = refs.get(scene)
        if ref is None:
            raise OutputError(f"scene {scene}: is scored but not in the catalog; no picture can be drawn")
        if reading.nodata is not None:
            ref = replace(ref, nodata=reading.nodata)
        return cls(ref, reading.bands or spec.bands, spec, reading.stretch)

    def reader(self, grid: GeoBox) -> SceneReader:
        scene = describe(self.ref, self.names)
        return SceneReader(scene, replace(grid, crs=scene.geobox.crs))

    def shown(self, raster: Raster) -> Float32:
        """A window as it is drawn: float32 (height, width, 3), 0 to 1; white where there is no data."""
        low, high = self._ends()
        names = list(self.spec.bands)
        bands = [names.index(name) for name in _RGB] if set(_RGB) <= set(names) else [0, 1, 2]
        if len(names) < len(_RGB):
            bands = [0, 0, 0]
        scaled = (raster.pixels[bands] - low[bands, None, None]) / (high - low)[bands, None, None]
        shown = np.where(raster.valid, np.clip(scaled, 0, 1), 1).astype(np.float32)
        return np.moveaxis(shown, 0, -1)

    def _ends(self) -> tuple[Float64, Float64]:
        """Values of black and white, per band: the same for every window."""
        mean, std = np.array(self.spec.scaling.mean), np.array(self.spec.scaling.std)
        if self.stretch is not None or self.spec.value_dtype == "uint8":
            low, high = self.stretch or (0, 255)
            return np.full(mean.shape, float(low)), np.full(mean.shape, float(high))
        return mean - _DEVIATIONS * std, mean + _DEVIATIONS * std
