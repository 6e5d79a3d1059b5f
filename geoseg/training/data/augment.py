"""Seeded changes of a chip: geometry for pixels and labels together, color and sensor for pixels alone.

All randomness comes from the NumPy generator that is passed in; torch's own is never drawn from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch.nn import functional

from geoseg.grid.encoding import IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from geoseg.arrays import Float32

    Image = Float32
    """(C, H, W)."""

__all__ = ["ColorSettings", "Geometry", "Limits", "cut_holes", "jitter", "warp"]


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a chip lies on its scene."""

    factor: float  # chip pixels per scene pixel: above 1 enlarges
    angle: float  # rotation in degrees; quarter turns are exact and belong to ``turns``
    turns: int  # quarter turns, 0 to 3
    flip: bool  # mirrored left to right, before the turns

    def source_side(self, size: int) -> int:
        """Side in scene pixels of the square that a chip of this size is cut from."""
        theta = math.radians(self.angle)
        return math.ceil(size * (abs(math.cos(theta)) + abs(math.sin(theta))) / self.factor)


def warp(
    pixels: Tensor, valid: Tensor, labels: Tensor, size: int, geometry: Geometry
) -> tuple[Tensor, Tensor, Tensor]:
    """A square cut from a scene, scaled, rotated, flipped and turned to a chip.

    Pixels are averaged when they shrink (as a scene is when it is read onto the model's grid) and bilinear
    otherwise; labels take the nearest. A pixel whose label or data lies outside the cut is 255 and invalid.

    Args:
        pixels: Float (C, h, w), h = w = ``geometry.source_side(size)``.
        valid: Bool (h, w).
        labels: Integer (h, w).

    Returns:
        Float (C, size, size), bool (size, size), int64 (size, size).
    """
    ids = torch.where(valid, labels.long(), IGNORE).float()[None, None]
    image, good = pixels[None], valid.float()[None, None]
    side = max(round(pixels.shape[-1] * geometry.factor), size)
    if side != pixels.shape[-1]:
        shape = (side, side)
        image = functional.interpolate(image, shape, mode="bilinear", align_corners=False, antialias=True)
        good = functional.interpolate(good, shape, mode="nearest-exact")
        ids = functional.interpolate(ids, shape, mode="nearest-exact")
    if geometry.angle:
        theta = math.radians(geometry.angle)
        zoom = size / side
        matrix = zoom * torch.tensor(
            [[math.cos(theta), -math.sin(theta), 0.0], [math.sin(theta), math.cos(theta), 0.0]]
        )
        grid = functional.affine_grid(matrix[None], [1, 1, size, size], align_corners=False)
        image = functional.grid_sample(
            image, grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        # One more than the id, so that what comes from outside (zero) can be told from class 0.
        ids = functional.grid_sample(ids + 1, grid, mode="nearest", align_corners=False) - 1
        ids = torch.where(ids < 0, float(IGNORE), ids)
        good = functional.grid_sample(good, grid, mode="nearest", align_corners=False)
    else:
        start = (side - size) // 2
        window = (..., slice(start, start + size), slice(start, start + size))
        image, good, ids = image[window], good[window], ids[window]
    stack = torch.cat([image, good, ids], 1)[0]
    if geometry.flip:
        stack = stack.flip(-1)
    stack = torch.rot90(stack, geometry.turns, (-2, -1))
    bands = pixels.shape[0]
    return stack[:bands].contiguous(), stack[bands].bool(), stack[bands + 1].round().long()


@dataclass(frozen=True, slots=True)
class ColorSettings:
    """Ranges of the changes of color and sensor: a draw is uniform in ±range, or happens by chance."""

    brightness: float = 0.12  # shift, as a share of the value range
    contrast: float = 0.25  # relative change of the spread around the chip's mean
    gamma: float = 0.25  # of the natural logarithm of gamma
    gain: float = 0.08  # relative change of each band on its own (white balance)
    saturation: float = 0.35  # relative change of the distance from gray
    hue: float = 15.0  # degrees; three bands only
    blur: float = 0.2  # probability of a Gaussian blur, sigma 0.4 to 1.2 px
    noise: float = 0.3  # probability of Gaussian noise, sigma up to 3 % of the value range
    holes: float = 0.05  # probability of a rectangle without data


_RGB = 3
_HEADROOM = 0.25
"""Of the measured range, on either side, that changes of color may reach into before they are clipped."""


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """The range that changes of color work in: what they would push out of it is clipped."""

    low: Float32  # (C, 1, 1)
    width: Float32  # (C, 1, 1), above 0

    @classmethod
    def of_bytes(cls, bands: int) -> Self:
        """The whole range of 8 bits, which sensor and screen clip at, too."""
        return cls(np.zeros((bands, 1, 1), np.float32), np.full((bands, 1, 1), 255, np.float32))

    @classmethod
    def of_range(cls, seen: Sequence[tuple[float, float]]) -> Self:
        """Those of measured values, low and high per band, with room beyond; three bands share one range.

        (So gray stays gray where hue and saturation change.)
        """
        low, high = np.array(seen, np.float64).T
        if len(seen) == _RGB:
            low, high = np.full(_RGB, low.min()), np.full(_RGB, high.max())
        spread = np.where(high > low, high - low, np.maximum(np.abs(high), 1.0))
        shape = (len(seen), 1, 1)
        return cls(
            (low - _HEADROOM * spread).astype(np.float32).reshape(shape),
            ((1 + 2 * _HEADROOM) * spread).astype(np.float32).reshape(shape),
        )

    def clipped(self, pixels: Tensor, valid: Tensor) -> float:
        """Share of the valid values (C, H, W) that lie at the ends of the range or beyond."""
        share = (pixels.numpy() - self.low) / self.width
        return float(((share <= 0) | (share >= 1))[:, valid.numpy()].mean()) if valid.any() else 0.0


def jitter(pixels: Tensor, limits: Limits, settings: ColorSettings, rng: np.random.Generator) -> Tensor:
    """Change color, light and sharpness of a chip: float (C, H, W), about all of it within the limits.

    Args:
        rng: Source of all draws; the number of draws does not depend on what they are.
    """
    draw = rng.uniform(-1.0, 1.0, 6)
    gains = 1.0 + settings.gain * rng.uniform(-1.0, 1.0, pixels.shape[0])
    chances = rng.uniform(0.0, 1.0, 4)
    noise_seed = int(rng.integers(2**31))
    # NumPy works in this thread alone: torch's sums depend on the number of threads, chips must not.
    if limits.low.any():
        image: Image = np.divide(pixels.numpy() - limits.low, limits.width, dtype=np.float32)
        np.maximum(image, 0.0, out=image)  # where there is no data, the stored 0 may lie far below
    else:
        image = np.divide(pixels.numpy(), limits.width, dtype=np.float32)
    image *= gains.astype(np.float32)[:, None, None]
    if pixels.shape[0] == _RGB:
        image = _hue_saturation(image, settings.hue * draw[0], 1.0 + settings.saturation * draw[1])
    spread = 1.0 + settings.contrast * draw[2]
    shift = (1.0 - spread) * image.mean(dtype=np.float64) + settings.brightness * draw[3]
    image *= np.float32(spread)
    image += np.float32(shift)
    np.clip(image, 0.0, 1.0, out=image)
    gamma = math.exp(settings.gamma * draw[4])
    if gamma != 1.0:
        np.power(image, np.float32(gamma), out=image)
    if chances[0] < settings.blur:
        image = _gaussian(image, 0.4 + 0.8 * float(chances[1]))
    if chances[2] < settings.noise:
        noise = np.random.default_rng(noise_seed).standard_normal(image.shape, np.float32)
        image += np.float32(0.03 * float(chances[3])) * noise
    np.clip(image, 0.0, 1.0, out=image)
    image *= limits.width
    if limits.low.any():
        image += limits.low
    return torch.from_numpy(image)


def _hue_saturation(image: Image, degrees: float, saturation: float) -> Image:
    """Rotate and stretch colors around the gray axis (the matrix of the YIQ rotation, in RGB)."""
    angle = math.radians(degrees)
    cos, sin = saturation * math.cos(angle), saturation * math.sin(angle)
    gray = np.broadcast_to([0.299, 0.587, 0.114], (_RGB, _RGB))
    cross = np.array([[0.168, 0.330, -0.497], [-0.328, 0.035, 0.292], [1.250, -1.050, -0.203]])
    matrix = (gray + cos * (np.eye(_RGB) - gray) + sin * cross).astype(np.float32)
    turned: Image = np.empty_like(image)
    for number, (red, green, blue) in enumerate(matrix):
        np.multiply(image[0], red, out=turned[number])
        turned[number] += green * image[1]
        turned[number] += blue * image[2]
    return turned


_BLUR_RADIUS = 3  # pixels that the blur reaches


def _gaussian(image: Image, sigma: float) -> Image:
    taps = np.exp(-0.5 * (np.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    for axis in (1, 2):
        around = [(0, 0)] * 3
        around[axis] = (_BLUR_RADIUS, _BLUR_RADIUS)
        padded = np.pad(image, around, mode="reflect")
        image = np.zeros_like(image)
        for k, tap in enumerate(taps):
            at = [slice(None)] * 3
            at[axis] = slice(k, k + image.shape[axis])
            image += tap * padded[tuple(at)]
    return image


def cut_holes(
    valid: Tensor, labels: Tensor, settings: ColorSettings, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Sometimes mark a rectangle of up to half the side as no data, unlabeled; both are (H, W)."""
    happens = rng.uniform() < settings.holes
    height, width = valid.shape
    tall, wide = int(rng.integers(8, height // 2 + 9)), int(rng.integers(8, width // 2 + 9))
    row, col = int(rng.integers(-tall // 2, height)), int(rng.integers(-wide // 2, width))
    if not happens:
        return valid, labels
    window = (slice(max(row, 0), row + tall), slice(max(col, 0), col + wide))
    valid, labels = valid.clone(), labels.clone()
    valid[window] = False
    labels[window] = IGNORE
    return valid, labels
