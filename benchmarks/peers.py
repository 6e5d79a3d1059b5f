"""geoseg beside other tools and tuned loops: python benchmarks/peers.py --out DIR [--peers VENV].

All compute the same weights.

GeoAI, TorchGeo and MONAI run in an environment of their own, which has geoseg's dependencies, too:

    python -m venv peers && peers/bin/pip install -e . geoai-py torchgeo monai

What is compared, how, and what came out: benchmarks/speed.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import matplotlib as mpl
import numpy as np
import pyogrio
import rasterio
import shapely
from matplotlib import pyplot as plt
from measure import (
    HERE,
    ROOT,
    Arm,
    Benchmark,
    compared,
    environment,
    make_scene,
    mapping,
    median,
    planned,
    removed,
    warm,
)

from geoseg.arrays import Float64, Int64
from geoseg.models.bundle import load_bundle

PEERS = ("geoai", "torchgeo", "monai")
WINDOW, HALO = 512, 64
"""Of the peers, whose own defaults are smaller; the tuned loops have windows as large as pay."""
TUNED_WINDOW = 2048
RUNTIMES = ("openvino:fp32", "openvino:bf16", "openvino:int8")
APART = 64
"""Pixels from a border of windows at which a map is taken to be without it."""
OVERLAP = 0.01
"""Square pixels from which two polygons overlap."""


def loop(name: str, kind: str, python: str, **given: Any) -> Arm:
    """A loop of ``speed_loops.py``."""
    return Arm(name, (python, "-P", str(HERE / "speed_loops.py"), kind, json.dumps(given)))


def installed(python: str, package: str) -> bool:
    """Whether an environment can import a package."""
    command = [python, "-c", f"import {package}"]
    return subprocess.run(command, check=False, capture_output=True, env=environment(ROOT)).returncode == 0  # noqa: S603 - its own


def loops(arguments: Any, scene: Path, folder: Path) -> Iterator[Arm]:
    """The tuned loops, then the peers that are there."""
    side = WINDOW if arguments.quick else TUNED_WINDOW
    chosen = {"scene": str(scene), "model": arguments.model, "halo": HALO}
    tuned = ["torch:fp32", "torch:bf16", "openvino:fp32", "openvino:bf16"]
    tuned += ["openvino:int8"] * (load_bundle(arguments.model).spec.int8 is not None)
    for runtime in tuned:
        name, (backend, precision) = f"loop {runtime}", runtime.split(":")
        yield loop(
            name, "hand", sys.executable, out=str(folder / name.replace(" ", "-")), backend=backend,
            precision=precision, window=side, **chosen,
        )  # fmt: skip
    python = str(arguments.peers / "bin" / "python") if arguments.peers else sys.executable
    for peer in PEERS:
        if installed(python, peer):
            yield loop(peer, peer, python, out=str(folder / peer), window=WINDOW, **chosen)
        else:
            print(f"{peer}: left out, it is not installed in {python}")


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """How often the class changes across each line of pixels, down and across, and where windows meet."""

    changes: tuple[Float64, Float64]
    """In times of the map's mean over all lines of an axis."""
    borders: tuple[Int64, Int64] | None
    """Lines at which another window begins; None: unknown."""

    @classmethod
    def of(cls, raster: Path, borders: list[list[int]] | None) -> Self:
        """Those of a raster of classes, 1 being a building; borders are rows and columns that begin one."""
        with rasterio.open(raster) as source:
            building = source.read(1) == 1
        counts = [np.count_nonzero(np.diff(building, axis=axis), axis=1 - axis) for axis in (0, 1)]
        down, across = (found / max(found.mean(), 1e-9) for found in counts)
        lines = None if borders is None else [np.array(found, np.int64) - 1 for found in borders]
        return cls((down, across), None if lines is None else (lines[0], lines[1]))


def seams(own: Lines, others: Sequence[Lines]) -> float | None:
    """Changes across an arm's borders of windows, in times of those at the same places in others' maps.

    Of the others only those count that have no border near. What the scene holds at a place is the same in
    all maps: without this comparison a border in a dense street looks like a seam.
    """
    if own.borders is None:
        return None
    mine = theirs = 0.0
    for axis, lines in enumerate(own.borders):
        for line in lines:
            apart = [
                other.changes[axis][line]
                for other in others
                if other.borders is not None and not (abs(other.borders[axis] - line) <= APART).any()
            ]
            if apart:
                mine, theirs = mine + own.changes[axis][line], theirs + float(np.mean(apart))
    if not theirs:
        return np.inf if mine else None
    return mine / theirs


def quality(layer: Path, raster: Path) -> dict[str, Any]:
    """What is in a layer of polygons; overlaps in pixels of the raster that it was made of."""
    name = next(str(name) for name, _ in pyogrio.list_layers(layer))
    _, _, wkb, _ = pyogrio.raw.read(layer, layer=name, columns=[])
    polygons = np.asarray(shapely.from_wkb(wkb), object)
    sound = shapely.is_valid(polygons)
    one, other = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    one, other = one[one < other], other[one < other]
    whole = shapely.make_valid(polygons)
    shared = shapely.area(shapely.intersection(whole[one], whole[other]))
    with rasterio.open(raster) as source:
        pixel = abs(source.transform.a * source.transform.e)
    return {
        "polygons": len(polygons),
        "invalid": int((~sound).sum()),
        "overlapping pairs": int((shared > OVERLAP * pixel).sum()),
        "vertices each": float(shapely.get_num_coordinates(polygons).mean()) if len(polygons) else 0.0,
    }


def borders_of(plan: dict[str, Any]) -> list[list[int]]:
    """Rows and columns at which geoseg's windows meet."""
    found, halo, edge = [], plan["halo"], plan.get("edge", plan["halo"])  # before edges were less
    for size, window in zip(plan["network_size"], plan["window"], strict=True):
        found.append(list(range(window - halo - edge, size - (halo - edge) - 1, window - 2 * halo)))
    return found


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """CPU seconds of each arm, geoseg's in its own color."""
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(8, 1 + 0.35 * len(rows)), layout="constrained")
    colors = ["#4c72b0" if row[""].startswith("geoseg") else "#bbbbbb" for row in rows]
    bars = axes.barh([row[""] for row in rows], [row["CPU s"] for row in rows], color=colors)
    axes.bar_label(bars, [f"{row['CPU s']:.1f}" for row in rows], padding=3)
    axes.margins(x=0.1)
    axes.invert_yaxis()
    axes.set_xlabel("CPU seconds from image to GeoPackage, process and all")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, show, draw."""
    benchmark = Benchmark(__doc__)
    benchmark.parser.add_argument("--peers", type=Path, help="environment with the peers (default: this one)")
    benchmark.parser.add_argument(
        "--before", type=Path, help="a checkout of an earlier commit, mapped in turn"
    )
    benchmark.parser.add_argument("--image", type=Path, help="scene, a GeoTIFF at the model's resolution")
    benchmark.parser.add_argument("--model", default="buildings-liteunet")
    benchmark.parser.add_argument("--runtimes", nargs="+", default=RUNTIMES, metavar="BACKEND:PRECISION")
    with benchmark:
        arguments, folder = benchmark.arguments, benchmark.folder
        side = 1 if arguments.quick else 4
        scene = arguments.image or make_scene(folder / "scene.tif", side, side)
        common = {"model": arguments.model, "compute.executor": "serial"}
        ours = {}
        for name in arguments.runtimes:
            backend, precision = name.split(":")
            chosen = common | {"compute.backend": backend, "compute.precision": precision}
            ours[f"geoseg {name}"] = mapping(f"geoseg {name}", scene, folder, **chosen)
        if arguments.before is not None:
            ours["before"] = mapping("before", scene, folder, checkout=arguments.before, **common)
        others = list(loops(arguments, scene, folder))
        warm([arm.checkout for arm in ours.values()], folder)
        taken = compared([*ours.values(), *others], arguments.rounds, folder, removed)
        rows, lines = [], {}
        for arm in (*ours.values(), *others):
            place = folder / arm.name.replace(" ", "-")
            if arm.name in ours:
                (layer,) = (folder / "maps" / place.name).glob("*/buildings.gpkg")
                raster, borders = layer.parent / "classes.tif", borders_of(planned(arm))
            else:
                layer, raster = place / "polygons.gpkg", place / "classes.tif"
                borders = taken[arm.name][-1].said["borders"]
            lines[arm.name] = Lines.of(raster, borders)
            figures = {key: median(taken[arm.name], key) for key in ("cpu", "wall", "peak_mb")}
            rows.append(
                {
                    "": arm.name,
                    "CPU s": figures["cpu"],
                    "wall s": figures["wall"],
                    "peak MB": figures["peak_mb"],
                }
                | quality(layer, raster)
            )
        for row in rows:
            rest = [found for name, found in lines.items() if name != row[""]]
            row["seams"] = seams(lines[row[""]], rest)
        benchmark.table(f"{arguments.model}, {scene.name}", rows)
        benchmark.keep(taken)
        draw(arguments.out / "peers.png", rows)


if __name__ == "__main__":
    main()
