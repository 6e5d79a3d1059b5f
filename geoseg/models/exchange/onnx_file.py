"""ONNX files: what they say of themselves, the contract included, and how they are opened."""

from __future__ import annotations

from typing import Any

from geoseg._version import __version__
from geoseg.config.model.contract import BundleSpec
from geoseg.config.model.deepness import deepness_metadata, deepness_tile
from geoseg.config.model.mlm import item_text

__all__ = ["ITEM_KEY", "OPSET", "open_session", "state_contract", "with_logits"]

OPSET = 18
"""ONNX operator set: the lowest that torch exports without converting."""
ITEM_KEY = "geoseg:item"
"""Metadata key of the bundle's STAC item, in JSON."""
_IR_VERSION = 8
"""ONNX file version: with it and the operators above, onnxruntime 1.14 and later read the file."""


def state_contract(model: Any, spec: BundleSpec, tile: int | None) -> None:
    """Name axes, state the contract, and remove what the exporter says of the machine that it ran on.

    Args:
        model: an ``onnx.ModelProto`` of one input and one output; altered.
        spec: the model's contract.
        tile: side of its images, in pixels. None: height and width are free.

    Raises:
        BundleError: the bundle was not saved yet.
    """
    model.ir_version = _IR_VERSION
    model.producer_name, model.producer_version = "geoseg", __version__
    model.model_version = int(spec.version.split(".")[0])
    model.graph.name = spec.name
    model.doc_string = (
        f"{spec.title}. pixels: (value - mean) / std per band ({', '.join(spec.bands)}), 0 where there is no "
        f"data; height and width multiples of {spec.alignment}. probabilities: softmax over the classes."
    )
    model.graph.doc_string = ""
    for part in (
        model.graph,
        *model.graph.node,
        *model.graph.input,
        *model.graph.output,
        *model.graph.initializer,
    ):
        del part.metadata_props[:]
        part.doc_string = ""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    for value, channels in (
        (model.graph.input[0], len(spec.bands)),
        (model.graph.output[0], len(spec.classes)),
    ):
        names: tuple[str | int, ...] = ("batch", channels, tile or "height", tile or "width")
        for axis, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
            if isinstance(name, int):
                axis.dim_value = name
            else:
                axis.dim_param = name
    metadata = deepness_metadata(spec, tile or deepness_tile(spec))
    metadata |= {ITEM_KEY: item_text(spec), "license": spec.license, "attribution": spec.attribution}
    for key, text in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, text


def with_logits(onnx: Any, model: Any) -> Any:
    """A copy that gives the softmax's input instead: saturated probabilities would hide a difference.

    Args:
        onnx: the package.
        model: an ``onnx.ModelProto`` whose last operation is a softmax.
    """
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    output = twin.graph.output[0]
    softmax = next(node for node in twin.graph.node if output.name in node.output)
    assert softmax.op_type == "Softmax", "the last operation is the softmax that was put there"
    output.name = softmax.input[0]
    return twin


def open_session(runtime: Any, model: str | bytes) -> Any:
    """An inference session on the CPU, with one thread.

    Args:
        runtime: the package ``onnxruntime``.
        model: a file's path, or its bytes.
    """
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    return runtime.InferenceSession(model, options, ["CPUExecutionProvider"])
