"""Speed and memory side by side, as ratios within one run: python benchmarks/run.py [--json FILE].

What is compared, how, and what was measured: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from synthetic.bundles import random_bundle

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent / "examples" / "austin_synthetic"
ITEM: dict[str, Any] = {
    "type": "Feature",
    "stac_version": "1.0.0",
    "id": "scene",
    "geometry": None,
    "properties": {"datetime": "2026-11-20T00:00:00Z"},
    "links": [],
    "assets": {"image": {"href": "scene.tif", "roles": ["data"], "type": "image/tiff"}},
}


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison."""

    what: str
    """What is compared, and on what."""
    arms: dict[str, dict[str, float]]
    """By name of the arm, the first being geoseg's or the plain one: medians of what each said."""
    ratio: float
    """How many times the first arm's time the second takes."""
    by: str
    """Which figure the ratio is of."""
    notes: tuple[str, ...] = ()
    """What else was seen."""


def make_scene(folder: Path, rows: int, cols: int) -> None:
    """The demonstration scene, mirrored side by side so many times, with a catalog and a workflow."""
    folder.mkdir()
    for name in ("scene", "landcover"):
        with rasterio.open(EXAMPLE / f"{name}.tif") as source:
            pixels = source.read()
            profile = source.profile
        pairs = [np.concatenate([pixels, pixels[:, :, ::-1]], axis=2)] * ((cols + 1) // 2)
        strip = np.concatenate(pairs, axis=2)[:, :, : cols * pixels.shape[2]]
        whole = np.concatenate([strip if k % 2 == 0 else strip[:, ::-1] for k in range(rows)], axis=1)
        profile.update(height=whole.shape[1], width=whole.shape[2], compress="deflate", photometric=None)
        profile = {key: value for key, value in profile.items() if value is not None}
        target = folder / ("scene.tif" if name == "scene" else "landcover-classes.tif")
        with rasterio.open(target, "w", **profile) as raster:
            raster.write(whole)
            if name == "scene":
                for band, color in enumerate(("red", "green", "blue"), 1):
                    raster.set_band_description(band, color)
    (folder / "catalog.json").write_text(json.dumps({"type": "FeatureCollection", "features": [ITEM]}))
    (folder / "benchmark.yaml").write_text("catalog: catalog.json\nmodel: buildings-mininet2\n")


def arm(name: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """One arm in a process of its own."""
    command = [sys.executable, str(HERE / "arms.py"), name, str(folder), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # noqa: S603 - our own script
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(what: str, arms: dict[str, tuple[str, Path, tuple[str, ...]]], repeat: int, by: str) -> Row:
    """Run arms in turn, several times over, and compare the medians of the first two."""
    seen: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    for _ in range(repeat):
        for name, (function, folder, arguments) in arms.items():
            seen[name].append(arm(function, folder, *arguments))
    medians = {
        name: {
            key: statistics.median(result[key] for result in results)
            for key, value in results[0].items()
            if isinstance(value, float)
        }
        for name, results in seen.items()
    }
    first, second = (medians[name][by] for name in list(arms)[:2])
    notes = []
    if "same" in seen[next(iter(arms))][0]:
        (left, right) = (results[0] for results in seen.values())
        notes.append(
            f"{left['polygons']} polygons, {'identical' if left['same'] == right['same'] else 'DIFFERENT'}"
        )
    row = Row(what, medians, second / first, by, tuple(notes))
    show(row)
    return row


def show(row: Row) -> None:
    """One comparison as lines of text."""
    print(row.what)
    for name, figures in row.arms.items():
        memory = f"{figures['peak_mb']:7.0f} MB"
        if "bound_mb" in figures:
            memory += f" (bound {figures['bound_mb']:.0f})"
        if "extra_mb" in figures:
            memory = f"{figures['extra_mb']:+7.0f} MB"
        if "ms_per_mpx" in figures:
            memory = f"{figures['ms_per_mpx']:7.1f} ms/Mpx"
        print(f"    {name:28} {figures['seconds']:7.2f} s {figures['cpu_seconds']:7.2f} CPU s  {memory}")
    print(f"    second / first, {row.by}: {row.ratio:.2f}  {'; '.join(row.notes)}", flush=True)


def machine() -> dict[str, Any]:
    """Where this ran, and what else did."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Run every comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=1, help="runs of each arm; medians are reported")
    parser.add_argument("--json", type=Path, help="write all figures here")
    arguments = parser.parse_args()
    before = machine()
    print(before)
    with tempfile.TemporaryDirectory() as temporary:
        large, small, long = (Path(temporary) / name for name in ("large", "small", "long"))
        make_scene(large, 4, 4)
        make_scene(small, 1, 1)
        make_scene(long, 8, 4)
        random_bundle(small / "micronet", "micronet")
        mininet, micronet = "buildings-mininet2", str(small / "micronet")
        repeat = arguments.repeat
        rows = [
            compare(
                "(a) map, MiniNet #2, 16.8 Mpx, one thread",
                {"geoseg": ("geoseg", large, (mininet,)), "naive loop": ("naive", large, (mininet,))},
                repeat,
                "cpu_seconds",
            ),
            compare(
                "(a) map, Micro-Net at its exact halo, 1 Mpx, one thread",
                {"geoseg": ("geoseg", small, (micronet,)), "naive loop": ("naive", small, (micronet,))},
                repeat,
                "cpu_seconds",
            ),
            *(
                compare(
                    f"(b) exact polygons, {what}, 16.8 Mpx",
                    {
                        "geoseg, with statistics": ("geoseg-polygons", large, (kind,)),
                        "rasterio.features.shapes": ("gdal-polygons", large, (kind,)),
                    },
                    repeat,
                    "seconds",
                )
                for kind, what in (("naive", "buildings as mapped"), ("landcover", "land cover as drawn"))
            ),
            compare(
                "(c) map, MiniNet #2, 33.6 Mpx, start of the workers included",
                {
                    "two processes (driver's MB)": ("processes", long, (mininet,)),
                    "serial": ("geoseg", long, (mininet,)),
                },
                repeat,
                "seconds",
            ),
            compare(
                "(d) map, MiniNet #2, 16.8 Mpx, same windows",
                {
                    "crop": ("blend", large, (mininet, "crop")),
                    "hann": ("blend", large, (mininet, "hann")),
                },
                repeat,
                "cpu_seconds",
            ),
            compare(
                "(d) stitching alone, 2 classes, 16.8 Mpx",
                {"crop": ("stitch", large, ("crop",)), "hann": ("stitch", large, ("hann",))},
                repeat,
                "seconds",
            ),
        ]
    if arguments.json:
        figures = {"before": before, "after": machine(), "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
