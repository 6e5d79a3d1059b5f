"""Land cover with a known truth: smooth random score fields, and the true classes four times finer.

Each class has a random field with features of three sizes; the true class of a place is that of the largest
field. What a model would store is the softmax of the fields' means over each pixel, in steps of 1/200: it
knows where inside a pixel a boundary runs, as far as the steps and the mean allow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.grid.encoding import NODATA, SCALE

__all__ = ["FINER", "LandCover", "make_landcover"]

FINER = 4
"""True classes are given for this many places along each side of a pixel."""
_FEATURES = {20.0: 1.0, 7.5: 0.5, 2.5: 0.17}
"""Sizes of features, as standard deviations in pixels of the smoothing Gaussians → their variances."""
_CONTRAST = 3.0
"""Factor of the fields, of standard deviation 1, before the softmax."""


@dataclass(frozen=True, slots=True, eq=False)
class LandCover:
    """A scene of land cover."""

    classes: NDArray[np.uint8]
    """Class with the largest stored score, the lowest id where equal, 255 without data; (rows, columns)."""
    scores: NDArray[np.uint8]
    """Stored scores, 0 to 200, 255 without data; (classes, rows, columns)."""
    truth: NDArray[np.uint8]
    """True classes; (4 × rows, 4 × columns)."""


def make_landcover(rows: int, columns: int, classes: int = 5, seed: int = 0, blank: float = 0.0) -> LandCover:
    """A scene of land cover, the same for the same arguments.

    Args:
        rows: rows of pixels.
        columns: columns of pixels.
        classes: number of classes.
        seed: of the random fields.
        blank: share of the pixels without data, in patches.
    """
    random = np.random.default_rng(seed)
    height, width = rows * FINER, columns * FINER
    best = np.full((height, width), -np.inf, np.float32)
    truth = np.zeros((height, width), np.uint8)
    means = np.zeros((classes, rows, columns), np.float32)
    for number in range(classes):
        field = _field(random, height, width)
        truth[field > best] = number
        np.maximum(best, field, out=best)
        means[number] = field.reshape(rows, FINER, columns, FINER).mean((1, 3))
    odds = np.exp(_CONTRAST * (means - means.max(0)))
    scores = np.rint(SCALE * odds / odds.sum(0)).astype(np.uint8)
    ids = scores.argmax(0).astype(np.uint8)
    if blank:
        cover = _field(random, rows, columns)
        missing = cover < np.quantile(cover, blank)
        scores[:, missing] = ids[missing] = NODATA
    return LandCover(ids, scores, truth)


def _field(random: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """A smooth random field of mean 0 and standard deviation 1 that repeats past its edges."""
    squared = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width) ** 2
    power = np.zeros(squared.shape)
    for size, variance in _FEATURES.items():
        # White noise smoothed by a Gaussian has a variance of 1 over the square of its size.
        power += variance * size**2 * np.exp(-squared * (2 * np.pi * size * FINER) ** 2)
    spectrum = np.fft.rfft2(random.standard_normal((height, width))) * np.sqrt(power)
    field = np.fft.irfft2(spectrum, s=(height, width))
    scaled: NDArray[np.float32] = ((field - field.mean()) / max(field.std(), 1e-9)).astype(np.float32)
    return scaled
