"""Houses wall to wall, told apart by networks: python benchmarks/terraces.py --out DIR MODEL [MODEL …].

Every model maps the same generated terraces, which no shipped model was trained on, with the walls of their
houses 0 to 5 px apart. Prints a table as Markdown and draws a picture into DIR. What came out:
benchmarks/polygons.md.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rioxarray  # noqa: F401 - gives arrays their CRS
import shapely
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from polygon_methods import CRS, EAST, NORTH, ours
from polygon_tables import GAPS, Table, markdown
from synthetic.neighborhood import Neighborhood, Style, generate
from synthetic.rooftops import RESOLUTION

import geoseg
from geoseg.arrays import Bool, Objects, UInt8
from geoseg.config.vectorize import Split
from geoseg.grid.encoding import SCALE
from geoseg.models.bundle import load_bundle
from geoseg.score.objects.matching import Outcome, match_objects

SIDE, SEED = 512, 8000
"""Pixels of a scene, and the first scene's seed: those of training start at 1000 and 2000."""
TREES = 0.3
"""Fewer than in a garden suburb: what a tree hides is no question of borders."""
TOUCHING = 8.0
"""A house counts as one of a terrace where another one is within so many pixels."""
EDGE = 2.0
"""Houses that reach this close to the scene's edge, in pixels, are not scored: they are cut."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Terraces with one distance between houses."""

    gap: int
    """Pixels between walls."""
    place: Neighborhood
    truth: Objects
    """Footprints, in pixels."""
    scored: Bool
    """Which are houses of a terrace, whole in the scene."""


def make_scene(gap: int, number: int) -> Scene:
    """Terraces whose seed depends on gap and number."""
    style = Style(terraces=0.8, alley=gap * RESOLUTION, trees=TREES)
    place = generate((SIDE, SIDE), RESOLUTION, SEED + 10 * gap + number, style)
    truth = np.array(place.buildings, np.object_)
    tree = shapely.STRtree(truth)
    house, _ = tree.query(truth, predicate="dwithin", distance=TOUCHING)
    near = np.bincount(house, minlength=len(truth)) > 1  # itself is one
    whole = shapely.contains(shapely.box(EDGE, EDGE, SIDE - EDGE, SIDE - EDGE), truth)
    return Scene(gap, place, truth, near & whole)


def probabilities(model: str, image: UInt8) -> UInt8:
    """What a run would store of an image: uint8 (bands, rows, columns)."""
    rows, columns = (np.arange(length) + 0.5 for length in image.shape[1:])
    coords = {"y": NORTH - RESOLUTION * rows, "x": EAST + RESOLUTION * columns}
    array = xr.DataArray(image, dims=("band", "y", "x"), coords=coords).rio.write_crs(CRS)
    found = geoseg.predict(array, model)
    return np.rint(SCALE * found["probability"].to_numpy()).astype(np.uint8)


def told_apart(scene: Scene, found: Objects) -> tuple[int, int, int]:
    """Houses of terraces that were matched, all of them, and mapped objects that lie mostly in terraces."""
    matching = match_objects(found, scene.truth)
    hit = np.asarray(matching.reference_outcome == Outcome.MATCHED) & scene.scored
    terraces = shapely.union_all(scene.truth[scene.scored])
    share = shapely.area(shapely.intersection(found, terraces)) / shapely.area(found)
    return int(hit.sum()), int(scene.scored.sum()), int((share > 0.5).sum())  # noqa: PLR2004 - mostly


def table_of(models: list[str], seeds: range) -> tuple[Table, dict[str, Objects], Scene]:
    """F1 of houses by model and way to split; the last scene of the smallest gap, and what was made of it."""
    arms: list[tuple[str, str, dict[str, Any]]] = []
    for model in models:
        arms.append((f"{model}, unsplit", model, {"split": Split(method="none")}))
        arms.append((f"{model}, seeds", model, {"split": Split(method="seeds")}))
        if load_bundle(model).spec.border:
            arms.append((f"**{model}, borders**", model, {"split": Split(method="border")}))
    table: Table = [{"map": name} for name, _, _ in arms]
    drawn: dict[str, Objects] = {}
    for gap in sorted(GAPS, reverse=True):
        scenes = [make_scene(gap, number) for number in seeds]
        stored = {model: [probabilities(model, scene.place.image) for scene in scenes] for model in models}
        for line, (name, model, options) in zip(table, arms, strict=True):
            counts = np.zeros(3, np.int64)
            for scene, planes in zip(scenes, stored[model], strict=True):
                border = planes[1] if options["split"].method == "border" else None
                drawn[name] = ours(planes[0], border, **options)
                counts += told_apart(scene, drawn[name])
            hits, true, mapped = counts.tolist()
            line[f"{gap} px"] = 2 * hits / (true + mapped)
    columns = ["map", *(f"{gap} px" for gap in GAPS)]
    return [{key: line[key] for key in columns} for line in table], drawn, scenes[-1]


def draw(path: Path, scene: Scene, drawn: dict[str, Objects]) -> None:
    """The truth and the last two maps over the middle of the image."""
    panels = {"truth": scene.truth, **dict(list(drawn.items())[-2:])}
    figure = Figure(figsize=(4.6 * len(panels), 4.9), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    for axes, (name, polygons) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        axes.imshow(np.moveaxis(scene.place.image, 0, -1), extent=(0, SIDE, SIDE, 0))
        rings = shapely.get_rings(polygons)
        axes.add_collection(
            LineCollection(
                [shapely.get_coordinates(ring) for ring in rings], colors="#ff2d87", linewidths=1.1
            )
        )
        axes.set_title(name.strip("*"), fontsize=9, loc="left")
        axes.set_xlim(SIDE / 8, 7 * SIDE / 8)
        axes.set_ylim(7 * SIDE / 8, SIDE / 8)
        axes.set_axis_off()
    figure.tight_layout(pad=0.6)
    figure.savefig(path)


def main() -> None:
    """Read the options, print the table, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL", help="shipped bundle or path of one")
    parser.add_argument("--out", type=Path, required=True, help="folder for the picture")
    parser.add_argument("--scenes", type=int, default=4, help="of each distance (default: %(default)s)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    table, drawn, scene = table_of(arguments.models, range(arguments.scenes))
    print(markdown(table))
    draw(arguments.out / "terraces.png", scene, drawn)


if __name__ == "__main__":
    main()
