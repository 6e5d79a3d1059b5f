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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

PEERS = ("geoai", "torchgeo", "monai")
WINDOW, HALO = 512, 64
"""Of the peers, whose own defaults are smaller; the tuned loops have windows as large as pay."""
TUNED_WINDOW = 2048
RUNTIMES = ("openvino:fp32", "openvino:bf16")
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
    tuned = [
        ("torch", "fp32", None),
        ("torch", "bf16", None),
        ("openvino", "fp32", None),
        ("openvino", "bf16", None),
    ]
    if arguments.int8 is not None:
        tuned.append(("openvino", "int8", str(arguments.int8)))
    for backend, precision, graph in tuned:
        name = f"loop {backend} {precision}"
        yield loop(
            name, "hand", sys.executable, out=str(folder / name.replace(" ", "-")), backend=backend,
            precision=precision, window=side, graph=graph, **chosen,
        )  # fmt: skip
    python = str(arguments.peers / "bin" / "python") if arguments.peers else sys.executable
    for peer in PEERS:
        if installed(python, peer):
            yield loop(peer, peer, python, out=str(folder / peer), window=WINDOW, **chosen)
        else:
            print(f"{peer}: left out, it is not installed in {python}")


def seams(classes: np.ndarray[Any, np.dtype[np.uint8]], borders: list[list[int]] | None) -> float | None:
    """How often the class changes across the borders of windows, in times of how often it does elsewhere."""
    if borders is None:
        return None
    at = elsewhere = lines = others = 0
    for axis, found in enumerate(borders):
        changes = np.count_nonzero(np.diff(classes, axis=axis), axis=1 - axis)
        is_border = np.zeros(changes.size, np.bool_)
        is_border[np.array(found, np.int64) - 1] = True
        at, lines = at + int(changes[is_border].sum()), lines + int(is_border.sum())
        elsewhere, others = elsewhere + int(changes[~is_border].sum()), others + int((~is_border).sum())
    return (at / lines) / (elsewhere / others) if lines and elsewhere else None


def quality(layer: Path, raster: Path, borders: list[list[int]] | None) -> dict[str, Any]:
    """What is in a layer of polygons, and the seams of the classes that it was made of."""
    name = next(str(name) for name, _ in pyogrio.list_layers(layer))
    _, _, wkb, _ = pyogrio.raw.read(layer, layer=name, columns=[])
    polygons = np.asarray(shapely.from_wkb(wkb), object)
    sound = shapely.is_valid(polygons)
    one, other = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    one, other = one[one < other], other[one < other]
    whole = shapely.make_valid(polygons)
    shared = shapely.area(shapely.intersection(whole[one], whole[other]))
    with rasterio.open(raster) as source:
        classes, pixel = source.read(1), abs(source.transform.a * source.transform.e)
    return {
        "polygons": len(polygons),
        "invalid": int((~sound).sum()),
        "overlapping pairs": int((shared > OVERLAP * pixel).sum()),
        "vertices each": float(shapely.get_num_coordinates(polygons).mean()) if len(polygons) else 0.0,
        "seams": seams(np.where(classes == 1, 1, 0).astype(np.uint8), borders),
    }


def borders_of(plan: dict[str, Any]) -> list[list[int]]:
    """Rows and columns at which geoseg's windows meet."""
    found = []
    for size, window in zip(plan["network_size"], plan["window"], strict=True):
        found.append(list(range(window - 2 * plan["halo"], size - 1, window - 2 * plan["halo"])))
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
    benchmark.parser.add_argument("--int8", type=Path, help="the model's int8 graph, for a tuned loop")
    with benchmark:
        arguments, folder = benchmark.arguments, benchmark.folder
        side = 1 if arguments.quick else 4
        scene = arguments.image or make_scene(folder / "scene.tif", side, side)
        common = {"model": arguments.model, "compute.executor": "serial"}
        ours = {}
        for name in arguments.runtimes:
            backend, precision = name.split(":")
            chosen = common | {"compute.backend": backend, "compute.precision": precision}
            ours[f"geoseg {backend} {precision}"] = mapping(
                f"geoseg {backend} {precision}", scene, folder, **chosen
            )
        if arguments.before is not None:
            ours["before"] = mapping("before", scene, folder, checkout=arguments.before, **common)
        others = list(loops(arguments, scene, folder))
        warm([arm.checkout for arm in ours.values()], folder)
        taken = compared([*ours.values(), *others], arguments.rounds, folder, removed)
        rows = []
        for arm in (*ours.values(), *others):
            place = folder / arm.name.replace(" ", "-")
            if arm.name in ours:
                (layer,) = (folder / "maps" / place.name).glob("*/buildings.gpkg")
                found = quality(layer, layer.parent / "classes.tif", borders_of(planned(arm)))
            else:
                said = taken[arm.name][-1].said
                found = quality(place / "polygons.gpkg", place / "classes.tif", said["borders"])
            figures = {key: median(taken[arm.name], key) for key in ("cpu", "wall", "peak_mb")}
            rows.append(
                {
                    "": arm.name,
                    "CPU s": figures["cpu"],
                    "wall s": figures["wall"],
                    "peak MB": figures["peak_mb"],
                }
                | found
            )
        benchmark.table(f"{arguments.model}, {scene.name}", rows)
        benchmark.keep(taken)
        draw(arguments.out / "peers.png", rows)


if __name__ == "__main__":
    main()
