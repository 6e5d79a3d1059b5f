"""Towns of probabilities, small and ragged."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from geoseg.arrays import UInt8
from geoseg.grid.encoding import NODATA

__all__ = ["town"]


def town(seed: int, height: int = 150, width: int = 110, holes: float = 0.0, roofs: int = 14) -> UInt8:
    """Roofs at all angles, some of them touching, blurred and noisy; a wall through all rows."""
    random = np.random.default_rng(seed)
    rows, cols = np.mgrid[:height, :width]
    inside = np.full((height, width), -9.0)
    for _ in range(roofs):
        y, x, angle = random.uniform(0, height), random.uniform(0, width), random.uniform(0, np.pi)
        long, short = random.uniform(6, 22), random.uniform(4, 12)
        u = (cols - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        v = -(cols - x) * np.sin(angle) + (rows - y) * np.cos(angle)
        inside = np.maximum(inside, np.minimum(long - abs(u), short - abs(v)))
    inside = np.maximum(inside, 2.0 - abs(cols - 10))
    noise = ndimage.gaussian_filter(random.standard_normal(inside.shape), 2.5)
    field = ndimage.gaussian_filter(np.clip(inside, -6, 6), 1.2) + 0.6 * noise / noise.std()
    stored = np.rint(200 / (1 + np.exp(-1.5 * field))).astype(np.uint8)
    stored[random.random(inside.shape) < holes] = NODATA
    return stored
