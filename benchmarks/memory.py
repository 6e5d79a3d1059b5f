"""Memory of a whole run for growing scenes: python benchmarks/memory.py --out DIR [--mpx 25 98 400 1600].

A network that answers the same everywhere, so that hours of arithmetic are left out and everything round it
stays; the most memory that all processes of a run have together, against what ``compute.memory`` allows its
workers and what the plan foresees. What came out: benchmarks/speed.md.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt
from measure import ROOT, Benchmark, Taken, make_scene, mapping, planned, removed, take, warm
from synthetic.bundles import random_bundle

from geoseg.models.saving import save_bundle

SIZES = (25, 100, 400, 1600)


def main() -> None:
    """Measure, show, draw."""
    benchmark = Benchmark(__doc__)
    benchmark.parser.add_argument(
        "--mpx", nargs="+", type=int, default=SIZES, help="sizes of scenes, squares"
    )
    benchmark.parser.add_argument("--memory", default="1.2 GB", help="compute.memory")
    benchmark.parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    benchmark.parser.add_argument("--model", help="a real network instead of the constant one")
    with benchmark:
        arguments, folder = benchmark.arguments, benchmark.folder
        sizes = (4, 9) if arguments.quick else arguments.mpx
        model = arguments.model or str(constant(folder / "constant"))
        warm([ROOT], folder)
        rows, taken = [], {}
        for size in sizes:
            side = max(1, round(math.sqrt(size / 1.048576)))
            scene = make_scene(folder / f"scene-{size}.tif", side, side)
            for workers in arguments.workers:
                kind = "serial" if workers == 1 else "processes"
                settings = {"model": model, "compute.executor": kind, "compute.workers": str(workers)}
                arm = mapping(
                    f"{size} Mpx {workers}", scene, folder, **settings, **{"compute.memory": arguments.memory}
                )
                removed(arm)
                plan, found = planned(arm), take(arm, folder)
                taken[arm.name] = [found]
                rows.append(row(side, workers, plan, found, arguments.memory))
                removed(arm)
            scene.unlink()
        benchmark.table("Peak of the whole process tree", rows)
        benchmark.keep(taken)
        draw(arguments.out / "memory.png", rows)


def constant(folder: Path) -> Path:
    """A bundle of a small network without weights, which answers background everywhere."""
    bundle = random_bundle(folder / "random", "mobilenetv3-small", halo=64)
    network = copy.deepcopy(bundle.network())
    *_, last = network.parameters()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        last.copy_(torch.tensor([3.0, -3.0]))
    return save_bundle(folder / "constant", bundle.spec, network, graph=True).folder


def row(side: int, workers: int, plan: dict[str, Any], found: Taken, memory: str) -> dict[str, Any]:
    """What one run took."""
    return {
        "": f"{side * side * 1.048576:.0f} Mpx", "workers": workers, "peak MB": found.peak_mb,
        "planned MB a worker": plan["worker_mb"], "compute.memory": memory, "wall s": found.wall,
        "CPU s per Mpx": found.cpu / (side * side * 1.048576),
    }  # fmt: skip


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """Peaks over sizes."""
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for workers in dict.fromkeys(row["workers"] for row in rows):
        mine = [row for row in rows if row["workers"] == workers]
        sizes = [float(row[""].split()[0]) for row in mine]
        (line,) = axes.plot(sizes, [row["peak MB"] for row in mine], "o-", label=f"{workers} at work")
        planned_mb = [row["planned MB a worker"] * workers for row in mine]
        axes.plot(sizes, planned_mb, "--", color=line.get_color(), label=f"planned for {workers}")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("Mpx of the scene")
    axes.set_ylabel("MB, all processes")
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
