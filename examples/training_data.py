"""What the two training scripts share: generated scenes, and the bundle made of a finished training."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rasterio.features import rasterize

from geoseg.errors import BundleError
from geoseg.grid.window import Window
from geoseg.models.bundle import Bundle, save_bundle
from geoseg.models.halo import measure_halo
from geoseg.models.infer import Predictor
from geoseg.models.registry import build, traits
from geoseg.recipe.bundle import BundleSpec, ClassSpec, DataSource, Metric, Scaling, Training
from geoseg.testing.neighbourhood import Style, generate, random_style
from geoseg.train.scenes import LabelledScene, Split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Image = tuple[NDArray[np.float32], NDArray[np.bool_]]
    """Pixels (C, H, W) and validity (H, W)."""

    from geoseg.io.raster import SceneReader
    from geoseg.train.chips import ChipSettings
    from geoseg.train.loop import TrainResult, TrainSettings

__all__ = [
    "ARCHITECTURE",
    "CONTEXT",
    "GENERATED",
    "HALO_WINDOW",
    "MEAN",
    "RESOLUTION",
    "SCENES",
    "STD",
    "WINDOW",
    "Card",
    "generated_scenes",
    "map_scene",
    "place_metrics",
    "recipe",
    "write_bundle",
]

ARCHITECTURE = "mininet-2"
RESOLUTION = 0.3
"""Metres on the ground per pixel."""
WINDOW = 512
"""Side of the chips that are trained on, of the windows that validate, and of those that maps are made in:
the receptive field is larger, so the weights know the padding of such windows."""
CONTEXT = 80
"""Largest halo of such windows: a sixth of them, in whole steps of the network's alignment."""
HALO_WINDOW = WINDOW + 2 * CONTEXT
"""Side of the windows that the halo is measured on: what it leaves out is compared with twice as much."""
SCENES = 48
"""Generated scenes; every fourth has the default style, the others random ones."""
MEAN, STD = (115.0, 114.0, 99.0), (50.0, 44.0, 43.0)
"""Scaling of red, green and blue: that of the building scenes' training pixels, rounded."""
GENERATED = DataSource(
    name=f"{SCENES} generated neighbourhoods of 512×512 pixels, 0.3 m",
    attribution="geoseg",
    license="Apache-2.0",
)

_FIRST_SEED = 1000
"""Seeds count from here: the demonstration scene's is another."""
_SIZE = (512, 512)
_AGREEMENTS = (0.9999, 0.999, 0.995, 0.99, 0.98, 0.97, 0.95, 0.9, 0.5)
"""Asked of a halo, the best first."""


def generated_scenes(*, landcover: bool, weight: float, every: int) -> Iterator[LabelledScene]:
    """Scenes of 512×512 pixels of 0.3 m, labelled with building (1) and ground (0), or with land cover.

    Args:
        landcover: Which labels.
        weight: Of all scenes together.
        every: One block of so many is held out.
    """
    for index in range(SCENES):
        seed = _FIRST_SEED + index
        style = random_style(np.random.default_rng(seed)) if index % 4 else Style()
        place = generate(_SIZE, RESOLUTION, seed, style)
        if landcover:
            labels = place.landcover
        else:
            shapes = [(outline, 1) for outline in place.buildings]
            labels = rasterize(shapes, out_shape=_SIZE, fill=0, dtype="uint8")
        yield LabelledScene(
            f"generated-{seed}",
            place.image,
            np.ones(_SIZE, bool),
            labels,
            RESOLUTION,
            place="generated",
            weight=weight / SCENES,
            split=Split(every=every, phase=index % every),
        )


class Card(NamedTuple):
    """What a bundle says beside its figures."""

    name: str
    title: str
    description: str
    classes: tuple[ClassSpec, ...]
    data: tuple[DataSource, ...]
    seed: int
    procedure: str


def recipe(settings: TrainSettings, chips: ChipSettings) -> str:
    """How the network learns, in words."""
    low, high = (scale * chips.resolution for scale in chips.scales)
    return (
        f"Cross-entropy + Dice on the output, {settings.loss.inner_weight:g} × cross-entropy on three inner "
        f"outputs; AdamW, rate {settings.rate:g}, poly {settings.power:g}, {settings.steps} steps of "
        f"{settings.batch} chips of {chips.size} px at {low:.2f} to {high:.2f} m; flips, turns, rotations, "
        f"colour, blur, noise, holes; average of the weights with decay {settings.average:g}."
    )


def place_metrics(
    result: TrainResult, classes: Sequence[ClassSpec], unchosen: Sequence[str] = ()
) -> list[Metric]:
    """IoU per place and class on the held-out blocks."""
    metrics = []
    for place, iou in sorted(result.score.iou.items()):
        part = "no part in the choice of weights" if place in unchosen else "weights chosen by it"
        data = f"{place}: blocks held out of the training scenes, {result.score.pixels[place]} pixels, {part}"
        metrics += [
            Metric(name=f"iou_{c.name}", value=round(value, 4), data=data)
            for c in classes
            if not c.background and (value := iou[c.id]) is not None
        ]
    return metrics


def map_scene(predictor: Predictor, reader: SceneReader) -> NDArray[np.uint8]:
    """Classes of a scene, uint8 (H, W): windows of the trained size, cropped to what has the full context."""
    height, width = reader.grid.shape
    classes = np.empty((height, width), np.uint8)
    core = WINDOW - 2 * CONTEXT
    for row in range(0, height, core):
        for col in range(0, width, core):
            raster = reader.read(Window(row - CONTEXT, col - CONTEXT, WINDOW, WINDOW))
            found = predictor.logits(raster.pixels[None], raster.valid[None])[0].argmax(0)
            inner = found[CONTEXT : CONTEXT + core, CONTEXT : CONTEXT + core]
            classes[row : row + core, col : col + core] = inner[: height - row, : width - col]
    return classes


def write_bundle(
    folder: Path,
    card: Card,
    result: TrainResult,
    windows: Sequence[Image],
    metrics: Callable[[Predictor], list[Metric]],
) -> Bundle:
    """Measure the halo and write the bundle.

    Args:
        folder: Of the bundle.
        card: What it says.
        result: The chosen weights.
        windows: Images to measure the halo on, of :data:`HALO_WINDOW` pixels at the network's resolution.
        metrics: Gives the figures, tests of the chosen network among them.
    """
    network = build(ARCHITECTURE, bands=3, classes=len(card.classes), auxiliary=True)
    network.load_state_dict(result.state)
    known: dict[str, int] = {"bands": 3, "classes": len(card.classes)}
    found = traits(ARCHITECTURE, **known)
    spec = BundleSpec(
        name=card.name,
        version="1",
        title=card.title,
        description=card.description,
        license="Apache-2.0",
        architecture=ARCHITECTURE,
        arguments=dict(known),
        bands=("red", "green", "blue"),
        scaling=Scaling(mean=MEAN, std=STD),
        value_dtype="uint8",
        classes=card.classes,
        resolution=RESOLUTION,
        alignment=found.alignment,
        radius=found.radius,
        window=WINDOW,
        halo=0,
        halo_agreement=0.0,
        training=Training(data=card.data, seed=card.seed, procedure=card.procedure),
    )
    predictor = Predictor.of(network, spec)
    halo, agreement = _halo(predictor, windows)
    print(f"halo {halo} px: {agreement:.4%} of the classes as with twice the surroundings")
    figures = metrics(predictor)
    for figure in figures:
        between = "" if figure.low is None else f" ({figure.low} to {figure.high})"
        print(f"{figure.name} {figure.value}{between}: {figure.data}")
    spec = spec.model_copy(update={"halo": halo, "halo_agreement": agreement, "metrics": tuple(figures)})
    return save_bundle(folder, spec, network)


def _halo(predictor: Predictor, windows: Sequence[Image]) -> tuple[int, float]:
    """Halo and agreement: one in ten thousand classes may differ, or as few as these windows allow."""
    for agreement in _AGREEMENTS[:-1]:
        try:
            return measure_halo(predictor, windows, core=WINDOW - 2 * CONTEXT, agreement=agreement)
        except BundleError as error:
            print(error)
    return measure_halo(predictor, windows, core=WINDOW - 2 * CONTEXT, agreement=_AGREEMENTS[-1])
