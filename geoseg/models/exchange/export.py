"""A bundle's network for other programs: ONNX and ``torch.export``, checked against torch before it is kept.

What is exported takes a network's input, ``(value - mean) / std`` per band and 0 where there is no data, as
float32 (N, bands, H, W), and gives probabilities, float32 (N, classes, H, W): the softmax is inside. The file
carries the whole contract (the bundle's STAC item, under :data:`ITEM_KEY`).
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from geoseg.config.model.contract import BundleSpec
from geoseg.config.model.deepness import deepness_metadata, deepness_tile
from geoseg.config.model.mlm import item_text
from geoseg.errors import OutputError
from geoseg.io.files import check_writable, staged
from geoseg.models.agreement import agree, trial_images
from geoseg.models.bundle import Bundle
from geoseg.models.graph import OPSET, anonymous, quiet, to_onnx, traced
from geoseg.models.networks.network import without_border
from geoseg.models.runtime import intra_op_threads

__all__ = ["ITEM_KEY", "OPSET", "Exported", "export_onnx", "export_torch", "state_contract"]

ITEM_KEY = "geoseg:item"
"""Metadata key of the bundle's STAC item, in JSON."""

_Run = Callable[[Tensor], tuple[Tensor | None, Tensor]]
"""Pixels to logits, where they can be had, and probabilities."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written and checked."""

    path: Path
    size: int
    sizes: tuple[tuple[int, ...], ...]  # shapes of the images that it was checked on
    difference: float  # largest difference of a probability from torch's


class _Probabilities(nn.Module):
    """A network and its softmax over the classes; what it knows of borders belongs to their class."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network, self.classes = network, classes

    def logits(self, pixels: Tensor) -> Tensor:
        """Float (N, bands, H, W) to (N, classes, H, W)."""
        return without_border(self.network(pixels), self.classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Float (N, bands, H, W) to probabilities (N, classes, H, W)."""
        return torch.softmax(self.logits(pixels), 1)


def export_onnx(bundle: Bundle, path: Path, tile: int | None = None) -> Exported:
    """Write a bundle as one ONNX file, whole or not at all, with the metadata that QGIS' Deepness reads.

    Args:
        tile: side of square images, in pixels, for programs that want one size (Deepness does). None: height
            and width are free, in multiples of the alignment. The batch is always free.

    Raises:
        BundleError: the network cannot be exported, or computes something else once it is.
        OutputError: the file cannot be written, or the tools for it are not installed.
    """
    check_writable(path.parent)
    onnx, runtime = (_tool(name) for name in ("onnx", "onnxruntime"))
    _tool("onnxscript")  # torch's exporter writes with it
    module = _module(bundle)
    with intra_op_threads(1), quiet():
        program = traced(bundle.spec, module, tile)
        model = to_onnx(bundle.spec, program, "probabilities", optimize=True)
        state_contract(model, bundle.spec, tile)
        onnx.checker.check_model(model)
        images = trial_images(bundle.spec, tile)
        found: list[float] = []

        def verify(temporary: Path) -> None:
            session = _open_session(runtime, str(temporary))
            inner = _open_session(runtime, _with_logits(onnx, model).SerializeToString())

            def run(image: Tensor) -> tuple[Tensor, Tensor]:
                feed = {"pixels": image.numpy()}
                return torch.from_numpy(inner.run(None, feed)[0]), torch.from_numpy(
                    session.run(None, feed)[0]
                )

            found.append(_compare(bundle, module, images, run, "onnxruntime"))

        with staged(path, verify) as temporary:
            onnx.save_model(model, str(temporary))
    return Exported(path, path.stat().st_size, tuple(tuple(i.shape) for i in images), found[0])


def export_torch(bundle: Bundle, path: Path) -> Exported:
    """Write a bundle as a ``torch.export`` program (``.pt2``), whole or not at all.

    Batch, height and width are free; the STAC item is the program's extra file ``item.json``.

    Raises:
        BundleError: the network cannot be exported, or computes something else once it is.
        OutputError: the file cannot be written.
    """
    check_writable(path.parent)
    module = _module(bundle)
    with intra_op_threads(1), quiet():
        program = traced(bundle.spec, module, None)
        images = trial_images(bundle.spec)
        found: list[float] = []

        def verify(temporary: Path) -> None:
            again = torch.export.load(str(temporary)).module()

            def run(image: Tensor) -> tuple[None, Tensor]:
                return None, cast("Tensor", again(image))

            found.append(_compare(bundle, module, images, run, "torch.export"))

        with staged(path, verify) as temporary:
            # Through memory: saved to a path, the archive's root would have the temporary file's name.
            archive = io.BytesIO()
            torch.export.save(program, archive, extra_files={"item.json": item_text(bundle.spec)})
            temporary.write_bytes(archive.getvalue())
    return Exported(path, path.stat().st_size, tuple(tuple(i.shape) for i in images), found[0])


def _tool(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise OutputError(
            f"exporting to ONNX needs {error.name or name}, which is not installed; "
            "pip install 'geoseg[export]'"
        ) from error


def _module(bundle: Bundle) -> _Probabilities:
    return _Probabilities(bundle.network(), len(bundle.spec.classes)).eval()


def _compare(bundle: Bundle, module: _Probabilities, images: list[Tensor], run: _Run, tool: str) -> float:
    """Largest difference of a probability from torch's; refuses one that is too large."""
    of, todo = f"{bundle.spec.name} exported to {tool}", "nothing was written"
    largest = 0.0
    for image in images:
        logits, found = run(image)
        if logits is not None:
            agree(module.logits(image), logits, what="logits", of=of, todo=todo)
        difference = agree(module(image), found, what="probabilities", of=of, todo=todo)
        largest = max(largest, difference)
    return largest


def state_contract(model: Any, spec: BundleSpec, tile: int | None) -> None:
    """Name axes, state the contract, and remove what the exporter says of the machine that it ran on.

    Args:
        model: an ``onnx.ModelProto`` of one input and one output; altered.
        tile: side of its images, in pixels. None: height and width are free.

    Raises:
        BundleError: the bundle was not saved yet.
    """
    anonymous(model, spec)
    model.model_version = int(spec.version.split(".")[0])
    model.doc_string = (
        f"{spec.title}. pixels: (value - mean) / std per band ({', '.join(spec.bands)}), 0 where there is no "
        f"data; height and width multiples of {spec.alignment}. probabilities: softmax over the classes."
    )
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


def _with_logits(onnx: Any, model: Any) -> Any:
    """A copy of an ``onnx.ModelProto`` that ends in a softmax, with the softmax's input as its output.

    Saturated probabilities would hide a difference.
    """
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    output = twin.graph.output[0]
    softmax = next(node for node in twin.graph.node if output.name in node.output)
    assert softmax.op_type == "Softmax", "the last operation is the softmax that was put there"
    output.name = softmax.input[0]
    return twin


def _open_session(runtime: Any, model: str | bytes) -> Any:
    """A session of the package ``onnxruntime`` on the CPU, with one thread, of a file's path or its bytes."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    return runtime.InferenceSession(model, options, ["CPUExecutionProvider"])
