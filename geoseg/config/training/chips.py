"""How chips are cut from scenes and changed, whatever they are trained for. Values only."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictFloat, WithJsonSchema, field_validator

from geoseg.config.fields import distinct
from geoseg.config.section import Section
from geoseg.config.units import Pixels

__all__ = ["Chips", "Color", "Flip"]

Flip = Literal["horizontal", "vertical", "turns"]
"""A mirroring, or quarter turns."""

_SMALLEST, _LARGEST = 16, 4096
"""Sides of a chip, in pixels."""


class Color(Section):
    """Ranges of the changes of color: a draw is uniform within ± the range."""

    brightness: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.12
    """Shift, as a share of the value range."""
    contrast: Annotated[StrictFloat, Field(ge=0, lt=1)] = 0.25
    """Relative change of the spread around the chip's mean."""
    gamma: Annotated[StrictFloat, Field(ge=0, le=2)] = 0.25
    """Of the natural logarithm of gamma."""
    gain: Annotated[StrictFloat, Field(ge=0, lt=1)] = 0.08
    """Relative change of each band on its own."""
    saturation: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.35
    """Relative change of the distance from gray; three bands only."""
    hue: Annotated[StrictFloat, Field(ge=0, le=180)] = 15.0
    """Degrees; three bands only."""


def _sizes(given: object) -> object:
    """One size is a list of one."""
    return tuple(given) if isinstance(given, list | tuple) else (given,)


def _one_per_kind(flips: tuple[Flip, ...]) -> tuple[Flip, ...]:
    return distinct(flips) if flips else flips


_SIZE_SCHEMA = WithJsonSchema(
    {"anyOf": [Pixels.json_schema(), {"type": "array", "minItems": 1, "items": Pixels.json_schema()}]}
)
_Chance = Annotated[StrictFloat, Field(ge=0, le=1)]


class Chips(Section):
    """How chips are cut from the scenes and changed: nothing is written to disk."""

    size: Annotated[tuple[Pixels, ...], BeforeValidator(_sizes), AfterValidator(distinct), _SIZE_SCHEMA] = (
        Pixels(256, "px"),
    )
    """Side of a chip, or a list of sides that are mixed in one training, a batch having one."""
    scales: tuple[StrictFloat, StrictFloat] = (0.7, 1.4)
    """Range of factors on the ground resolution, drawn evenly in the logarithm."""
    rotate: _Chance = 0.3
    """Probability of a free rotation by up to 45°."""
    flips: Annotated[tuple[Flip, ...], AfterValidator(_one_per_kind)] = ("horizontal", "vertical", "turns")
    """Which mirrorings, and whether quarter turns, are drawn, each evenly; an empty list draws none."""
    focus: _Chance = 0.5
    """Probability that a chip is centered on a class drawn evenly (borders count as one), not on any labeled
    pixel."""
    color: Color | None = Color()
    """Changes of color; null changes none."""
    blur: _Chance = 0.2
    """Probability of a blur."""
    noise: _Chance = 0.3
    """Probability of noise."""
    holes: _Chance = 0.05
    """Probability of a rectangle without data."""

    @field_validator("size")
    @classmethod
    def _sane(cls, sizes: tuple[Pixels, ...]) -> tuple[Pixels, ...]:
        for size in sizes:
            if not _SMALLEST <= size.count <= _LARGEST:
                raise ValueError(f"must be {_SMALLEST} px to {_LARGEST} px, got {size}")
        return sizes

    @field_validator("scales")
    @classmethod
    def _range(cls, scales: tuple[float, float]) -> tuple[float, float]:
        if not 0 < scales[0] <= scales[1] < math.inf:
            raise ValueError(f"must be [low, high] with 0 < low ≤ high, got [{scales[0]}, {scales[1]}]")
        return scales

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the chips, in pixels."""
        return tuple(size.count for size in self.size)
