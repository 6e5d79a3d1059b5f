"""A model's calibration: how often objects of a confidence are right."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

__all__ = ["LEAST_OBJECTS", "Calibration"]

LEAST_OBJECTS: Final = 50
"""Fewest objects that a calibration is fitted to: even one share of so many is known to 0.14 only (95 %)."""
_MOST_KNOTS: Final = 10_000

Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]


class Calibration(BaseModel):
    """A rising function from the confidence of an object to the share of such objects that are right.

    It holds for polygons of the mode ``objects`` whose confidence is their mean probability (``conf_mean``);
    right is what has an IoU of 0.5 or more with an object of the reference. Straight between knots, level
    beyond (:class:`geoseg.score.pixels.isotonic.Isotonic`).

    Raises:
        ValidationError: pydantic's, as :class:`geoseg.config.model.contract.BundleSpec`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_name: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=63)]
    """The class it is for, the only one that is not background."""
    knots: Annotated[tuple[tuple[Share, Share], ...], Field(min_length=1, max_length=_MOST_KNOTS)]
    """Confidence, strictly rising, and share that is right, never falling."""
    objects: Annotated[int, Field(strict=True, ge=LEAST_OBJECTS)]
    """How many it was fitted to."""
    data: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
    """What it was fitted on, in words."""

    @model_validator(mode="after")
    def _rises(self) -> Self:
        for before, after in zip(self.knots[:-1], self.knots[1:], strict=True):
            if after[0] <= before[0] or after[1] < before[1]:
                first, second = (f"({knot[0]:g}, {knot[1]:g})" for knot in (before, after))
                raise ValueError(f"knots must rise: after {first} comes {second}")
        return self
