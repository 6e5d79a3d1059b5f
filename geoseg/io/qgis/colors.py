"""Colors for classes that have none: distinct, also to the color-blind."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from geoseg.arrays import Float64

__all__ = ["class_colors", "seen_colors"]

_FIRST: Final = ("#d55e00", "#0072b2", "#009e73", "#e69f00", "#56b4e9", "#cc79a7", "#f0e442")
"""Okabe and Ito's palette, which the color-blind can read."""
_LEVELS: Final = tuple(range(16, 256, 24))
"""Red, green and blue of the colors that follow: neither white nor black."""
_LINEAR: Final = np.array(
    (
        np.eye(3),
        ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
        ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    )
)
"""What is seen of linear RGB normally, without red cones and without green ones (Machado et al. 2009)."""
_XYZ: Final = np.array(((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)))
_WHITE: Final = np.array((0.95047, 1.0, 1.08883))


@lru_cache(maxsize=8)
def class_colors(count: int) -> tuple[str, ...]:
    """As many colors as ``#rrggbb``, those of fewer classes first.

    Each color that follows the palette is, of a lattice, the one farthest from all before it (CIE76), to the
    eyes that tell it worst. 255 are possible.
    """
    levels = np.array(_LEVELS)
    lattice = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    found = [*_FIRST[:count]]
    seen = seen_colors(["#{:02x}{:02x}{:02x}".format(*rgb) for rgb in lattice.tolist()])
    nearest = np.full(len(lattice), np.inf)
    for color in seen_colors(found).swapaxes(0, 1):
        nearest = np.minimum(nearest, _worst(seen, color))
    while len(found) < count:
        best = int(nearest.argmax())
        found.append("#{:02x}{:02x}{:02x}".format(*lattice[best].tolist()))
        nearest = np.minimum(nearest, _worst(seen, seen[:, best]))
    return tuple(found)


def seen_colors(colors: list[str]) -> Float64:
    """CIE L*a*b* (D65) of colors ``#rrggbb``: normally, without red cones, without green ones, (3, n, 3)."""
    stored = np.array([list(bytes.fromhex(color[1:])) for color in colors], np.float64).reshape(-1, 3) / 255
    linear = np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)  # noqa: PLR2004 - sRGB
    xyz = np.clip(np.einsum("eij,nj->eni", _LINEAR, linear), 0, 1) @ _XYZ.T / _WHITE
    root = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    light, red, blue = 116 * root[..., 1] - 16, root[..., 0] - root[..., 1], root[..., 1] - root[..., 2]
    return np.stack([light, 500 * red, 200 * blue], axis=-1)


def _worst(seen: Float64, one: Float64) -> Float64:
    """Distance of each color to one, to the eyes that see the least, (n,)."""
    found: Float64 = np.linalg.norm(seen - one[:, None], axis=-1).min(0)
    return found
