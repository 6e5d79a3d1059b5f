"""Train the building weights that geoseg ships: MiniNet #2 on real imagery and generated scenes.

Run it with the folder of the real sets (its README says what they are and who has to be named)::

    python examples/train_buildings.py --data ../shared/data --out runs/train-buildings

It takes about an hour on one core, goes on where it was stopped, and leaves a bundle in its output. The
shipped weights come from these settings, but not to the bit: while they were trained, the generator of
scenes was still refined (after the first part) and the second part was shortened from 1600 to 1000 steps (on
the way, at steps 400 and 800).

The right half of the Austin scene (columns from 500) is the published test: nothing is trained or chosen on
it. Weights are chosen by the held-out blocks of the other places; the test comes last.
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
    STD,
    WINDOW,
    Card,
    generated_scenes,
    map_scene,
    place_metrics,
    recipe,
    write_bundle,
)

from geoseg.errors import GeosegError
from geoseg.grid.ground import model_grid
from geoseg.grid.window import Window
from geoseg.io.labels import read_labels
from geoseg.io.raster import SceneReader, describe
from geoseg.models.infer import Predictor
from geoseg.models.registry import build
from geoseg.recipe.bundle import ClassSpec, DataSource, Metric
from geoseg.recipe.scene import LabelRef, SceneRef
from geoseg.score.bootstrap import bootstrap
from geoseg.score.cells import CellCounter
from geoseg.score.tally import widest_cells
from geoseg.testing.neighbourhood import generate
from geoseg.train.chips import ChipSampler, ChipSettings
from geoseg.train.load import load_scene
from geoseg.train.loop import Trainer, TrainSettings
from geoseg.train.scenes import LabelledScene, Split
from geoseg.train.validate import Validation

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 12
HALO_SEEDS = (3001, 3002)
CHIPS = ChipSettings(size=WINDOW, resolution=RESOLUTION)
SETTINGS = TrainSettings(
    steps=1000, batch=3, rate=1.5e-3, warmup=50, validate_every=200, checkpoint_every=100
)
"""The training proper: chips large enough for the deepest layers, whose convolutions reach 128 px each."""
FIRST_SEED = 2
FIRST_CHIPS = ChipSettings(size=256, resolution=RESOLUTION)
FIRST_SETTINGS = TrainSettings(steps=3600)
FIRST_STEPS = 1000
"""The first part, stopped early: small chips show more places in less time, but weights that have seen
nothing else fail in windows of more than about 400 px."""
AUSTIN_COLUMNS = 500
"""First column of Austin's test half."""
_STORED = 0.2
"""Metres per pixel at which finer scenes are kept, so that chips at 0.21 m still show what is there."""

_OPEN_AERIAL_MAP = (
    "imagery © OpenAerialMap / Open Imagery Network contributors, footprints © OpenStreetMap contributors"
)
_OPEN_LICENSE = "imagery CC-BY-4.0, footprints ODbL-1.0"
CARD = Card(
    name="buildings-mininet2",
    title="Buildings at 0.3 m, MiniNet #2",
    description=(
        "Maps buildings on red, green and blue aerial images of about 0.3 m. Trained on half a scene of "
        "Austin, on parts of Banepa, Zanzibar and Kampala, and on generated neighbourhoods. Expect less of "
        "it on other roofs, on high-rise and off-nadir images, and under dense trees."
    ),
    classes=(
        ClassSpec(id=0, name="background", title="Other ground", color="#e8e6e1", background=True),
        ClassSpec(id=1, name="building", title="Building", color="#d7301f"),
    ),
    data=(
        DataSource(
            name="Inria Aerial Image Labeling sample, Austin, columns 0 to 499",
            attribution="Inria Aerial Image Labeling Dataset",
            license="public-domain imagery and footprints",
            url="https://project.inria.fr/aerialimagelabeling/",
        ),
        *(
            DataSource(name=f"{place}, from 0.2 m", attribution=_OPEN_AERIAL_MAP, license=_OPEN_LICENSE)
            for place in ("Banepa, Nepal", "Zanzibar, Tanzania", "Kampala, Uganda")
        ),
        GENERATED,
    ),
    seed=SEED,
    procedure=(
        f"{recipe(SETTINGS, CHIPS)} Before that {FIRST_STEPS} steps of {FIRST_SETTINGS.batch} chips of "
        f"{FIRST_CHIPS.size} px. Chips: 35 % Austin, 15 % Banepa, 10 % Zanzibar, 10 % Kampala, 30 % "
        "generated. One block of 48 m in 4 to 9 is held out of every scene; kept is the step with the best "
        "mean building IoU over the held-out blocks of all places but Austin."
    ),
)


def austin_scene(data: Path) -> LabelledScene:
    """Austin's left half; no pixel and no label of the right one."""
    folder = data / "buildings" / "austin_inria"
    return load_scene(
        SceneRef("austin", (), href=str(folder / "austin_sample.tif")),
        LabelRef(str(folder / "austin_sample_mask.tif"), classes=((0.0, 0), (255.0, 1))),
        resolution=CHIPS.resolution,
        limit=Window(0, 0, 1000, AUSTIN_COLUMNS),
        weight=0.35,
        split=Split(every=9),
        chooses=False,
    )


def real_scenes(data: Path) -> list[LabelledScene]:
    """The labelled places, without what must not be read."""
    folder = data / "buildings"
    scenes = [austin_scene(data)]
    for name, file, weight, every in (
        ("banepa", "banepa", 0.15, 5),
        ("zanzibar", "zanzibar_a", 0.10, 5),
        ("kampala", "kampala_a", 0.10, 4),
    ):
        labels = str(folder / file / f"{file}_labels.gpkg")
        scenes.append(
            load_scene(
                SceneRef(name, (), href=str(folder / file / f"{file}.tif")),
                LabelRef(labels, layer="buildings", area_href=labels, area_layer="labelled_area"),
                resolution=_STORED,
                weight=weight,
                split=Split(every=every),
            )
        )
    return scenes


def halo_windows(data: Path) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Windows of Banepa and Zanzibar, and two generated ones."""
    windows = []
    for name, corners in (
        ("banepa", [(row, col) for row in (400, 1400, 2400) for col in (1200, 2000)]),
        ("zanzibar_a", [(200, 200), (200, 1200)]),
    ):
        scene = describe(SceneRef(name, (), href=str(data / "buildings" / name / f"{name}.tif")))
        with SceneReader(scene, model_grid(scene.geobox, RESOLUTION)) as reader:
            rasters = [reader.read(Window(row, col, HALO_WINDOW, HALO_WINDOW)) for row, col in corners]
        windows += [(raster.pixels, raster.valid) for raster in rasters]
    for seed in HALO_SEEDS:
        image = generate((HALO_WINDOW, HALO_WINDOW), RESOLUTION, seed).image
        windows.append((image.astype(np.float32), np.ones((HALO_WINDOW, HALO_WINDOW), bool)))
    return windows


def austin_test(data: Path, predictor: Predictor) -> list[Metric]:
    """Score Austin's right half, once the weights are chosen; windows see what is left of it."""
    folder = data / "buildings" / "austin_inria"
    scene = describe(SceneRef("austin", (), href=str(folder / "austin_sample.tif")))
    label = LabelRef(str(folder / "austin_sample_mask.tif"), classes=((0.0, 0), (255.0, 1)))
    with SceneReader(scene) as reader:
        # Edges reflected, windows of the trained size: as a map is made, but for its blending.
        mapped = map_scene(predictor, reader)
    truth = read_labels(label, scene.geobox).classes
    counter = CellCounter(len(CARD.classes))
    counter.add(0, AUSTIN_COLUMNS, truth[:, AUSTIN_COLUMNS:], mapped[:, AUSTIN_COLUMNS:])
    tally = counter.tally("austin")
    confusion, intervals = tally.confusion, bootstrap(widest_cells([tally])[1])
    where = (
        f"Austin, columns from {AUSTIN_COLUMNS}: the test half, never trained or chosen on, "
        f"{confusion.pixels} pixels"
    )
    building, interval = confusion.iou[1], intervals.iou[1]
    accuracy = confusion.accuracy
    assert building is not None
    assert accuracy is not None
    mean = float(np.mean([value for value in confusion.iou if value is not None]))
    return [
        Metric(
            name="iou_building",
            value=round(building, 4),
            low=None if interval is None else round(interval.low, 4),
            high=None if interval is None else round(interval.high, 4),
            data=where,
        ),
        Metric(name="miou", value=round(mean, 4), data=where),
        Metric(name="accuracy", value=round(accuracy, 4), data=where),
    ]


def main() -> None:
    """Train, measure the halo, write the bundle."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with buildings/austin_inria and the others"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoint, log and bundle")
    parser.add_argument(
        "--so-far", action="store_true", help="train no further: bundle of the best weights so far"
    )
    arguments = parser.parse_args()
    scenes = [*real_scenes(arguments.data), *generated_scenes(landcover=False, weight=0.30, every=9)]
    validation = Validation(
        scenes,
        resolution=RESOLUTION,
        classes=len(CARD.classes),
        scored=[1],
        window=WINDOW,
        context=CONTEXT,
    )
    torch.manual_seed(FIRST_SEED)
    network = build(ARCHITECTURE, bands=3, classes=len(CARD.classes), auxiliary=True)
    first = Trainer(
        network,
        ChipSampler(scenes, FIRST_CHIPS, seed=FIRST_SEED),
        validation,
        mean=MEAN,
        std=STD,
        settings=FIRST_SETTINGS,
        folder=arguments.out / "first",
        progress=lambda line: print(line, flush=True),
    )
    first.run(until=FIRST_STEPS)
    network.load_state_dict(first.average)
    trainer = Trainer(
        network,
        ChipSampler(scenes, CHIPS, seed=SEED),
        validation,
        mean=MEAN,
        std=STD,
        settings=SETTINGS,
        folder=arguments.out,
        progress=lambda line: print(line, flush=True),
    )
    result = None if arguments.so_far else trainer.run()
    finished = result is not None
    result = result or trainer.result()

    def metrics(predictor: Predictor) -> list[Metric]:
        # The test is for the weights that are kept: a look at it on the way could only tempt.
        test = austin_test(arguments.data, predictor) if finished else []
        return test + place_metrics(result, CARD.classes, unchosen=["austin"])

    write_bundle(arguments.out / CARD.name, CARD, result, halo_windows(arguments.data), metrics)


if __name__ == "__main__":
    try:
        main()
    except GeosegError as error:
        sys.exit(f"train_buildings: {error}")
