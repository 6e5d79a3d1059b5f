"""One arm of a comparison, run in a process of its own: its time and its peak of memory are nobody else's.

Usage: python arms.py ARM FOLDER [ARGUMENT …]; prints one line of JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
import torch
from rasterio.features import shapes
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from geoseg.arrays import Objects, UInt8
from geoseg.engine.bounds import POLYGON_STRIP
from geoseg.engine.execute import ExecutorKind
from geoseg.flow.run.prepare import prepare
from geoseg.flow.run.run import run
from geoseg.grid.blend import Blend
from geoseg.grid.stitch import Prediction, Stitcher
from geoseg.grid.tiling import tile_grid
from geoseg.grid.window import Window
from geoseg.models.bundle import load_bundle
from geoseg.polygons.trace.exact import exact_polygons


def peak_megabytes() -> float:
    """Highest memory of this process so far."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def mapped(folder: Path, model: str, executor: ExecutorKind, name: str, **overrides: str) -> dict[str, Any]:
    """A run of geoseg on the folder's scene: rasters only, as the naive loop makes them."""
    workflow = folder / "benchmark.yaml"
    settings = {
        "model": model,
        "output": str(folder / f"{name}-{os.getpid()}"),
        "compute.executor": executor,
        "vectorize": "null",
    }
    if executor == "processes":
        settings["compute.workers"] = "2"
    settings |= overrides
    (plan,) = prepare(workflow, settings).plans
    start = time.perf_counter()
    summary = run(workflow, settings)
    seconds = time.perf_counter() - start
    assert summary.count("done") == 1, summary.scenes
    return {
        "seconds": seconds,
        "bound_mb": plan.worker_bytes / 1e6,
        "network_mpx": len(plan.tiles.grid) * plan.tiles.grid.rows.window * plan.tiles.grid.cols.window / 1e6,
    }


def geoseg_map(folder: Path, model: str) -> dict[str, Any]:
    """The whole path, in this process."""
    return mapped(folder, model, "serial", "map")


def processes_map(folder: Path, model: str) -> dict[str, Any]:
    """The same with two worker processes."""
    return mapped(folder, model, "processes", "map-2")


def blended_map(folder: Path, model: str, blend: str) -> dict[str, Any]:
    """Windows of one size with one kind of blending."""
    overrides = {"tiling.blend": blend, "tiling.window": "512 px", "tiling.halo": "80 px"}
    return mapped(folder, model, "serial", f"map-{blend}", **overrides)


def naive_map(folder: Path, model: str) -> dict[str, Any]:
    """The loop that everybody writes: whole scene, windows, Hann sums and weights in memory.

    512 px windows with a halo of 64 px, fp32, PyTorch's default layout and allocator, one thread, the same
    network; writes the same two rasters of two classes, plain, without overviews and unverified.
    """
    bundle = load_bundle(model)
    spec = bundle.spec
    size, halo, classes = 512, 64, len(spec.classes)
    start = time.perf_counter()
    torch.set_num_threads(1)
    network = bundle.network().to(memory_format=torch.contiguous_format)
    with rasterio.open(folder / "scene.tif") as source:
        image = source.read().astype(np.float32)
        profile = source.profile
    mean, std = (
        np.array(values, np.float32)[:, None, None] for values in (spec.scaling.mean, spec.scaling.std)
    )
    image = (image - mean) / std
    _, height, width = image.shape
    step = size - 2 * halo
    padded = np.pad(image, ((0, 0), (halo, size), (halo, size)), mode="reflect")
    ramp = np.hanning(size + 2)[1:-1].astype(np.float32)
    weight = np.outer(ramp, ramp)
    sums = np.zeros((classes, *padded.shape[1:]), np.float32)
    weights = np.zeros(padded.shape[1:], np.float32)
    for row in range(0, height + halo, step):
        for col in range(0, width + halo, step):
            window = np.ascontiguousarray(padded[None, :, row : row + size, col : col + size])
            if window.shape[2:] != (size, size):
                continue
            with torch.inference_mode():
                logits = network(torch.from_numpy(window))
            assert isinstance(logits, torch.Tensor)
            sums[:, row : row + size, col : col + size] += logits[0].numpy() * weight
            weights[row : row + size, col : col + size] += weight
    mean_logits = (sums / weights)[:, halo : halo + height, halo : halo + width]
    probability = F.softmax(torch.from_numpy(mean_logits), 0).numpy()
    chosen = probability.argmax(0).astype(np.uint8)
    stored = np.rint(200 * probability[1:]).astype(np.uint8)
    profile.update(driver="GTiff", dtype="uint8", compress="deflate", photometric="minisblack", count=1)
    with rasterio.open(folder / "naive-classes.tif", "w", **profile) as target:
        target.write(chosen, 1)
    profile.update(count=len(stored))
    with rasterio.open(folder / "naive-probability.tif", "w", **profile) as target:
        target.write(stored)
    return {"seconds": time.perf_counter() - start}


def _rasters(folder: Path, kind: str) -> tuple[UInt8, UInt8]:
    with rasterio.open(folder / f"{kind}-classes.tif") as source:
        classes: UInt8 = source.read(1)
    return classes, np.full_like(classes, 200)


def geoseg_polygons(folder: Path, kind: str) -> dict[str, Any]:
    """Exact polygons with pixel counts and score sums, strip by strip."""
    classes, scores = _rasters(folder, kind)
    ids = sorted(set(np.unique(classes).tolist()) - {0})
    rows = POLYGON_STRIP // classes.shape[1]
    before = peak_megabytes()
    start = time.perf_counter()
    strips = ((classes[i : i + rows], scores[i : i + rows]) for i in range(0, len(classes), rows))
    found = list(exact_polygons(strips, classes.shape[1], ids))
    seconds = time.perf_counter() - start
    polygons = np.concatenate([region.polygons for region in found])
    area = sum(int(region.components.pixels.sum()) for region in found)
    return {"seconds": seconds, "extra_mb": peak_megabytes() - before, **_seen(polygons, area)}


def gdal_polygons(folder: Path, kind: str) -> dict[str, Any]:
    """GDAL's polygonizer through rasterio, made into shapely polygons; no statistics."""
    classes, _ = _rasters(folder, kind)
    before = peak_megabytes()
    start = time.perf_counter()
    polygons = np.array(
        [shapely.geometry.shape(shape) for shape, _ in shapes(classes, mask=classes > 0, connectivity=4)]
    )
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "extra_mb": peak_megabytes() - before,
        **_seen(polygons, int((classes > 0).sum())),
    }


def _seen(polygons: Objects, area: int) -> dict[str, Any]:
    """What must be the same whoever made the polygons."""
    forms = sorted(shapely.to_wkb(shapely.normalize(polygons)))
    return {
        "polygons": len(polygons),
        "area_px": area,
        "same": hashlib.sha256(b"".join(forms)).hexdigest()[:16],
        "area_is_exact": bool(round(float(shapely.area(polygons).sum())) == area),
    }


def stitching(folder: Path, blend: Blend) -> dict[str, Any]:
    """Stitching alone: windows of 512 px, halo 80 px, two classes, with a network that costs nothing."""
    del folder
    shape = (4096, 4096)
    tiles = tile_grid(shape, 512, 80, 16)
    size = (tiles.rows.window, tiles.cols.window)
    given = Prediction(np.ones((2, *size), np.float32), np.ones(size, np.bool_))
    start = time.process_time()
    for band in tiles.window_rows(1):
        Stitcher(tiles, blend, 2).stitch(band, lambda windows: [given] * len(windows), 1, _ignore)
    seconds = time.process_time() - start
    return {"seconds": seconds, "ms_per_mpx": 1e9 * seconds / (shape[0] * shape[1])}


def _ignore(window: Window, found: Prediction) -> None:
    del window, found


ARMS: dict[str, Callable[..., dict[str, Any]]] = {
    "geoseg": geoseg_map,
    "processes": processes_map,
    "naive": naive_map,
    "blend": blended_map,
    "geoseg-polygons": geoseg_polygons,
    "gdal-polygons": gdal_polygons,
    "stitch": stitching,
}


def main() -> None:
    """Run the arm that the command line names."""
    name, folder, *arguments = sys.argv[1:]
    used = time.process_time()
    children = os.times()
    result = ARMS[name](Path(folder), *arguments)
    after = os.times()
    result["cpu_seconds"] = (
        time.process_time()
        - used
        + (after.children_user + after.children_system)
        - (children.children_user + children.children_system)
    )
    result["peak_mb"] = peak_megabytes()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
