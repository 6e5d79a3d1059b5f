"""torch, on a CPU or a GPU."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from geoseg.arrays import Array, Bool, Float32
from geoseg.config.model.contract import BundleSpec, Scaling
from geoseg.errors import RunError
from geoseg.models.bundle import Bundle
from geoseg.models.networks.network import Network
from geoseg.models.runtime import (
    Runtime,
    intra_op_threads,
    is_out_of_memory,
    reproducible_cudnn,
    tune_allocator,
)

__all__ = ["TorchNetwork", "copied", "on_device", "scaled_logits", "scaled_tensor"]

_LOW = {"fp32": torch.bfloat16, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Type of convolutions in each precision; fp32 switches it off."""
_on_gpu: dict[str, Network] = {}
"""Copies of bundles' networks, by their contracts."""


def scaled_tensor(pixels: Tensor, valid: Tensor, scaling: Scaling) -> Tensor:
    """A network's input, float32 (N, C, H, W): ``(pixels - mean) / std``, and 0 where there is no data.

    Args:
        pixels: float32 (N, C, H, W), in the scaling's units; anything, NaN too, where not valid.
        valid: bool (N, H, W), on the same device.
    """
    shift = pixels.new_tensor(scaling.mean)[:, None, None]
    spread = pixels.new_tensor(scaling.std)[:, None, None]
    return torch.where(valid[:, None], (pixels - shift) / spread, pixels.new_zeros(()))


def scaled_logits(network: Network, pixels: Tensor, valid: Tensor, scaling: Scaling) -> Tensor:
    """Float32 logits (N, K, H, W) of a network in evaluation mode, on its device.

    Args:
        pixels: float32 (N, C, H, W), in the scaling's units, on the network's device; H and W multiples of
            its alignment.
        valid: bool (N, H, W), on the same device.
    """
    image = scaled_tensor(pixels, valid, scaling)
    return cast("Tensor", network(image.contiguous(memory_format=torch.channels_last))).float()


class _OutOfMemoryError(RunError):
    """Memory was short."""


class TorchNetwork:
    """A network in torch, in any thread of this process.

    Args:
        network: float32, channels last, evaluation mode, on the runtime's device.
    """

    def __init__(self, network: Network, spec: BundleSpec, runtime: Runtime) -> None:
        self._spec, self._runtime, self._network = spec, runtime, network
        self._most = sys.maxsize  # windows that are computed at once
        if runtime.device == "cpu":
            tune_allocator()

    def __call__(self, image: Float32) -> Float32:
        """Float32 logits (N, K, H, W) of scaled images, float32 (N, C, H, W), all computed at once.

        Raises:
            RunError: out of memory.
        """
        with self._settings(image.shape):
            tensor = _tensor(image).contiguous(memory_format=torch.channels_last)
            return cast("Tensor", self._network(tensor)).float().numpy()

    def on_device(self, pixels: Array, valid: Bool) -> Float32:
        """The same of pixels as they are read: scaled on the device, fewer at a time where memory is short.

        Args:
            pixels: uint8 or float32 (N, C, H, W), in the scaling's units.
            valid: bool (N, H, W).

        Raises:
            RunError: out of memory with one window.
        """
        done: list[Float32] = []
        first = 0
        while first < len(pixels):
            some = slice(first, first + self._most)
            count = len(pixels[some])
            try:
                done.append(self._at_once(pixels[some], valid[some]))
                first += count
                continue
            except _OutOfMemoryError:
                if count == 1:
                    raise
            # After the block: the error held the tensors that were there. Later batches begin with what fits.
            self._most = count // 2
            torch.cuda.empty_cache()
        return done[0] if len(done) == 1 else np.concatenate(done)

    def _at_once(self, pixels: Array, valid: Bool) -> Float32:
        with self._settings(pixels.shape):
            there, seen = self._there(pixels), self._there(valid)
            return scaled_logits(self._network, there.float(), seen, self._spec.scaling).cpu().numpy()

    def _there(self, array: Array) -> Tensor:
        tensor = _tensor(array)
        if self._runtime.device == "cpu":
            return tensor
        return tensor.pin_memory().to(self._runtime.device, non_blocking=True)

    @contextmanager
    def _settings(self, shape: tuple[int, ...]) -> Iterator[None]:
        """Precision as asked, reproducible algorithms, and memory errors that say what to do."""
        runtime = self._runtime
        try:
            with (
                intra_op_threads(runtime.threads),
                torch.inference_mode(),
                torch.autocast(runtime.device, _LOW[runtime.precision], enabled=runtime.precision != "fp32"),
                reproducible_cudnn(runtime.device),
            ):
                yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            windows = "a window" if shape[0] == 1 else f"{shape[0]} windows"
            raise _OutOfMemoryError(
                f"out of memory on the {runtime.device} with {windows} of {shape[2]}×{shape[3]} px and the "
                f"model {self._spec.name}; use a smaller tiling.window"
            ) from error


def on_device(bundle: Bundle, device: str) -> Network:
    """A bundle's network on a device, there once per process; errors are those of :meth:`Bundle.network`."""
    network = bundle.network()
    if device == "cpu":
        return network
    key = bundle.spec.identity
    if key not in _on_gpu:
        _on_gpu[key] = copied(network, device)
    return _on_gpu[key]


def copied(network: Network, device: str) -> Network:
    """A copy of a network on a device, channels last, in evaluation mode, without gradients."""
    twin = copy.deepcopy(network).to(device).to(memory_format=cast("Any", torch.channels_last))
    return twin.requires_grad_(requires_grad=False).eval()


def _tensor(array: Array) -> Tensor:
    # torch warns of arrays that it may not write to, though nothing writes here.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
