"""From one worker to several: python benchmarks/scaling.py --out DIR [--workers 2 4 …] [--scenes CATALOG].

One scene and eight, mapped by one process and by N workers, against the ceiling of this machine: N serial
runs at the same time, which share nothing. What came out: benchmarks/speed.md.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from measure import ROOT, Arm, Benchmark, make_scene, mapping, removed, take, take_together, warm


def independent(scenes: Path, folder: Path, workers: int, settings: dict[str, str]) -> list[Arm]:
    """Serial runs of the same scenes, each with an output of its own."""
    return [mapping(f"alone {place}", scenes, folder, **settings) for place in range(workers)]


def measured(
    title: str, scenes: Path, benchmark: Benchmark, settings: dict[str, str]
) -> list[dict[str, Any]]:
    """Rows of one set of scenes, one for each number of workers."""
    arguments, folder = benchmark.arguments, benchmark.folder
    serial = mapping("serial", scenes, folder, **settings, **{"compute.executor": "serial"})
    walls: dict[str, list[float]] = {}
    cpus: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        removed(serial)
        one = take(serial, folder, memory=False)
        walls.setdefault("serial", []).append(one.wall)
        cpus.setdefault("serial", []).append(one.cpu)
        for workers in arguments.workers:
            together = independent(scenes, folder, workers, settings | {"compute.executor": "serial"})
            pool = {"compute.executor": "processes", "compute.workers": str(workers)}
            several = mapping("several", scenes, folder, **settings, **pool)
            for arm in (*together, several):
                removed(arm)
            walls.setdefault(f"alone {workers}", []).append(
                max(taken.wall for taken in take_together(together, folder, memory=False))
            )
            found = take(several, folder, memory=False)
            walls.setdefault(f"workers {workers}", []).append(found.wall)
            cpus.setdefault(f"workers {workers}", []).append(found.cpu)
    wall = {name: statistics.median(values) for name, values in walls.items()}
    cpu = {name: statistics.median(values) for name, values in cpus.items()}
    rows = []
    for workers in arguments.workers:
        ceiling = workers * wall["serial"] / wall[f"alone {workers}"]
        gained = wall["serial"] / wall[f"workers {workers}"]
        rows.append(
            {
                "": title, "workers": workers, "serial wall s": wall["serial"],
                "workers' wall s": wall[f"workers {workers}"], "× faster": gained, "ceiling": ceiling,
                "of the ceiling": gained / ceiling, "serial CPU s": cpu["serial"],
                "workers' CPU s": cpu[f"workers {workers}"],
            }
        )  # fmt: skip
    benchmark.figures[title] = {"wall": walls, "cpu": cpus}
    return rows


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """How many times faster, and the ceiling."""
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for title in dict.fromkeys(row[""] for row in rows):
        mine = [row for row in rows if row[""] == title]
        counts = [1, *(row["workers"] for row in mine)]
        (line,) = axes.plot(counts, [1.0, *(row["× faster"] for row in mine)], "o-", label=title)
        axes.plot(
            counts,
            [1.0, *(row["ceiling"] for row in mine)],
            "--",
            color=line.get_color(),
            label=f"{title}: ceiling",
        )
    axes.set_xticks(sorted({1, *(row["workers"] for row in rows)}))
    axes.set_xlabel("workers")
    axes.set_ylabel("times faster than one process")
    axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, show, draw."""
    benchmark = Benchmark(__doc__)
    benchmark.parser.add_argument("--workers", nargs="+", type=int, default=[2])
    benchmark.parser.add_argument(
        "--scenes", nargs="+", type=Path, help="catalogs (default: one scene and eight, generated)"
    )
    benchmark.parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of the workflow"
    )
    with benchmark:
        arguments, folder = benchmark.arguments, benchmark.folder
        sets = arguments.scenes or []
        if not sets:
            large, eight = (1, 2) if arguments.quick else (4, 8)
            sets = [make_scene(folder / "one.tif", large, large), folder / "several"]
            sets[1].mkdir()
            for place in range(eight):
                make_scene(sets[1] / f"scene{place}.tif", *((1, 1) if arguments.quick else (2, 3)))
        settings = dict(part.split("=", 1) for part in arguments.set)
        warm([ROOT], folder)
        rows = [row for scenes in sets for row in measured(scenes.stem, scenes, benchmark, settings)]
        benchmark.table("Workers", rows)
        draw(arguments.out / "scaling.png", rows)


if __name__ == "__main__":
    main()
