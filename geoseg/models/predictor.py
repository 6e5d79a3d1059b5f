"""Prediction: scale, fill, pad, forward, crop; and how much context a network needs, measured with it.

Training scores with the same code that maps are made with.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from geoseg.arrays import Bool, Float32, Int64, UInt8
from geoseg.compiled import compiled
from geoseg.config.model.contract import BundleSpec
from geoseg.errors import BundleError, GridError, SceneError
from geoseg.models.bundle import Bundle
from geoseg.models.runtime import Runtime

if TYPE_CHECKING:
    from geoseg.models.backends.torch import TorchNetwork
    from geoseg.models.networks.network import Network

__all__ = ["Predictor", "measure_halo", "scaled_image"]


class _Backend(Protocol):
    """A network, whatever computes it."""

    def __call__(self, image: Float32) -> Float32:
        """Float32 logits (1, K, H, W) of one scaled image, float32 (1, C, H, W)."""


class Predictor:
    """A bundle's network, ready to predict in any thread of this process.

    On a CPU the logits of a window are the same bits whatever batch it comes in. For that the windows of a
    batch are computed one by one, which costs nothing: torch chooses other algorithms for a single small
    window than for several, and batches make nothing faster there. For the same reason windows of less than
    about 96 px agree with larger ones but for rounding (1e-6) in torch; from there on the size changes no bit
    either.

    Args:
        runtime: what computes, and how; None: torch on the CPU in fp32, with one thread.

    Raises:
        BundleError: the weights or the graph are missing, altered or of another architecture.
    """

    def __init__(self, bundle: Bundle, runtime: Runtime | None = None) -> None:
        self.runtime = Runtime.resolve("cpu") if runtime is None else runtime
        self.spec = bundle.spec
        self._on_gpu: TorchNetwork | None = None
        self._network = self._opened(bundle)

    @classmethod
    def of(cls, network: Network, spec: BundleSpec, runtime: Runtime | None = None) -> Self:
        """A predictor for a float32 network that is in no bundle yet, which is copied; torch computes it."""
        from geoseg.models.backends.torch import TorchNetwork, copied  # noqa: PLC0415 - it imports torch

        self = cls.__new__(cls)
        self.runtime = Runtime.resolve("cpu") if runtime is None else runtime
        self.spec = spec
        opened = TorchNetwork(copied(network, self.runtime.device), spec, self.runtime)
        self._network, self._on_gpu = opened, opened if self.runtime.device == "cuda" else None
        return self

    def _opened(self, bundle: Bundle) -> _Backend:
        match self.runtime.backend:
            case "openvino":
                from geoseg.models.backends.openvino import OpenVinoNetwork  # noqa: PLC0415 - heavy

                return OpenVinoNetwork(bundle, self.runtime)
            case "onnxruntime":
                from geoseg.models.backends.onnxruntime import OnnxRuntimeNetwork  # noqa: PLC0415 - heavy

                return OnnxRuntimeNetwork(bundle, self.runtime)
            case "torch":
                from geoseg.models.backends.torch import TorchNetwork, on_device  # noqa: PLC0415 - heavy

                network = TorchNetwork(on_device(bundle, self.runtime.device), self.spec, self.runtime)
                self._on_gpu = network if self.runtime.device == "cuda" else None
                return network

    def logits(self, pixels: Float32 | UInt8, valid: Bool) -> Float32:
        """Float32 logits (N, K, H, W) of some windows.

        Sizes that are no multiple of the alignment are padded below and on the right with the fill value, and
        the logits are cropped.

        Args:
            pixels: float32 or uint8 (N, C, H, W), in the units of the bundle's scaling, finite where valid.
            valid: bool (N, H, W); other pixels are seen as the fill value, whatever they hold.

        Raises:
            SceneError: another number of bands than the model has.
            GridError: arrays whose shapes or types are not those above.
            RunError: out of memory.
        """
        self._check(pixels, valid)
        height, width = pixels.shape[2:]
        if self._on_gpu is not None:
            below, right = -height % self.spec.alignment, -width % self.spec.alignment
            edges = ((0, 0), (0, below), (0, right))
            padded = np.pad(pixels, ((0, 0), *edges)), np.pad(valid, edges)  # without data: the fill value
            return self._on_gpu.on_device(*padded)[..., :height, :width]
        output = np.empty((len(pixels), self.spec.channels, height, width), np.float32)
        for index in range(len(pixels)):
            logits = self._network(scaled_image(pixels[index], valid[index], self.spec))
            if len(pixels) == 1 and logits.shape == output.shape:
                return logits
            output[index] = logits[0, :, :height, :width]
        return output

    def classes(self, pixels: Float32 | UInt8, valid: Bool) -> Int64:
        """The most probable class of each pixel of some windows, int64 (N, H, W); borders are of class 1.

        Takes and raises what :meth:`logits` does.
        """
        logits = self.logits(pixels, valid)
        classes = len(self.spec.classes)
        if logits.shape[1] > classes:
            # As networks.network.without_border, whose sum of probabilities is a logarithm of logits' sum.
            logits[:, 1] = np.logaddexp(logits[:, 1], logits[:, classes])
        found: Int64 = logits[:, :classes].argmax(1)
        return found

    def _check(self, pixels: Float32 | UInt8, valid: Bool) -> None:
        if pixels.ndim != 4 or valid.shape != (pixels.shape[0], *pixels.shape[2:]):  # noqa: PLR2004 - N, C, H, W
            raise GridError(
                f"prediction needs pixels (N, C, H, W) and validity (N, H, W), got {pixels.shape} and "
                f"{valid.shape}"
            )
        if pixels.dtype not in (np.float32, np.uint8) or valid.dtype != np.bool_:
            raise GridError(
                f"prediction needs float32 or uint8 pixels and bool validity, got {pixels.dtype} and "
                f"{valid.dtype}"
            )
        if pixels.shape[1] != len(self.spec.bands):
            raise SceneError(
                f"the model {self.spec.name} needs {len(self.spec.bands)} bands "
                f"({', '.join(self.spec.bands)}), got {pixels.shape[1]}"
            )


def scaled_image(pixels: Float32 | UInt8, valid: Bool, spec: BundleSpec) -> Float32:
    """A network's input, float32 (1, C, H, W), padded below and on the right to its alignment.

    Args:
        pixels: float32 or uint8 (C, H, W), in the units of the model's scaling.
        valid: bool (H, W); where it is not, and in the padding, the image holds the fill value.
    """
    bands, height, width = pixels.shape
    step = spec.alignment
    image = np.zeros((1, bands, height + -height % step, width + -width % step), np.float32)
    mean, std = (np.array(values, np.float32) for values in (spec.scaling.mean, spec.scaling.std))
    _scale(pixels, valid, mean, std, image[0])
    return image


@compiled
def _scale(pixels: Float32 | UInt8, valid: Bool, mean: Float32, std: Float32, image: Float32) -> None:
    """A network's input: ``(pixels - mean) / std`` where there is data, 0 elsewhere."""
    bands, rows, columns = pixels.shape
    for band in range(bands):
        for i in range(rows):
            line, known, out = pixels[band, i], valid[i], image[band, i]
            for j in range(columns):
                # Not with the sign of division, which looks for zeros and takes nine times as long.
                moved = np.divide(np.float32(line[j]) - mean[band], std[band])
                out[j] = moved if known[j] else np.float32(0)


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
