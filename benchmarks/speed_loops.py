"""Loops that map a scene with a bundle's network, each in a process of its own, to compare with.

Usage: python speed_loops.py LOOP JSON; prints a line of JSON. Of geoseg they take the network, its weights
and its graph, and nothing that cuts, joins, reads or writes.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg.models.bundle import Bundle, load_bundle
from geoseg.models.runtime import Precision

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Scaled images (n, bands, h, w) to logits."""
SIMPLIFY = 1.0
"""Pixels by which outlines are simplified."""
FEWEST_PASSES = 3
FEWEST = 90
"""Pixels of the smallest polygon, 8 m² of 0.3 m: geoseg's."""


def torch_network(model: str, precision: str) -> tuple[Bundle, Any]:
    """The network in torch as one tunes it: one thread, channels last."""
    import torch

    torch.set_num_threads(1)
    bundle = load_bundle(model)
    network = bundle.network().to(memory_format=torch.channels_last)

    class Network(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                found: torch.Tensor = network(image.contiguous(memory_format=torch.channels_last)).float()
            return found

    return bundle, Network().eval()


def torch_forward(model: str, precision: Precision, side: int) -> tuple[Bundle, Forward]:
    """The same for arrays."""
    import torch

    del side
    bundle, network = torch_network(model, precision)
    return bundle, lambda image: network(torch.from_numpy(image)).numpy()


def openvino_forward(model: str, precision: Precision, side: int) -> tuple[Bundle, Forward]:
    """OpenVINO as one tunes it: static shape, one stream, one thread."""
    import openvino

    bundle = load_bundle(model)
    core = openvino.Core()
    network = core.read_model(bundle.graph_path(precision))
    network.reshape([1, len(bundle.spec.bands), side, side])
    hint = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}[precision]
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    request = core.compile_model(
        network, "CPU", settings | {"ENABLE_CPU_PINNING": False}
    ).create_infer_request()

    def forward(image: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = request.infer([image])[0]
        return found

    return bundle, forward


def scaled(bundle: Bundle, pixels: NDArray[Any]) -> NDArray[np.float32]:
    """A network's input of (…, bands, h, w) pixels."""
    mean, std = (
        np.array(values, np.float32)[:, None, None]
        for values in (bundle.spec.scaling.mean, bundle.spec.scaling.std)
    )
    return (pixels.astype(np.float32) - mean) / std


def building(logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels (h, w) of logits (channels, h, w) that are more a building, or a border of one, than not."""
    return np.logaddexp.reduce(logits[1:], axis=0) > logits[0]


def bare(
    *, model: str, scene: str, backend: str, precision: str, window: int, seconds: float
) -> dict[str, Any]:
    """Seconds per Mpx of the network alone, as geoseg's backend computes it, on the scene's pixels."""
    from geoseg.models.predictor import Predictor
    from geoseg.models.runtime import Runtime

    bundle = load_bundle(model)
    predictor = Predictor(bundle, Runtime.resolve("cpu", precision, 1, backend))
    with rasterio.open(scene) as source:
        row, col = ((size - window) // 2 for size in source.shape)
        pixels = source.read(
            window=rasterio.windows.Window(max(0, col), max(0, row), window, window), boundless=True
        )
    image = np.ascontiguousarray(scaled(bundle, pixels)[None])
    forward = predictor._network  # noqa: SLF001 - the network, and nothing round it
    forward(image)
    took = []
    while sum(took) < seconds or len(took) < FEWEST_PASSES:
        start = time.process_time()
        forward(image)
        took.append(time.process_time() - start)
    return {"seconds_per_mpx": float(np.median(took)) / (window * window / 1e6), "passes": len(took)}


def hand(
    *,
    scene: str,
    model: str,
    out: str,
    backend: str,
    precision: Precision,
    window: int,
    halo: int,
) -> dict[str, Any]:
    """The loop of somebody who knows how: windows cropped by their halo, one raster, shapes, GeoPackage."""
    if backend == "torch":
        bundle, forward = torch_forward(model, precision, window)
    else:
        bundle, forward = openvino_forward(model, precision, window)
    step = window - 2 * halo
    with rasterio.open(scene) as source:
        image, profile, valid = source.read(), source.profile, source.dataset_mask() > 0
    _, height, width = image.shape
    below, right = -height % step, -width % step
    padded = np.pad(image, ((0, 0), (halo, halo + below), (halo, halo + right)), mode="reflect")
    classes = np.zeros((height + below, width + right), np.uint8)
    for row in range(0, height, step):
        for col in range(0, width, step):
            pixels = padded[:, row : row + window, col : col + window]
            logits = forward(np.ascontiguousarray(scaled(bundle, pixels)[None]))[0]
            inside = building(logits[:, halo : halo + step, halo : halo + step])
            classes[row : row + step, col : col + step] = inside
    classes = classes[:height, :width] * valid
    write_classes(Path(out), classes, profile)
    return {"borders": borders(height, width, step, 0), **vectorized(Path(out), classes, profile)}


def torchgeo(scene: str, model: str, out: str, window: int, halo: int) -> dict[str, Any]:
    """TorchGeo's dataset and grid sampler round a loop, as in its tutorials, with windows cropped."""
    import torch
    from torchgeo.datasets import RasterDataset
    from torchgeo.samplers import GridGeoSampler

    class Scene(RasterDataset):
        filename_glob = Path(scene).name
        is_image = True

    bundle, network = torch_network(model, "fp32")
    dataset = Scene(str(Path(scene).parent))
    step = window - 2 * halo
    with rasterio.open(scene) as source:
        profile, valid, transform = source.profile, source.dataset_mask() > 0, source.transform
    classes = np.zeros((profile["height"], profile["width"]), np.uint8)
    for place in GridGeoSampler(dataset, size=window, stride=step):
        with torch.inference_mode():
            image = torch.from_numpy(scaled(bundle, dataset[place]["image"][None].numpy()))
            inside = building(network(image)[0].numpy()).astype(np.uint8)
        col, row = (round(value) for value in ~transform * (place[0].start, place[1].stop))
        paste(classes, inside, row, col, halo)
    classes *= valid
    write_classes(Path(out), classes, profile)
    return {"borders": None, **vectorized(Path(out), classes, profile)}


def paste(classes: NDArray[np.uint8], inside: NDArray[np.uint8], row: int, col: int, halo: int) -> None:
    """Write a window's middle, and its margin where it lies at the scene's edge."""
    height, width = classes.shape
    top, left = (0 if start <= 0 else halo for start in (row, col))
    bottom = inside.shape[0] - (0 if row + inside.shape[0] >= height else halo)
    right = inside.shape[1] - (0 if col + inside.shape[1] >= width else halo)
    first, last = max(0, row + top), min(height, row + bottom)
    begin, end = max(0, col + left), min(width, col + right)
    classes[first:last, begin:end] = inside[first - row : last - row, begin - col : end - col]


def geoai(scene: str, model: str, out: str, window: int, halo: int) -> dict[str, Any]:
    """GeoAI's ``predict_geotiff`` and ``raster_to_vector``, its defaults but for the windows."""
    from geoai.inference import predict_geotiff
    from geoai.utils.raster import raster_to_vector

    bundle, network = torch_network(model, "fp32")
    folder = Path(out)
    raster = str(folder / "classes.tif")
    predict_geotiff(
        network,
        scene,
        raster,
        tile_size=window,
        overlap=2 * halo,
        batch_size=1,
        num_classes=bundle.spec.channels,
        output_dtype="uint8",
        output_nodata=255,
        preprocess_fn=lambda pixels: scaled(bundle, pixels),
        postprocess_fn=lambda logits: building(logits)[None].astype(np.uint8),
        device="cpu",
        verbose=False,
    )
    with rasterio.open(raster) as source:
        height, width = source.shape
        pixel = abs(source.transform.a * source.transform.e)
    raster_to_vector(raster, str(folder / "polygons.gpkg"), min_area=FEWEST * pixel)
    step = window - 2 * halo
    return {"borders": borders(height, width, step, halo)}


def monai(scene: str, model: str, out: str, window: int, halo: int) -> dict[str, Any]:
    """MONAI's sliding window with its Gaussian weights over the whole image, then shapes and GeoPackage."""
    import torch
    from monai.inferers import sliding_window_inference

    bundle, network = torch_network(model, "fp32")
    with rasterio.open(scene) as source:
        image, profile, valid = source.read(), source.profile, source.dataset_mask() > 0
    with torch.inference_mode():
        logits = sliding_window_inference(
            torch.from_numpy(scaled(bundle, image)[None]), (window, window), 1, network,
            overlap=2 * halo / window, mode="gaussian", padding_mode="reflect",
        )  # fmt: skip
    classes = (building(logits[0].numpy()) * valid).astype(np.uint8)
    write_classes(Path(out), classes, profile)
    step = window - 2 * halo
    return {"borders": borders(*classes.shape, step, halo), **vectorized(Path(out), classes, profile)}


def trace(*, raster: str, how: str) -> dict[str, Any]:
    """Outlines along the pixels of a raster of classes, as shapely's polygons: CPU seconds of that alone.

    ``how``: ``geoseg`` on the whole array, ``strips`` in the strips of a run, ``shapes`` of rasterio.
    """
    import shapely
    from rasterio.features import shapes

    from geoseg.engine.bounds import POLYGON_STRIP
    from geoseg.polygons.trace.exact import exact_polygons

    def traced(classes: NDArray[np.uint8]) -> NDArray[np.object_]:
        if how == "shapes":
            found = shapes(classes, mask=classes > 0, connectivity=4)
            return np.array([shapely.geometry.shape(shape) for shape, _ in found], object)
        ids = np.flatnonzero(np.bincount(classes.ravel(), minlength=256)[1:255]) + 1
        width = classes.shape[1]
        rows = len(classes) if how == "geoseg" else max(1, POLYGON_STRIP // width)
        pieces = (classes[first : first + rows] for first in range(0, len(classes), rows))
        strips = ((piece, scores[: len(piece), :width]) for piece in pieces)
        return np.concatenate([part.polygons for part in exact_polygons(strips, width, ids.tolist())])

    with rasterio.open(raster) as source:
        classes = source.read(1)
    scores = np.full_like(classes, 200)
    traced(np.ascontiguousarray(classes[:256, :256]))  # loops are compiled
    start = time.process_time()
    polygons = traced(classes)
    seconds = time.process_time() - start
    forms = sorted(shapely.to_wkb(shapely.normalize(polygons)))
    same = hashlib.sha256(b"".join(forms)).hexdigest()[:12]
    return {"seconds": seconds, "polygons": len(polygons), "sha256": same}


def borders(height: int, width: int, step: int, first: int) -> list[list[int]]:
    """Rows and columns at which another window begins."""
    return [list(range(first + step, size - 1, step)) for size in (height, width)]


def write_classes(folder: Path, classes: NDArray[np.uint8], profile: dict[str, Any]) -> None:
    """The map as a GeoTIFF."""
    kept = {key: profile[key] for key in ("height", "width", "crs", "transform")}
    path = folder / "classes.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, dtype="uint8", compress="deflate", **kept
    ) as target:
        target.write(classes, 1)


def vectorized(folder: Path, classes: NDArray[np.uint8], profile: dict[str, Any]) -> dict[str, Any]:
    """Outlines of connected pixels, simplified one by one, in a GeoPackage: what everybody does."""
    import pyogrio
    import shapely
    from rasterio.features import shapes

    found = shapes(classes, mask=classes > 0, connectivity=4)
    polygons = np.array([shapely.geometry.shape(shape) for shape, _ in found], object)
    polygons = polygons[shapely.area(polygons) >= FEWEST]
    polygons = shapely.simplify(polygons, SIMPLIFY)
    a, b, c, d, e, f = profile["transform"][:6]
    polygons = shapely.transform(
        polygons, lambda xy: np.stack([a * xy[:, 0] + b * xy[:, 1] + c, d * xy[:, 0] + e * xy[:, 1] + f], 1)
    )
    pyogrio.raw.write(
        folder / "polygons.gpkg", shapely.to_wkb(polygons), [], [], layer="polygons", driver="GPKG",
        crs=profile["crs"].to_wkt(), geometry_type="Polygon",
    )  # fmt: skip
    return {"polygons": len(polygons)}


LOOPS: dict[str, Callable[..., dict[str, Any]]] = {
    loop.__name__: loop for loop in (bare, hand, torchgeo, geoai, monai, trace)
}


def main() -> None:
    """Run the loop that the command line names."""
    name, given = sys.argv[1], json.loads(sys.argv[2])
    if "out" in given:
        Path(given["out"]).mkdir(parents=True, exist_ok=True)
    print(json.dumps(LOOPS[name](**given)))


if __name__ == "__main__":
    main()
