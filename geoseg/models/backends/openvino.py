"""OpenVINO on a CPU: a bundle's graph, compiled for windows of one size."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np

from geoseg.arrays import Float32
from geoseg.errors import RunError
from geoseg.models.bundle import Bundle
from geoseg.models.runtime import Runtime

if "openvino" not in sys.modules:
    # The package by which it tells its maker of its use; it has a substitute for where this is not installed.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: not to be found
import openvino

__all__ = ["OpenVinoNetwork", "compiled", "openvino"]

_TYPES: Final = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
_KEPT: Final = 2
"""Compiled networks that a thread keeps: of this scene's windows, and, without its tensors, of the scene's
before."""


class OpenVinoNetwork:
    """A bundle's network in OpenVINO, in any thread of this process.

    Each thread compiles for itself, for one size of window (tenths of a second): with static shapes the
    memory is planned once, and a window gives the same bits in any thread, batch and process. Precision,
    streams and threads are stated, as OpenVINO's own defaults follow the machine.

    Raises:
        BundleError: the graph or the weights are missing or altered.
    """

    def __init__(self, bundle: Bundle, runtime: Runtime) -> None:
        self._bundle = bundle
        self._runtime = runtime
        self._channels = bundle.spec.channels
        self._key = (
            bundle.spec.sha256,
            bundle.spec.graph,
            bundle.spec.int8,
            runtime.precision,
            runtime.threads,
        )
        bundle.check_graph(runtime.precision)

    def __call__(self, image: Float32) -> Float32:
        """Float32 logits (1, K, H, W) of one scaled image, float32 (1, C, H, W).

        Raises:
            RunError: out of memory.
        """
        logits = np.empty((1, self._channels, *image.shape[2:]), np.float32)
        try:
            request = self._request(image.shape)
            request.set_input_tensor(0, openvino.Tensor(np.ascontiguousarray(image), shared_memory=True))
            request.set_output_tensor(0, openvino.Tensor(logits, shared_memory=True))
            request.infer()
        except RuntimeError as error:
            if "bad_alloc" not in str(error) and "allocate" not in str(error):
                raise
            raise RunError(
                f"out of memory with a window of {image.shape[2]}×{image.shape[3]} px and the model "
                f"{self._bundle.spec.name}; use a smaller tiling.window, or fewer workers"
            ) from error
        return logits

    def _request(self, shape: tuple[int, ...]) -> Any:
        """What computes images of one shape in this thread."""
        kept: dict[Any, tuple[Any, Any]] = _of_thread.__dict__.setdefault("kept", {})
        key = (*self._key, shape)
        if key not in kept or key != next(reversed(kept)):
            for network, _ in kept.values():
                network.release_memory()  # a plan counts the tensors of one
            kept[key] = kept.pop(key) if key in kept else self._compiled(shape)
            while len(kept) > _KEPT:
                del kept[next(iter(kept))]
        return kept[key][1]

    def _compiled(self, shape: tuple[int, ...]) -> tuple[Any, Any]:
        """A network for images of one shape, and what computes them."""
        network = compiled(self._bundle.graph_path(self._runtime.precision), shape, self._runtime)
        return network, network.create_infer_request()


def compiled(graph: Path, shape: tuple[int, ...], runtime: Runtime) -> openvino.CompiledModel:
    """A graph's file, compiled for images of one shape, (N, C, H, W), in the runtime's precision and threads.

    Raises:
        RunError: OpenVINO would compute in another precision here.
    """
    core = openvino.Core()
    model = core.read_model(graph)
    model.reshape(list(shape))
    wanted = _TYPES[runtime.precision]
    network = core.compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": wanted,
            "INFERENCE_NUM_THREADS": runtime.threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # workers share the cores: the system places them
        },
    )
    found = network.get_property("INFERENCE_PRECISION_HINT").to_string()
    if found != wanted:
        raise RunError(
            f"OpenVINO computes in {found} on this CPU, {runtime.precision} was planned; use "
            "compute.precision: fp32"
        )
    return network


_of_thread = threading.local()
