"""Quantize a model: its graph in 8-bit integers, with ranges and biases of real windows, for OpenVINO."""

from __future__ import annotations

import importlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from geoseg.arrays import Float32
from geoseg.config.model.contract import GraphFile, QuantizedGraph
from geoseg.config.model.mlm import INT8_NAMES
from geoseg.config.workflow import Workflow
from geoseg.engine.contract import check_header, image_of
from geoseg.errors import OutputError, SceneError, of_scene
from geoseg.grid.ground import model_grid
from geoseg.grid.tiling import align_up
from geoseg.grid.window import Window
from geoseg.io.raster.scene import Reading, Scene
from geoseg.io.raster.scene_reader import SceneReader
from geoseg.io.stac.folder import open_catalog
from geoseg.io.weights import write_graph
from geoseg.models.backends.openvino import openvino
from geoseg.models.bundle import Bundle
from geoseg.models.predictor import scaled_image
from geoseg.models.saving import changed_bundle
from geoseg.words import listed

__all__ = ["quantize"]

_SIDE: Final = 512
"""Side of the windows that ranges are calibrated on, in pixels."""
_WINDOWS: Final = 64
_LEAST_VALID: Final = 0.9


def quantize(bundle: Bundle, catalog: Path, folder: Path) -> Bundle:
    """Write a copy of a bundle that has its network in 8-bit integers, too.

    Ranges of activations are those of up to 64 windows, spread over the scenes; biases are corrected
    layer by layer on the same windows ("accurate bias correction" of NNCF), which takes minutes.

    Args:
        bundle: with a graph.
        catalog: of scenes such as the model will see.
        folder: of the new bundle; made when absent, a bundle in it is replaced.

    Raises:
        BundleError: the model has no graph.
        CatalogError, SceneError: a scene cannot be read, or none has a window of mostly valid pixels.
        OutputError: NNCF is not installed, or the folder cannot be written.
    """
    try:
        nncf = importlib.import_module("nncf")
    except ImportError as error:
        raise OutputError(
            f"quantizing needs {error.name or 'nncf'}, which is not installed; pip install 'geoseg[quantize]'"
        ) from error
    bundle.check_graph()
    found = open_catalog(catalog, "local", None)
    if found.refusals:
        raise SceneError(found.refusals[0].reason, scene=found.refusals[0].id)
    images = []
    for ref in found.scenes:
        workflow = Workflow.model_validate({"catalog": "none", "model": "given"})
        with of_scene(ref.id):
            scene = Reading.of(workflow.scenes, bundle.spec.bands).describe(ref)
            images += list(_windows(bundle, scene, -(-_WINDOWS // len(found.scenes))))
    if not images:
        raise SceneError(f"{catalog} has no window of {_SIDE} px that is mostly valid; give other scenes")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    graph = openvino.Core().read_model(bundle.graph_path())
    # Normalization becomes part of the convolution before it: biases are corrected of convolutions alone.
    transformations = importlib.import_module("openvino._offline_transformations")
    transformations.apply_moc_transformations(graph, cf=True)
    model = nncf.quantize(
        graph,
        nncf.Dataset(images),
        subset_size=len(images),
        preset=nncf.QuantizationPreset.MIXED,
        fast_bias_correction=False,
    )
    data = f"{len(images)} windows of {listed(ref.id for ref in found.scenes)}"
    return _saved(bundle, folder, model, data)


def _saved(bundle: Bundle, folder: Path, model: Any, data: str) -> Bundle:
    with tempfile.TemporaryDirectory() as place:
        openvino.save_model(model, Path(place, INT8_NAMES[0]), compress_to_fp16=False)
        parts = [Path(place, name).read_bytes() for name in INT8_NAMES]
    files = [write_graph(folder / name, part) for name, part in zip(INT8_NAMES, parts, strict=True)]
    operations, weights = (GraphFile(sha256=sha256, size=size) for sha256, size in files)
    made_of = bundle.spec.network_digest
    int8 = QuantizedGraph(made_of=made_of, operations=operations, weights=weights, data=data)
    measured = tuple(one for one in bundle.spec.measured if one.precision != "int8")
    return changed_bundle(bundle, {"int8": int8, "measured": measured}, folder)


def _windows(bundle: Bundle, scene: Scene, count: int) -> Iterator[Float32]:
    """Scaled windows of a scene that are mostly valid, float32 (1, C, side, side), spread evenly."""
    spec, side = bundle.spec, align_up(_SIDE, bundle.spec.alignment)
    grid = model_grid(scene.geobox, spec.resolution, spec.resolution_tolerance)
    check_header(image_of(scene), spec, stretch=None, any_resolution=False, sample=None)
    height, width = max(grid.height - side, 0), max(grid.width - side, 0)
    across = max(1, round((count * max(width, 1) / max(height, 1)) ** 0.5))
    down = -(-count // across)
    with SceneReader(scene, grid) as reader:
        for row in np.linspace(0, height, down, dtype=int).tolist():
            for col in np.linspace(0, width, across, dtype=int).tolist():
                read = reader.read(Window(row, col, side, side))
                if read.valid.mean() >= _LEAST_VALID:
                    yield scaled_image(read.pixels, read.valid, spec)
