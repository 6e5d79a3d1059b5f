"""How far any convolutional network looks, found by following its operators over pixel positions.

For networks that are written elsewhere. One forward pass on the meta device, where tensors have a shape
but no values; beside each tensor goes, for every row and column, the range of input rows and columns that
can influence it. Convolutions, pools, upsampling, concatenation and what works pixel by pixel are known
exactly. Any other operator (global pooling, attention, reshaping, group norm, aligned corners) may look
anywhere, and the answer is that no radius can be shown. So a radius that is given holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from geoseg.arrays import Int64

__all__ = ["Offsets", "field_of_view"]

_SIDES = (2048, 8192)  # sides of the square images that are tried, in pixels: meta tensors take no memory
_FAR = np.iinfo(np.int64).max // 2  # beyond all positions
_ROWS, _COLUMNS = 2, 3

_POINTWISE = frozenset(
    [
        *["relu", "relu6", "hardtanh", "hardswish", "hardsigmoid", "silu", "gelu"],
        *["elu", "leaky_relu", "prelu", "mish", "sigmoid", "tanh"],
        *["batch_norm", "dropout", "feature_dropout"],
        *["add", "sub", "mul", "div", "neg"],
        *["clone", "contiguous", "detach", "alias", "to", "_to_copy", "cat"],
    ]
)


@dataclass(frozen=True, slots=True)
class _Range:
    """For each position along one axis of a map: the first and last input position that can influence it."""

    lo: Int64
    hi: Int64

    def __len__(self) -> int:
        return len(self.lo)

    def at(self, positions: Int64) -> _Range:
        """Along an axis whose positions are these ones; what is off this one's ends looks off the image's."""
        index = np.clip(positions, 0, len(self) - 1)
        off = np.where(positions < index, -_FAR, _FAR)
        inside = positions == index
        return _Range(np.where(inside, self.lo[index], off), np.where(inside, self.hi[index], off))

    def join(self, other: _Range) -> _Range:
        """Positions that both influence; one position stands for all."""
        return _Range(np.minimum(self.lo, other.lo), np.maximum(self.hi, other.hi))


_Ranges = tuple[_Range, _Range]


class _GlobalError(Exception):
    """An operator whose output may depend on all of its input."""


@dataclass(frozen=True, slots=True)
class Offsets:
    """Worst reach in pixels: ``before[p]`` back, ``after[p]`` ahead, p: position modulo the alignment."""

    before: tuple[int, ...]
    after: tuple[int, ...]


def field_of_view(network: nn.Module, bands: int, alignment: int) -> Offsets | None:
    """Which input pixels can influence an output pixel, borders aside.

    Args:
        network: on the meta device; it is put into evaluation mode.
        alignment: the period of its output in pixels: shifting the input by it shifts the output.

    Returns:
        None where that cannot be shown: something looks at the whole image or is not known here, the period
        is another one, or it looks farther than half of 8192 pixels.
    """
    network.eval()
    for side in _SIDES:
        length = side // alignment * alignment
        try:
            rows, columns = _followed(network, bands, length)
        except _GlobalError:
            return None
        found = [_offsets(axis, length, alignment) for axis in (rows, columns)]
        if all(found):
            one, other = cast("list[Offsets]", found)
            return Offsets(tuple(map(max, one.before, other.before)), tuple(map(max, one.after, other.after)))
    return None


def _offsets(axis: _Range, length: int, alignment: int) -> Offsets | None:
    """Reach in the middle of an axis; None where it meets the borders or is not periodic."""
    start = length // 2 // alignment * alignment
    position = np.arange(start, start + 2 * alignment)
    before, after = position - axis.lo[position], axis.hi[position] - position
    inside = bool((axis.lo[position] > 0).all() and (axis.hi[position] < length - 1).all())
    periodic = all(np.array_equal(side[:alignment], side[alignment:]) for side in (before, after))
    if not (inside and periodic):
        return None
    return Offsets(tuple(before[:alignment].tolist()), tuple(after[:alignment].tolist()))


def _followed(network: nn.Module, bands: int, length: int) -> _Ranges:
    image = torch.empty(1, bands, length, length, device="meta")
    with torch.inference_mode(), _Follow(image) as follow:
        logits = network(image)
    ranges: _Ranges | None = follow.ranges.get(id(logits))
    if ranges is None or any(len(axis) != length for axis in ranges):
        raise _GlobalError
    return ranges


class _Follow(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Follows ranges through every operator."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        here = np.arange(image.shape[-1])
        self.ranges: dict[int, _Ranges] = {id(image): (_Range(here, here), _Range(here, here))}
        self._kept: list[Tensor] = [image]  # an id stays a tensor's own as long as the tensor lives

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch's documented switch; skipping its compiler would first import it: 900 modules.
        return False

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if not any(id(tensor) in self.ranges for tensor in tensors):
            return result
        names = [argument.name for argument in func._schema.arguments]  # noqa: SLF001 - the one way to them
        given = dict(zip(names, args, strict=False)) | dict(kwargs or {})
        name = func._schema.name.removeprefix("aten::").removesuffix("_")  # noqa: SLF001 - same
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        ranges = self._through(name, given, tensors, made[0])
        for tensor in made:
            self.ranges[id(tensor)] = ranges
            self._kept.append(tensor)
        return result

    def _through(self, name: str, given: dict[str, Any], tensors: list[Tensor], made: Tensor) -> _Ranges:
        if name in _POINTWISE:
            return self._pixelwise(name, given, tensors, made)
        step = _STEPS.get(name)
        source = given.get("input", given.get("self"))
        if step is None or not isinstance(source, Tensor) or id(source) not in self.ranges:
            raise _GlobalError
        rows, columns = self.ranges[id(source)]
        return (
            step(rows, given, _ROWS, made.shape[_ROWS]),
            step(columns, given, _COLUMNS, made.shape[_COLUMNS]),
        )

    def _pixelwise(self, name: str, given: dict[str, Any], tensors: list[Tensor], made: Tensor) -> _Ranges:
        if (name == "cat" and given.get("dim", 0) != 1) or (name == "batch_norm" and given["training"]):
            raise _GlobalError
        joined: list[_Range] = []
        followed = [self.ranges[id(t)] for t in tensors if id(t) in self.ranges]
        # A constant map of its own size (a positional embedding) ties the output to absolute positions.
        fixed = any(t.ndim > 2 and max(t.shape[2:]) > 1 for t in tensors if id(t) not in self.ranges)  # noqa: PLR2004 - maps
        for axis in range(2):
            total = followed[0][axis]
            for other in followed[1:]:
                total = total.join(other[axis])
            joined.append(total)
        if fixed or tuple(map(len, joined)) != tuple(made.shape[2:]):
            raise _GlobalError
        return joined[0], joined[1]


def _pair(value: Any, axis: int) -> int:
    """The number that stands for one axis: torch takes one number for both, or a list of either length."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return int(values[-1] if axis == _COLUMNS else values[0])


def _taps(source: _Range, positions: Int64, kernel: int, dilation: int) -> _Range:
    total = source.at(positions)
    for tap in range(1, kernel):
        total = total.join(source.at(positions + tap * dilation))
    return total


def _window(source: _Range, given: dict[str, Any], axis: int, size: int) -> _Range:
    """A convolution, or a pool."""
    if "weight" in given:
        kernel, stride = int(given["weight"].shape[axis]), _pair(given.get("stride", 1), axis)
    else:
        kernel = _pair(given["kernel_size"], axis)
        stride = _pair(given.get("stride") or kernel, axis)
    dilation = _pair(given.get("dilation", 1), axis)
    padding = given.get("padding", 0)
    if isinstance(padding, str):
        padding = (kernel - 1) * dilation // 2 if padding == "same" else 0
    return _taps(source, np.arange(size) * stride - _pair(padding, axis), kernel, dilation)


def _transposed(source: _Range, given: dict[str, Any], axis: int, size: int) -> _Range:
    stride, padding = _pair(given.get("stride", 1), axis), _pair(given.get("padding", 0), axis)
    dilation = _pair(given.get("dilation", 1), axis)
    total = _Range(np.full(size, _FAR), np.full(size, -_FAR))
    for tap in range(int(given["weight"].shape[axis])):
        position = np.arange(size) + padding - tap * dilation
        seen, met = source.at(position // stride), position % stride == 0
        total = total.join(_Range(np.where(met, seen.lo, _FAR), np.where(met, seen.hi, -_FAR)))
    return total


def _nearest(source: _Range, _given: dict[str, Any], _axis: int, size: int) -> _Range:
    return source.at(np.arange(size) * len(source) // size)


def _bilinear(source: _Range, given: dict[str, Any], _axis: int, size: int) -> _Range:
    if given["align_corners"]:  # weights depend on the image's size
        raise _GlobalError
    if size == len(source):
        return source
    # floor of (position + ½) · ratio - ½, in whole numbers; the edge's pixel stands for what is outside.
    first = ((2 * np.arange(size) + 1) * len(source) - size) // (2 * size)
    low, high = (np.clip(p, 0, len(source) - 1) for p in (first, first + 1))
    return source.at(low).join(source.at(high))


def _slice(source: _Range, given: dict[str, Any], axis: int, size: int) -> _Range:
    dim = int(given.get("dim", 0))
    if dim != axis:
        return source
    start = int(given.get("start") or 0)
    return source.at(start % max(len(source), 1) + np.arange(size) * int(given.get("step", 1)))


def _pad(source: _Range, given: dict[str, Any], axis: int, size: int) -> _Range:
    if given.get("mode", "constant") != "constant":
        raise _GlobalError
    left = 2 * (_COLUMNS - axis)
    before = int(given["pad"][left]) if left < len(given["pad"]) else 0
    return source.at(np.arange(size) - before)


_STEPS: Mapping[str, Callable[[_Range, dict[str, Any], int, int], _Range]] = {
    "conv2d": _window,
    "convolution": _window,
    "max_pool2d": _window,
    "max_pool2d_with_indices": _window,
    "avg_pool2d": _window,
    "conv_transpose2d": _transposed,
    "upsample_nearest2d": _nearest,
    "upsample_bilinear2d": _bilinear,
    "slice": _slice,
    "pad": _pad,
    "constant_pad_nd": _pad,
}
