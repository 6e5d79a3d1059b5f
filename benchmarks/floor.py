"""A whole run against its network alone: python benchmarks/floor.py --out DIR [--before CHECKOUT].

For each backend and precision: what the bare network takes on the scene's pixels, times the pixels that the
plan's windows have with their halos, and how often that a run takes, without polygons and with them. What
came out: benchmarks/speed.md.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from measure import HERE, Arm, Benchmark, Taken, compared, make_scene, mapping, median, planned, removed, warm

RUNTIMES = ("torch:fp32", "onnxruntime:fp32", "openvino:fp32", "openvino:bf16", "openvino:int8")
SECONDS = 5.0
"""CPU seconds of passes of the bare network."""


def bare(name: str, scene: Path, window: int, **given: str) -> Arm:
    """The network alone."""
    asked = {"scene": str(scene), "window": window, "seconds": SECONDS} | given
    return Arm(name, (sys.executable, "-P", str(HERE / "speed_loops.py"), "bare", json.dumps(asked)))


def rows_of(
    runs: dict[str, dict[str, Arm]], plans: dict[str, dict[str, Any]], taken: dict[str, list[Taken]]
) -> list[dict[str, Any]]:
    """One row for each backend and precision."""
    rows = []
    for name, arms in runs.items():
        plan = plans[name]
        alone = statistics.median(one.said["seconds_per_mpx"] for one in taken[arms["bare"].name])
        floor = alone * plan["network_mpx"]
        rasters, whole = (median(taken[arms[kind].name], "cpu") for kind in ("rasters", "polygons"))
        rows.append(
            {
                "": name,
                "window": "×".join(str(size) for size in plan["window"]),
                "halo px": plan["halo"],
                "network Mpx": plan["network_mpx"],
                "bare s/Mpx": alone,
                "floor s": floor,
                "rasters s": rasters,
                "× floor": rasters / floor,
                "polygons too s": whole,
                "×  floor": whole / floor,
                "peak MB": median(taken[arms["polygons"].name], "peak_mb"),
                "planned MB": plan["worker_mb"],
            }
        )
    return rows


def draw(path: Path, rows: list[dict[str, Any]], before: float | None) -> None:
    """The network, what rasters add to it, and what polygons add to that."""
    mpl.use("Agg")
    figure, axes = plt.subplots(
        figsize=(8, 1 + 0.5 * (len(rows) + (before is not None))), layout="constrained"
    )
    names = [row[""] for row in rows]
    left = [0.0] * len(rows)
    for label, values, color in (
        ("bare network × halo", [row["floor s"] for row in rows], "#4c72b0"),
        ("reading, joining, rasters", [row["rasters s"] - row["floor s"] for row in rows], "#dd8452"),
        ("polygons", [row["polygons too s"] - row["rasters s"] for row in rows], "#55a868"),
    ):
        axes.barh(names, values, left=left, label=label, color=color)
        left = [sum(pair) for pair in zip(left, values, strict=True)]
    if before is not None:
        axes.barh(["before"], [before], color="#999999")
    axes.invert_yaxis()
    axes.set_xlabel("CPU seconds, process and all")
    figure.legend(loc="outside upper center", ncols=3)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, show, draw."""
    benchmark = Benchmark(__doc__)
    benchmark.parser.add_argument(
        "--before", type=Path, help="a checkout of an earlier commit, mapped in turn"
    )
    benchmark.parser.add_argument("--scenes", type=Path, help="catalog, image or folder (default: generated)")
    benchmark.parser.add_argument("--image", type=Path, help="one of these images, for the bare network")
    benchmark.parser.add_argument("--model", default="buildings-liteunet")
    benchmark.parser.add_argument("--runtimes", nargs="+", default=RUNTIMES, metavar="BACKEND:PRECISION")
    benchmark.parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of the workflow"
    )
    with benchmark:
        arguments, folder = benchmark.arguments, benchmark.folder
        side = 1 if arguments.quick else 4
        scenes = arguments.scenes or make_scene(folder / "scene.tif", side, side)
        image = arguments.image or (scenes if scenes.suffix == ".tif" else None)
        if image is None:
            raise SystemExit("--image names an image of --scenes")
        common = dict(part.split("=", 1) for part in arguments.set)
        common |= {"model": arguments.model, "compute.executor": "serial"}
        runs, plans = {}, {}
        for name in arguments.runtimes:
            backend, precision = name.split(":")
            chosen = common | {"compute.backend": backend, "compute.precision": precision}
            polygons = mapping(name, scenes, folder, **chosen)
            plans[name] = planned(polygons)
            runs[name] = {
                "polygons": polygons,
                "rasters": mapping(f"{name} rasters", scenes, folder, **chosen, vectorize="null"),
                "bare": bare(
                    f"{name} bare",
                    image,
                    min(plans[name]["window"]),
                    model=arguments.model,
                    backend=backend,
                    precision=precision,
                ),
            }
        arms = [arm for kinds in runs.values() for arm in kinds.values()]
        if arguments.before is not None:
            arms.append(mapping("before", scenes, folder, checkout=arguments.before, **common))
        warm([arm.checkout for arm in arms], folder)
        taken = compared(arms, arguments.rounds, folder, removed)
        rows = rows_of(runs, plans, taken)
        benchmark.table(f"{arguments.model}, serial, {scenes.name}", rows)
        before = median(taken["before"], "cpu") if arguments.before is not None else None
        if before is not None:
            benchmark.table(
                "Against the commit before",
                [{"": row[""], "CPU s": row["polygons too s"], "before": before,
                  "ratio": row["polygons too s"] / before} for row in rows],
            )  # fmt: skip
        benchmark.keep(taken)
        draw(arguments.out / "floor.png", rows, before)


if __name__ == "__main__":
    main()
