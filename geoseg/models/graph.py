"""A network's graph: its operations as ONNX, with its weights left in the bundle's own file.

ONNX lets a tensor lie in another file: of each weight the graph says where in ``weights.safetensors`` it
begins. So the graph is small, the weights are there once, and the two cannot disagree: what a backend other
than torch computes with are the bytes that torch loads.

torch and its exporter are imported when a graph is made; who computes with one needs neither.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from geoseg._version import __version__
from geoseg.config.model.contract import BundleSpec
from geoseg.config.model.mlm import WEIGHTS_NAME
from geoseg.errors import BundleError
from geoseg.io.weights import stored_tensors

if TYPE_CHECKING:
    import torch
    from torch import nn

    from geoseg.models.networks.network import Network

__all__ = ["OPSET", "anonymous", "least_side", "make_graph", "quiet", "to_onnx", "traced"]

OPSET = 18
"""ONNX operator set: the lowest that torch exports without converting."""
_IR_VERSION = 8
"""ONNX file version: with it and the operators above, onnxruntime 1.14 and later read the file."""
_LEAST_SIDE = 32  # smallest side of the images that networks are traced with, in pixels
_MOST_UNITS = 1 << 16  # largest side of an image, in units of the alignment; and of a batch


def make_graph(network: Network, spec: BundleSpec, weights: Path) -> bytes:
    """The graph of a network whose weights lie in a safetensors file, as an ONNX file.

    It takes ``pixels``, float32 (N, bands, H, W), scaled, H and W multiples of the alignment, and gives
    ``logits``, float32 (N, channels, H, W).

    Args:
        network: in evaluation mode, on the CPU; its layout in memory becomes torch's usual one.
        weights: the bundle's own file of these weights.

    Raises:
        BundleError: the network cannot be exported, or needs a tensor that is not in the file.
    """
    import torch  # noqa: PLC0415 - see the module's docstring

    with quiet():
        # As the file holds them; no operation of the graph depends on it.
        program = traced(spec, network.to(memory_format=cast("Any", torch.contiguous_format)), None)
        # Unoptimized, each weight stays a tensor of its own, as it lies in the file.
        model = to_onnx(spec, program, "logits", optimize=False)
    anonymous(model, spec)
    _refer(model, weights)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _refer(model: Any, weights: Path) -> None:
    """Replace the weights in an ``onnx.ModelProto`` by their places in a file; small constants stay."""
    stored = stored_tensors(weights)
    data = weights.read_bytes()
    for tensor in model.graph.initializer:
        place = stored.get(tensor.name)
        if place is None:
            continue
        shape, first, size = place
        if tuple(tensor.dims) != shape or tensor.raw_data != data[first : first + size]:
            raise BundleError(f"{weights}: the exported tensor {tensor.name!r} is not the one in the file")
        tensor.ClearField("raw_data")
        tensor.data_location = 1  # onnx.TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS_NAME), ("offset", str(first)), ("length", str(size))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value


def traced(spec: BundleSpec, module: nn.Module, tile: int | None) -> torch.export.ExportedProgram:
    """A network that takes pixels, as a program.

    Args:
        tile: side of its images, in pixels; the batch is free. None: height and width are free, too, in
            multiples of the alignment.

    Raises:
        BundleError: it cannot be exported, or not for such images.
    """
    import torch  # noqa: PLC0415 - see the module's docstring

    if tile is not None and (tile < 1 or tile % spec.alignment):
        raise BundleError(
            f"{spec.name} cannot be exported for tiles of {tile} px: they must be a multiple of its "
            f"alignment, {spec.alignment} px"
        )
    free = torch.export.Dim
    axes: dict[int, Any] = {0: free("batch", min=1, max=_MOST_UNITS)}
    height, width = tile or 3 * least_side(spec), tile or 4 * least_side(spec)
    if tile is None:
        for axis, name in ((2, "height"), (3, "width")):
            axes[axis] = spec.alignment * free(f"{name}_units", min=1, max=_MOST_UNITS)
    try:
        # Two images: torch would take a batch of one for a fixed size.
        image = torch.zeros(2, len(spec.bands), height, width)
        program = torch.export.export(module, (image,), dynamic_shapes=(axes,))
    except Exception as error:
        raise BundleError(_cannot(spec, "a graph", error)) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    program.example_inputs = None  # the zeros that it was traced with
    return program


def to_onnx(spec: BundleSpec, program: torch.export.ExportedProgram, output: str, *, optimize: bool) -> Any:
    """A program as an ``onnx.ModelProto`` with the input ``pixels``; BundleError where it cannot be one."""
    import torch  # noqa: PLC0415 - see the module's docstring

    try:
        exported = torch.onnx.export(
            program,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            optimize=optimize,
            input_names=["pixels"],
            output_names=[output],
        )
    except Exception as error:
        raise BundleError(_cannot(spec, "ONNX", error)) from error
    assert exported is not None, "None only where a file was asked for"
    return exported.model_proto


def anonymous(model: Any, spec: BundleSpec) -> None:
    """Name an ``onnx.ModelProto``, and remove what the exporter says of the machine that it ran on."""
    model.ir_version = _IR_VERSION
    model.producer_name, model.producer_version = "geoseg", __version__
    model.graph.name = spec.name
    model.graph.doc_string = ""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]
    del model.metadata_props[:]


def least_side(spec: BundleSpec) -> int:
    """A small side, in pixels, that a network takes: a multiple of its alignment."""
    return -(-_LEAST_SIDE // spec.alignment) * spec.alignment


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torch's exporter from talking about itself; what it gives is checked instead."""
    import torch  # noqa: PLC0415 - see the module's docstring

    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.inference_mode(mode=False), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _cannot(spec: BundleSpec, what: str, error: Exception) -> str:
    reason = " ".join(str(error).split())
    return f"{spec.name} ({spec.architecture}) cannot be exported to {what}: {reason:.300}"
