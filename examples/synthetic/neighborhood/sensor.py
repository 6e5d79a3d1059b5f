"""From light to the delivered image: optics, exposure, tone, noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from geoseg.arrays import Float32
from synthetic.neighborhood.canvas import blur
from synthetic.neighborhood.style import Style

__all__ = ["expose"]

EXPOSURE = 1.45
"""Sunlit asphalt (reflectance 0.12) lands near 110 of 255."""
MIDDLE, SHOULDER = 0.42, 0.8
"""The tone that contrast leaves alone, and where highlights begin to roll off; 1 is full scale."""
LUMA = (np.float32(0.299), np.float32(0.587), np.float32(0.114))


def expose(rng: np.random.Generator, light: Float32, style: Style) -> npt.NDArray[np.uint8]:
    """Photograph.

    Args:
        rng: the source of noise.
        light: float32 (H, W, 3), linear.
        style: optics, exposure, tone, noise.

    Returns:
        uint8 (3, H, W).
    """
    bands: list[Float32] = []
    haze = np.float32(style.haze)
    for band in range(3):
        seen = blur(light[..., band], style.blur) * np.float32(EXPOSURE * style.brightness * style.cast[band])
        bands.append(np.maximum(seen * (1 - haze) + haze * np.float32(0.32 + 0.04 * band), 0))
    tone: Float32 = np.power(np.stack(bands, axis=-1), np.float32(1 / 2.2), dtype=np.float32)
    gray: Float32 = tone[..., :1] * LUMA[0] + tone[..., 1:2] * LUMA[1] + tone[..., 2:] * LUMA[2]
    color = [blur(tone[..., band] - gray[..., 0], style.chroma) for band in range(3)]
    tone = gray + np.stack(color, axis=-1) * np.float32(style.saturation)
    tone = MIDDLE + (tone - MIDDLE) * np.float32(style.contrast)
    rest = 1 - SHOULDER
    bright = tone > SHOULDER
    tone[bright] = SHOULDER + rest * np.tanh((tone[bright] - SHOULDER) / rest)
    counts = tone * np.float32(255)
    if style.sharpen > 0:
        counts += np.float32(style.sharpen) * np.stack(
            [c - blur(c, 1.2) for c in np.moveaxis(counts, -1, 0)], axis=-1
        )
    shared = rng.standard_normal((*light.shape[:2], 1), dtype=np.float32)
    own = rng.standard_normal(light.shape, dtype=np.float32)
    counts += np.float32(style.noise) * (np.float32(0.8) * shared + np.float32(0.45) * own)
    image = np.clip(np.rint(counts), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(image, -1, 0))
