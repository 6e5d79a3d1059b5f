"""How a neighborhood looks: season, light, palette and sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["ROOF_PALETTES", "Style", "random_style"]

ROOF_PALETTES: dict[str, dict[str, float]] = {
    "austin": {
        "white": 0.20, "galvanised": 0.12, "gray": 0.24, "charcoal": 0.12, "brown": 0.16, "tan": 0.10,
        "red": 0.05, "rust": 0.01,
    },
    "shingle": {"gray": 0.40, "charcoal": 0.25, "brown": 0.25, "tan": 0.10},
    "metal": {"white": 0.35, "galvanised": 0.35, "rust": 0.15, "red": 0.05, "green": 0.05, "blue": 0.05},
    "tile": {"red": 0.55, "tan": 0.20, "brown": 0.15, "gray": 0.10},
    "mixed": {
        "white": 0.14, "galvanised": 0.12, "gray": 0.16, "charcoal": 0.12, "brown": 0.13,
        "tan": 0.11, "red": 0.10, "rust": 0.05, "green": 0.04, "blue": 0.03,
    },
}  # fmt: skip
"""Shares of roof materials; the materials themselves are in `roofs`."""


@dataclass(frozen=True, slots=True)
class Style:
    """What varies between two flights over the same kind of place. The default resembles Austin in winter."""

    sun_azimuth: float = 152.0
    """Degrees clockwise from north, where the sun stands."""
    sun_elevation: float = 38.0
    """Degrees above the horizon."""
    leaf: float = 0.12
    """Share of the deciduous trees that are in leaf, 0..1."""
    evergreen: float = 0.42
    """Share of the trees that are evergreen, 0..1."""
    trees: float = 1.0
    """Density of trees; 1 is a well-grown suburb, 0 is none."""
    greenness: float = 0.42
    """Lawns from straw (0) to lush (1)."""
    bare: float = 0.35
    """How readily soil shows, 0..1."""
    palette: str = "austin"
    """A key of `ROOF_PALETTES`."""
    lot_width: float = 18.0
    """Mean width of a lot, meters."""
    terraces: float = 0.035
    """Share of the lots, where there is room, that hold a terrace of houses wall to wall, 0..1."""
    alley: float = 0.0
    """Meters between the houses of a terrace."""
    brightness: float = 1.0
    """Exposure; 1 leaves sunlit asphalt near 110 of 255."""
    contrast: float = 1.0
    """Slope of the tone curve around its middle."""
    saturation: float = 0.9
    """Colorfulness; 0 is gray."""
    cast: tuple[float, float, float] = (0.99, 1.01, 0.98)
    """Gain of red, green and blue."""
    haze: float = 0.015
    """Veil of scattered light, share of full scale."""
    ambient: float = 0.17
    """Light of the sky as a share of all light on flat ground: how deep shadows are."""
    blur: float = 0.5
    """Standard deviation of the point spread, pixels."""
    chroma: float = 0.6
    """Standard deviation of the blur of color alone, pixels: what demosaicing and JPEG leave."""
    sharpen: float = 0.5
    """Strength of the unsharp mask that providers apply."""
    noise: float = 2.2
    """Standard deviation of the sensor's noise, in 8-bit counts."""


def random_style(rng: np.random.Generator) -> Style:
    """Draw a style from the wide range that networks are trained on.

    Args:
        rng: the source of chance; the same state gives the same style.

    Returns:
        A style: any season, sun, exposure, palette and sensor that a supplier of aerial images might deliver.
    """
    season = rng.uniform()
    cast = rng.normal(1.0, 0.045, 3)
    return Style(
        sun_azimuth=float(rng.uniform(95, 265)),
        sun_elevation=float(rng.uniform(28, 68)),
        leaf=float(np.clip(season * 1.6 - 0.3, 0, 1)),
        evergreen=float(rng.uniform(0.15, 0.6)),
        trees=float(rng.uniform(0.3, 1.3)),
        greenness=float(np.clip(rng.normal(0.25 + 0.5 * season, 0.22), 0, 1)),
        bare=float(rng.beta(1.6, 2.6)),
        palette=str(rng.choice(sorted(ROOF_PALETTES))),
        lot_width=float(rng.uniform(13, 24)),
        brightness=float(np.exp(rng.normal(0.0, 0.2))),
        contrast=float(np.exp(rng.normal(0.0, 0.14))),
        saturation=float(rng.uniform(0.55, 1.25)),
        cast=(float(cast[0]), float(cast[1]), float(cast[2])),
        haze=float(rng.beta(1.2, 10)),
        ambient=float(rng.uniform(0.14, 0.4)),
        blur=float(rng.uniform(0.35, 1.0)),
        chroma=float(rng.uniform(0.0, 1.6)),
        sharpen=float(rng.uniform(0.0, 0.8)),
        noise=float(rng.uniform(0.8, 5.0)),
    )
