"""The classes of a raster that ``geoseg vectorize`` outlines: ids, names and colors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from geoseg.config.vectorize import Vectorize
from geoseg.errors import ConfigError
from geoseg.io.raster.probability import ScoreRaster
from geoseg.words import did_you_mean, listed

__all__ = ["RasterClass", "chosen_classes", "classes_of"]

_PALETTE: Final = (
    "#d62728", "#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd",
    "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#7f7f7f",
)  # fmt: skip
"""Colors of classes without one (Tableau's ten), by id."""


@dataclass(frozen=True, slots=True)
class RasterClass:
    """One class."""

    id: int
    """Its id in the layer."""
    name: str
    """Its name."""
    color: str
    """``#rrggbb``."""
    background: bool = False
    """Whether it is what lies between the objects."""


def classes_of(raster: ScoreRaster, ids: Sequence[int], names: Mapping[int, str]) -> list[RasterClass]:
    """The classes of a raster.

    Args:
        raster: the raster.
        ids: their ids; of probabilities as many as bands of classes, in their order.
        names: id → name, over the band descriptions. Class 0 of a class raster is background unless named.

    Raises:
        ConfigError: a name for a class that no band stands for.
    """
    for number in names:
        if number not in ids:
            raise ConfigError(
                f"--class {number}={names[number]}: {raster.href} has no class {number}; its bands stand for "
                f"{listed(map(str, ids))}"
            )
    described = dict(zip(ids, raster.names[: len(ids)], strict=True)) if raster.kind == "probability" else {}
    out = []
    for number in ids:
        background = raster.kind == "classes" and number == 0 and number not in names
        name = names.get(number) or described.get(number) or f"class_{number}"
        color = raster.colors.get(number, _PALETTE[(number - 1) % len(_PALETTE)])
        out.append(RasterClass(number, "background" if background else name, color, background))
    return out


def chosen_classes(classes: Sequence[RasterClass], options: Vectorize, href: str) -> list[RasterClass]:
    """Those to outline: the ones that options name, else all but the background (in a coverage, all).

    Raises:
        ConfigError: there is no such class.
    """
    names = [c.name for c in classes]
    for name in options.classes or ():
        if name not in names:
            raise ConfigError(
                f"--set: vectorize.classes: {href} has no class {name!r}, only {listed(names)}"
                f"{did_you_mean(name, names)}"
            )
    everything = options.mode == "coverage"
    return [
        c
        for c in classes
        if (c.name in options.classes if options.classes else everything or not c.background)
    ]
