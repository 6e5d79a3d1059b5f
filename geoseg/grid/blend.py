"""Blend weights that are a partition of unity, known before any prediction.

Each axis has 1-D weights ``raw / Σ raw``; a window's 2-D weight is the outer product of two. Crop, mean,
triangle and hann are only different ``raw``. The stitched scene is ``Σ weight · logits``: no weight raster,
no final division, no special case at the scene's edges.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from geoseg.arrays import Float32, Float64
from geoseg.errors import GridError
from geoseg.grid.tiling import WindowAxis

__all__ = ["BLENDS", "AxisWeights", "Blend", "axis_weights"]

Blend = Literal["crop", "mean", "triangle", "hann"]
BLENDS: tuple[Blend, ...] = get_args(Blend)


def _raw(axis: WindowAxis, blend: Blend) -> Float64:
    """Positive weights over one window (float64, ``(window,)``), where it has a say."""
    size, overlap = axis.window, 2 * axis.halo
    if overlap == 0:
        return np.ones(size)
    # Pixel centers lie half a pixel inside, so that the weight never vanishes on a covered pixel.
    inside = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5)
    ramp = np.minimum(inside / overlap, 1.0)
    match blend:
        case "crop" | "mean":
            return np.ones(size)
        case "triangle":
            return np.asarray(ramp)
        case "hann":
            hann: Float64 = np.sin(0.5 * np.pi * ramp) ** 2
            return hann


class AxisWeights:
    """Weights of every window along one axis.

    Law: at each pixel of the axis the weights of the windows that cover it sum to one (to 1e-6 in float32;
    exactly 1.0 where one window covers it).

    Raises:
        GridError: more than two windows would overlap, which the stitching does not allow.
    """

    def __init__(self, axis: WindowAxis, blend: Blend) -> None:
        if blend != "crop" and axis.stride < 2 * axis.halo and len(axis) > 1:
            raise GridError(
                f"blending with a halo of {axis.halo} px needs windows of at least {4 * axis.halo} px, "
                f"got {axis.window}; enlarge the window, reduce the halo or blend by crop"
            )
        self.axis = axis
        self.blend = blend
        self._raw = _raw(axis, blend)
        total = np.zeros(axis.length)
        for index in range(len(axis)):
            lo, hi = self.support(index)
            total[lo:hi] += self._raw[lo - axis.start(index) : hi - axis.start(index)]
        self._total = total

    def support(self, index: int) -> tuple[int, int]:
        """Half-open interval of the scene on which a window has any weight."""
        return self.axis.core(index) if self.blend == "crop" else self.axis.support(index)

    def weights(self, index: int) -> Float32:
        """A window's weights over its support (float32, 1-D)."""
        lo, hi = self.support(index)
        start = self.axis.start(index)
        return (self._raw[lo - start : hi - start] / self._total[lo:hi]).astype(np.float32)


@lru_cache(maxsize=32)
def axis_weights(axis: WindowAxis, blend: Blend) -> AxisWeights:
    """The weights of an axis, computed once per process."""
    return AxisWeights(axis, blend)
