"""onnxruntime on a CPU: a bundle's graph in float32."""

from __future__ import annotations

import threading
from typing import Any

import onnxruntime

from geoseg.arrays import Float32
from geoseg.errors import RunError
from geoseg.models.bundle import Bundle
from geoseg.models.runtime import Runtime

__all__ = ["OnnxRuntimeNetwork"]

_sessions: dict[Any, Any] = {}
_sessions_lock = threading.Lock()


class OnnxRuntimeNetwork:
    """A bundle's network in onnxruntime, loaded once per process for any number of threads.

    Raises:
        BundleError: the graph or the weights are missing or altered.
    """

    def __init__(self, bundle: Bundle, runtime: Runtime) -> None:
        bundle.check_graph()
        key = (bundle.spec.sha256, bundle.spec.graph, runtime.threads)
        with _sessions_lock:
            if key not in _sessions:
                _sessions[key] = _open(bundle, runtime.threads)
            self._session = _sessions[key]
        self._name = bundle.spec.name

    def __call__(self, image: Float32) -> Float32:
        """Float32 logits (1, K, H, W) of one scaled image, float32 (1, C, H, W).

        Raises:
            RunError: out of memory.
        """
        try:
            logits: Float32 = self._session.run(None, {"pixels": image})[0]
        except RuntimeError as error:
            if "allocate" not in str(error):
                raise
            raise RunError(
                f"out of memory with a window of {image.shape[2]}×{image.shape[3]} px and the model "
                f"{self._name}; use a smaller tiling.window, or fewer workers"
            ) from error
        return logits


def _open(bundle: Bundle, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors only
    options.enable_cpu_mem_arena = False  # it would keep more than the windows need
    return onnxruntime.InferenceSession(str(bundle.graph_path()), options, ["CPUExecutionProvider"])
