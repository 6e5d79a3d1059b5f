"""Polygons side by side with public tools: python benchmarks/polygons.py --out DIR [--json] [--quick].

Prints tables as Markdown and draws pictures into DIR. What is compared, how, and what came out:
benchmarks/polygons.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from measure import Arm, take
from polygon_methods import COVERINGS, METHODS, missing
from polygon_pictures import PICTURED, draw_buildings, draw_landcover, draw_place
from polygon_scenes import PLACES, make_places, make_town
from polygon_tables import (
    LOOSEST,
    Found,
    Table,
    ahead,
    cover_table,
    markdown,
    place_tables,
    split_table,
    town_table,
)
from synthetic.landcover_fields import make_landcover
from synthetic.rooftops import NOISE

HERE = Path(__file__).resolve().parent
BUILDING = 0
"""Class of buildings in the demonstration's land cover."""
PACKAGES = ("numpy", "shapely", "rasterio", "contourpy", "potracer", "smoothify", "buildingregulariser")


def run(method: str, folder: Path, scenes: Iterable[str]) -> dict[str, Found]:
    """A method on scenes, in a process of its own."""
    names = list(scenes)
    command = [sys.executable, str(HERE / "polygon_methods.py"), method, str(folder), *names]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)  # noqa: S603 - our own script
    if done.returncode:
        raise SystemExit(f"{method} failed:\n{done.stderr}")
    found = {}
    for name in names:
        result = json.loads((folder / f"{method}-{name}.json").read_text(encoding="ascii"))
        polygons = np.array(shapely.from_wkb(result["polygons"]), np.object_)
        found[name] = Found(polygons, np.array(result["classes"], np.uint8), result["seconds"])
    return found


def machine() -> dict[str, Any]:
    """Where this runs, and with what."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    where = {"python": platform.python_version(), "geos": shapely.geos_version_string}
    return {**where, "load": round(os.getloadavg()[0], 1), **versions}


def show(title: str, table: Table, *notes: str) -> None:
    """A table with its title and what there is to say."""
    print(f"\n## {title}\n\n{markdown(table)}\n")
    for note in notes:
        print(note)
    sys.stdout.flush()


def buildings(arguments: argparse.Namespace, folder: Path, methods: list[str]) -> dict[str, Table]:
    """Towns and places through every method."""
    towns = [make_town(arguments.side, noise) for noise in arguments.noises]
    places = list(make_places(arguments.data, arguments.places)) if arguments.data else []
    scenes = [*towns, *places]
    for scene in scenes:
        np.save(folder / f"{scene.name}.npy", scene.stored)
    found = {method: run(method, folder, [scene.name for scene in scenes]) for method in methods}
    tables = {}
    for town in towns:
        table = town_table(town, {method: results[town.name] for method, results in found.items()})
        show(
            f"{len(town.truth)} generated buildings, noise {town.name}",
            table,
            f"Ahead of geoseg objects – {ahead(table)}.",
        )
        tables[town.name] = table
    if places:
        table, by_place, common = place_tables(places, found)
        count = sum(len(place.truth) for place in places)
        note = f"Measures on the {common} of {count} footprints that every method but {LOOSEST} matched."
        show(
            f"Real footprints: {', '.join(place.name for place in places)}",
            table,
            note,
            f"Ahead of geoseg objects – {ahead(table)}.",
        )
        show("By place: geoseg objects / the best other tool on that measure", by_place)
        tables |= {"places": table, "by place": by_place}
        names = [name for name in PICTURED if name in found]
        polygons = {name: found[name][places[0].name].polygons for name in names}
        draw_place(arguments.out / "polygons-place.png", places[0], polygons)
    return tables


def landcover(arguments: argparse.Namespace, folder: Path) -> Table:
    """Land cover through every method."""
    scene = make_landcover(arguments.landcover, arguments.landcover)
    np.save(folder / "landcover.npy", scene.scores)
    found = {method: run(method, folder, ["landcover"])["landcover"] for method in COVERINGS}
    table = cover_table(scene, found)
    show(f"Land cover, {scene.classes.size / 1e6:g} Mpx, 5 classes", table)
    polygons = {name: result.polygons for name, result in found.items()}
    draw_landcover(arguments.out / "polygons-landcover.png", scene, polygons)
    return table


def tracing(arguments: argparse.Namespace, folder: Path) -> Table:
    """Outlines along the pixels: geoseg's, with counts of pixels and sums of scores, and rasterio's."""
    with rasterio.open(HERE.parent / "examples" / "austin_synthetic" / "landcover.tif") as source:
        drawn, profile = source.read(1), source.profile
    pair = np.concatenate([drawn, drawn[:, ::-1]], axis=1)
    whole = np.concatenate([np.tile(pair, (1, arguments.tiles)), np.tile(pair[::-1], (1, arguments.tiles))])
    whole = np.tile(whole, (arguments.tiles, 1))
    profile |= {"height": whole.shape[0], "width": whole.shape[1]}
    table: Table = []
    for name, classes in (("buildings", whole == BUILDING), ("land cover", whole)):
        raster = folder / f"{name}.tif"
        with rasterio.open(raster, "w", **profile) as target:
            target.write(classes.astype(np.uint8), 1)
        found = {}
        for how in ("shapes", "geoseg", "strips"):
            asked = json.dumps({"raster": str(raster), "how": how})
            arm = Arm(how, (sys.executable, "-P", str(HERE / "speed_loops.py"), "trace", asked))
            found[how] = [take(arm, folder).said for _ in range(arguments.rounds)]
        assert len({run["sha256"] for runs in found.values() for run in runs}) == 1, "not the same polygons"
        seconds = {how: statistics.median(run["seconds"] for run in runs) for how, runs in found.items()}
        row = {
            "classes": f"{name}, {found['shapes'][0]['polygons']} polygons",
            "rasterio CPU s": seconds["shapes"],
            "geoseg CPU s": seconds["geoseg"],
            "× faster": seconds["shapes"] / seconds["geoseg"],
            "in strips, CPU s": seconds["strips"],
            "×  faster": seconds["shapes"] / seconds["strips"],
        }
        table.append(row)
    show(f"Outlines along the pixels, {whole.size / 1e6:.1f} Mpx, the same polygons", table)
    return table


def parsed() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures and figures")
    parser.add_argument("--json", action="store_true", help="write all figures to OUT/polygons.json")
    parser.add_argument("--quick", action="store_true", help="a few buildings, to see that it runs")
    arguments = parser.parse_args()
    data = os.environ.get("GEOSEG_DATA")
    arguments.data = Path(data) if data else None
    arguments.side, arguments.noises, arguments.places = 30, list(NOISE), list(PLACES)
    arguments.landcover, arguments.seeds, arguments.tiles, arguments.rounds = 1000, range(4), 2, 3
    if arguments.quick:
        arguments.side, arguments.noises, arguments.places = 4, ["mid"], ["Kampala"]
        arguments.landcover, arguments.seeds, arguments.tiles, arguments.rounds = 200, range(1), 1, 1
    return arguments


def main() -> None:
    """Run every comparison."""
    arguments = parsed()
    arguments.out.mkdir(parents=True, exist_ok=True)
    start, where = time.perf_counter(), machine()
    print(" · ".join(f"{name} {value}" for name, value in where.items()))
    methods = [method for method in METHODS if not missing(method)]
    for method in METHODS:
        if missing(method):
            print(f"{method}: left out, {' and '.join(missing(method))} not installed")
    if arguments.data is None:
        print("real footprints: left out, GEOSEG_DATA is not set (see catalogs/open_buildings.json)")
    with tempfile.TemporaryDirectory() as temporary:
        tables = buildings(arguments, Path(temporary), methods)
        tables["landcover"] = landcover(arguments, Path(temporary))
        tables["tracing"] = tracing(arguments, Path(temporary))
    tables["splitting"] = split_table(arguments.seeds)
    show("Objects told apart: F1 by the gap between neighbors", tables["splitting"])
    draw_buildings(arguments.out / "polygons-buildings.png", [name for name in PICTURED if name in methods])
    print(f"\n{time.perf_counter() - start:.0f} s")
    if arguments.json:
        figures = json.dumps({"machine": where, "tables": tables}, indent=2, default=float)
        (arguments.out / "polygons.json").write_text(figures + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
