"""Train the land cover weights that geoseg ships: MiniNet #2 on generated scenes alone.

No data is needed::

    python examples/train_landcover.py --out runs/train-landcover

It takes about half an hour on one core, goes on where it was stopped, and leaves a bundle in its
output. The shipped weights come from these settings, but not to the bit: their schedule was laid out for 600
steps and changed on the way, at steps 500, 800 and 1000.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from training_data import (
    ARCHITECTURE,
    CONTEXT,
    GENERATED,
    HALO_WINDOW,
    MEAN,
    RESOLUTION,
    SCENES,
    STD,
    WINDOW,
    Card,
    generated_scenes,
    place_metrics,
    recipe,
    write_bundle,
)

from geoseg.errors import GeosegError
from geoseg.models.infer import Predictor
from geoseg.models.registry import build
from geoseg.recipe.bundle import ClassSpec, Metric
from geoseg.testing.neighbourhood import LANDCOVER_CLASSES, generate, random_style
from geoseg.train.chips import ChipSampler, ChipSettings
from geoseg.train.loop import Trainer, TrainSettings
from geoseg.train.scenes import LabelledScene, Split
from geoseg.train.validate import Validation

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 3
HALO_SEEDS = range(3000, 3003)
SETTINGS = TrainSettings(steps=1200, batch=2, average=0.995, validate_every=100, checkpoint_every=100)
CHIPS = ChipSettings(size=WINDOW, resolution=RESOLUTION)
TEST_SEEDS = range(2000, 2003)
"""Scenes of 1024×1024 pixels that only the final figures are measured on."""

CARD = Card(
    name="landcover-mininet2",
    title="Land cover at 0.3 m, MiniNet #2 (generated scenes)",
    description=(
        "Maps building, paved, tree, grass, bare and water on geoseg's generated scenes. It has never seen a "
        "real image: it shows how several classes work, and is not meant for real imagery."
    ),
    classes=tuple(ClassSpec(id=c.id, name=c.name, title=c.title, color=c.color) for c in LANDCOVER_CLASSES),
    data=(GENERATED,),
    seed=SEED,
    procedure=(
        f"{recipe(SETTINGS, CHIPS)} One block of 48 m in 7 is held out of every scene; kept is the step with "
        "the best mean IoU over them."
    ),
)


def test(predictor: Predictor, places: list[LabelledScene]) -> list[Metric]:
    """IoU per class on scenes of other seeds and styles, in windows of the size that maps are made in."""
    classes = len(CARD.classes)
    every = Validation(
        places, resolution=RESOLUTION, classes=classes, scored=range(classes), window=WINDOW, context=CONTEXT
    ).score(lambda pixels, valid: torch.from_numpy(predictor.logits(pixels.numpy(), valid.numpy())))
    data = f"{len(places)} generated scenes of other seeds, {every.pixels['test']} pixels"
    metrics = [
        Metric(name=f"iou_{c.name}", value=round(value, 4), data=data)
        for c in CARD.classes
        if (value := every.iou["test"][c.id]) is not None
    ]
    return [Metric(name="miou", value=round(every.chosen, 4), data=data), *metrics]


def main() -> None:
    """Train, measure the halo, write the bundle."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoint, log and bundle")
    parser.add_argument(
        "--so-far", action="store_true", help="train no further: bundle of the best weights so far"
    )
    arguments = parser.parse_args()
    scenes = list(generated_scenes(landcover=True, weight=float(SCENES), every=7))
    torch.manual_seed(SEED)
    trainer = Trainer(
        build(ARCHITECTURE, bands=3, classes=len(CARD.classes), auxiliary=True),
        ChipSampler(scenes, CHIPS, seed=SEED),
        Validation(
            scenes,
            resolution=RESOLUTION,
            classes=len(CARD.classes),
            scored=[c.id for c in CARD.classes],
            window=WINDOW,
            context=CONTEXT,
        ),
        mean=MEAN,
        std=STD,
        settings=SETTINGS,
        folder=arguments.out,
        progress=lambda line: print(line, flush=True),
    )
    result = (None if arguments.so_far else trainer.run()) or trainer.result()
    tests = [_test_scene(seed) for seed in TEST_SEEDS]
    write_bundle(
        arguments.out / CARD.name,
        CARD,
        result,
        [_window(seed) for seed in HALO_SEEDS],
        lambda predictor: test(predictor, tests) + place_metrics(result, CARD.classes),
    )


def _window(seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    style = random_style(np.random.default_rng(seed))
    place = generate((HALO_WINDOW, HALO_WINDOW), RESOLUTION, seed, style)
    return place.image.astype(np.float32), np.ones((HALO_WINDOW, HALO_WINDOW), bool)


def _test_scene(seed: int) -> LabelledScene:
    place = generate((1024, 1024), RESOLUTION, seed, random_style(np.random.default_rng(seed)))
    valid = np.ones(place.landcover.shape, bool)
    # One block of three is scored: enough, and a scene needs pixels that are not held out.
    return LabelledScene(
        f"generated-{seed}",
        place.image,
        valid,
        place.landcover,
        RESOLUTION,
        place="test",
        split=Split(every=3),
    )


if __name__ == "__main__":
    try:
        main()
    except GeosegError as error:
        sys.exit(f"train_landcover: {error}")
