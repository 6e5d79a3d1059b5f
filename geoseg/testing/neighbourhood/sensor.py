"""From light to the delivered image: optics, exposure, tone, noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from geoseg.testing.neighbourhood.canvas import F32, blur
from geoseg.testing.neighbourhood.style import Style

__all__ = ["expose"]

EXPOSURE = 1.45
"""Sunlit asphalt (reflectance 0.12) lands near 110 of 255."""
LUMA = np.array((0.299, 0.587, 0.114), np.float32)


def expose(rng: np.random.Generator, light: F32, style: Style) -> npt.NDArray[np.uint8]:
    """Photograph.

    Args:
        rng: the source of noise.
        light: float32 (H, W, 3), linear.
        style: optics, exposure, tone, noise.

    Returns:
        uint8 (3, H, W).
    """
    bands = []
    haze = np.float32(style.haze)
    for band in range(3):
        seen = blur(light[..., band], style.blur) * np.float32(EXPOSURE * style.brightness * style.cast[band])
        bands.append(np.maximum(seen * (1 - haze) + haze * np.float32(0.32 + 0.04 * band), 0))
    tone = np.stack(bands, axis=-1) ** np.float32(1 / 2.2)
    grey = (tone @ LUMA)[..., None]
    tone = grey + (tone - grey) * np.float32(style.saturation)
    tone = 0.42 + (tone - 0.42) * np.float32(style.contrast)
    tone = np.where(tone > 0.8, 0.8 + 0.2 * np.tanh((tone - 0.8) / 0.2), tone)  # noqa: PLR2004 (the shoulder)
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
