"""Prediction: scale, fill, pad, forward, crop; and how much context a network needs, measured with it.

Training scores with the same code that maps are made with.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from geoseg.arrays import Array, Bool, Float32, Int64
from geoseg.config.model.contract import BundleSpec, Scaling
from geoseg.errors import BundleError, GridError, RunError, SceneError
from geoseg.models.bundle import Bundle
from geoseg.models.networks.network import Network, without_border
from geoseg.models.runtime import (
    Runtime,
    intra_op_threads,
    is_out_of_memory,
    reproducible_cudnn,
    tune_allocator,
)

__all__ = ["Predictor", "measure_halo", "scaled", "scaled_logits"]


_on_gpu: dict[str, Network] = {}


def scaled(pixels: Tensor, valid: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """A network's input, float32 (N, C, H, W): ``(pixels - mean) / std``, and 0 where there is no data.

    Args:
        pixels: float32 (N, C, H, W), in the scaling's units; anything, NaN too, where not valid.
        valid: bool (N, H, W).
    """
    shift = pixels.new_tensor(mean)[:, None, None]
    spread = pixels.new_tensor(std)[:, None, None]
    return torch.where(valid[:, None], (pixels - shift) / spread, pixels.new_zeros(()))


def scaled_logits(network: Network, pixels: Tensor, valid: Tensor, scaling: Scaling) -> Tensor:
    """Float32 logits (N, K, H, W) of a network in evaluation mode, on its device.

    Args:
        pixels: float32 (N, C, H, W), in the scaling's units, on the network's device; H and W multiples of
            its alignment.
        valid: bool (N, H, W), on the same device.
    """
    image = scaled(pixels, valid, scaling.mean, scaling.std)
    return cast("Tensor", network(image.contiguous(memory_format=torch.channels_last))).float()


class Predictor:
    """A bundle's network, ready to predict in any thread of this process.

    On a CPU the logits of a window are the same bits whatever batch it comes in. For that the windows of a
    batch are computed one by one, which costs nothing: torch chooses other algorithms for a single small
    window than for several, and batches make nothing faster there. For the same reason windows of less than
    about 96 px agree with larger ones but for rounding (1e-6); from there on the size changes no bit either.

    Args:
        device: ``cpu`` or ``cuda`` (or ``auto``).
        precision: ``fp32`` or ``bf16`` (or ``auto``).
        threads: threads inside an operation; set around each prediction, put back after it.

    Raises:
        BundleError: the weights are missing, altered or of another architecture.
        RunError: no such device or precision here.
    """

    def __init__(
        self, bundle: Bundle, device: str = "cpu", precision: str = "fp32", threads: int = 1
    ) -> None:
        self.runtime = Runtime.resolve(device, precision, threads)
        self.spec = bundle.spec
        self._network = bundle.network()
        if self.runtime.device == "cpu":
            tune_allocator()
        else:
            key = bundle.spec.identity
            if key not in _on_gpu:
                _on_gpu[key] = _copied(self._network, "cuda")
            self._network = _on_gpu[key]

    @classmethod
    def of(cls, network: Network, spec: BundleSpec, runtime: Runtime | None = None) -> Self:
        """A predictor for a float32 network that is in no bundle yet, which is copied.

        The default runtime is the CPU with fp32 and one thread.
        """
        self = cls.__new__(cls)
        self.runtime = Runtime.resolve("cpu") if runtime is None else runtime
        self.spec = spec
        self._network = _copied(network, self.runtime.device)
        return self

    def logits(self, pixels: Float32, valid: Bool) -> Float32:
        """Float32 logits (N, K, H, W) of some windows.

        Sizes that are no multiple of the alignment are padded below and on the right with the fill value, and
        the logits are cropped.

        Args:
            pixels: float32 (N, C, H, W), in the units of the bundle's scaling, finite where valid.
            valid: bool (N, H, W); other pixels are seen as the fill value, whatever they hold.

        Raises:
            SceneError: another number of bands than the model has.
            GridError: arrays whose shapes or types are not those above.
            RunError: out of memory.
        """
        self._check(pixels, valid)
        count, _, height, width = pixels.shape
        output = np.empty((count, self.spec.channels, height, width), np.float32)
        step = 1 if self.runtime.device == "cpu" else max(count, 1)
        with intra_op_threads(self.runtime.threads), torch.inference_mode(), self._backend(pixels.shape):
            for first in range(0, count, step):
                some = slice(first, first + step)
                output[some] = self._forward(_tensor(pixels[some]), _tensor(valid[some])).cpu().numpy()
        return output

    def classes(self, pixels: Float32, valid: Bool) -> Int64:
        """The most probable class of each pixel of some windows, int64 (N, H, W); borders are of class 1.

        Takes and raises what :meth:`logits` does.
        """
        logits = torch.from_numpy(self.logits(pixels, valid))
        return without_border(logits, len(self.spec.classes)).argmax(1).numpy()

    def _forward(self, pixels: Tensor, valid: Tensor) -> Tensor:
        height, width = pixels.shape[-2:]
        pixels, valid = pixels.to(self.runtime.device), valid.to(self.runtime.device)
        image = scaled(pixels, valid, self.spec.scaling.mean, self.spec.scaling.std)
        bottom, right = -height % self.spec.alignment, -width % self.spec.alignment
        if bottom or right:
            image = F.pad(image, (0, right, 0, bottom), value=self.spec.fill)
        image = image.contiguous(memory_format=torch.channels_last)
        logits = cast("Tensor", self._network(image))
        return logits[..., :height, :width].float()

    @contextmanager
    def _backend(self, shape: tuple[int, ...]) -> Iterator[None]:
        """Precision as asked, reproducible algorithms, and memory errors that say what to do."""
        low = self.runtime.precision == "bf16"
        try:
            with (
                torch.autocast(self.runtime.device, torch.bfloat16, enabled=low),
                reproducible_cudnn(self.runtime.device),
            ):
                yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise RunError(
                f"out of memory on the {self.runtime.device} with {shape[0]} windows {shape[2]}×{shape[3]} "
                f"px and the model {self.spec.name}; use a smaller tiling.batch or tiling.window"
            ) from error

    def _check(self, pixels: Float32, valid: Bool) -> None:
        if pixels.ndim != 4 or valid.shape != (pixels.shape[0], *pixels.shape[2:]):  # noqa: PLR2004 - N, C, H, W
            raise GridError(
                f"prediction needs pixels (N, C, H, W) and validity (N, H, W), got {pixels.shape} and "
                f"{valid.shape}"
            )
        if pixels.dtype != np.float32 or valid.dtype != np.bool_:
            raise GridError(
                f"prediction needs float32 pixels and bool validity, got {pixels.dtype} and {valid.dtype}"
            )
        if pixels.shape[1] != len(self.spec.bands):
            raise SceneError(
                f"the model {self.spec.name} needs {len(self.spec.bands)} bands "
                f"({', '.join(self.spec.bands)}), got {pixels.shape[1]}"
            )


def _copied(network: Network, device: str) -> Network:
    twin = copy.deepcopy(network).to(device).to(memory_format=cast("Any", torch.channels_last))
    return twin.requires_grad_(requires_grad=False).eval()


def _tensor(array: Array) -> Tensor:
    # torch warns of arrays that it may not write to, though nothing writes here.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


_FAR = 2  # the reference sees so many times the largest halo that is tried


def measure_halo(
    model: Bundle | Predictor,
    windows: Iterable[tuple[Float32, Bool]],
    *,
    core: int = 256,
    agreement: float = 0.9999,
) -> tuple[int, float]:
    """The smallest halo, in pixels, that leaves the classes as a far larger one does; and its agreement.

    Of each window the central core is predicted once with all of the window around it, and once with each
    halo: multiples of the alignment, from the largest down, until the classes disagree on too many pixels.
    So every larger halo tried agrees too. The largest halo tried is half the context of the smallest window,
    or the exact one where the windows reach that far.

    Args:
        model: a bundle, or a predictor of a network that is in none yet.
        windows: real imagery, pixels float32 (C, H, W) and validity (H, W). The larger the windows, the
            larger the halos that can be tried.
        core: side of the core, in pixels; rounded down to the alignment. Smaller is stricter: more of a
            small core is near its edge.
        agreement: share of all valid core pixels, over all windows, whose class must be the same.

    Raises:
        BundleError: no window, windows too small for the core, or no halo that agrees.
    """
    predictor = model if isinstance(model, Predictor) else Predictor(model)
    alignment = predictor.spec.alignment
    side = core // alignment * alignment
    given = list(windows)
    if not given or side == 0:
        raise BundleError("measuring a halo needs a window, and a core no smaller than the alignment")
    least = min(min(valid.shape) for _, valid in given)
    largest = (least - side) // 2 // _FAR // alignment * alignment
    exact = predictor.spec.exact_halo
    if exact is not None and 2 * exact + side <= least:
        largest = exact
    if largest < alignment:
        raise BundleError(
            f"measuring a halo needs windows of at least {side + 2 * _FAR * alignment} px with a core of "
            f"{side} px, got {least} px"
        )
    references = [_core_classes(predictor, window, side, None) for window in given]
    best: tuple[int, float] | None = None
    for halo in range(largest, -1, -alignment):
        same = total = 0
        for window, (classes, valid) in zip(given, references, strict=True):
            found, _ = _core_classes(predictor, window, side, halo)
            same += int(((found == classes) & valid).sum())
            total += int(valid.sum())
        share = same / total if total else 0.0
        if share < agreement:
            break
        best = halo, share
    if best is None:
        raise BundleError(
            f"a halo of {largest} px leaves the classes of only {share:.4%} of the pixels as they are, "
            f"{agreement:.2%} are asked for; give windows larger than {least} px"
        )
    return best


def _core_classes(
    predictor: Predictor,
    window: tuple[Float32, Bool],
    side: int,
    halo: int | None,
) -> tuple[Int64, Bool]:
    """Classes and validity of the core, seen with a halo or with the whole window (None)."""
    pixels, valid = window
    alignment = predictor.spec.alignment
    row, col = ((length - side) // 2 // alignment * alignment for length in valid.shape)
    top, left = (0, 0) if halo is None else (row - halo, col - halo)
    height, width = valid.shape if halo is None else (side + 2 * halo, side + 2 * halo)
    cut = np.s_[top : top + height, left : left + width]
    (classes,) = predictor.classes(pixels[None, :, *cut], valid[None, *cut])
    inside = np.s_[row - top : row - top + side, col - left : col - left + side]
    return classes[*inside], valid[*cut][*inside]
