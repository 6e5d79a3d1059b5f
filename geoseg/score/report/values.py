"""The parts of a report."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["ClassScore", "Curve", "CurveBin", "Measure", "SceneScore", "Unscored", "Value"]


class Value(BaseModel):
    """A frozen value of a report: what it says, as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Measure(Value):
    """A measure with its interval."""

    value: float | None
    """None: undefined, such as the precision of a class that the map never uses."""
    low: float | None = None
    """Lower end of the interval; None: fewer than two cells bear on it."""
    high: float | None = None
    """Upper end of the interval."""


class ClassScore(Value):
    """The score of one class."""

    id: int
    name: str
    iou: Measure
    f1: Measure
    precision: Measure
    recall: Measure
    reference_pixels: int
    """Scored pixels of this class in the reference."""
    mapped_pixels: int
    """Scored pixels mapped as this class."""
    reference_share: float
    """Share of the scored pixels that are this class in the reference."""
    mapped_share: float
    """Share of the scored pixels that are mapped as this class."""
    boundary_iou: Measure = Measure(value=None)
    calibration_error: Measure = Measure(value=None)
    """Expected; of this class's probability."""
    largest_calibration_error: float | None = None
    brier: float | None = None


class CurveBin(Value):
    """One bin of a reliability curve."""

    low: float
    """Probabilities above this (the first bin: from this on) …"""
    high: float
    """… up to this."""
    pixels: int
    said: float | None
    """Their mean probability; None: no pixels."""
    true: float | None
    """Share of them of which it was true."""


class Curve(Value):
    """How often what was said was true."""

    name: str
    """Of a class; ``confidence``: the probability of whichever class was mapped."""
    bins: tuple[CurveBin, ...]


class SceneScore(Value):
    """The score of one scene, without intervals."""

    scene: str
    iou: tuple[float | None, ...]
    """Per class."""
    mean_iou: float | None
    """By the definition ``dataset``, of this scene alone."""
    accuracy: float | None
    labeled_pixels: int
    """Pixels with a label, excluded ones included."""
    excluded_pixels: int
    """Labeled pixels where the map has nodata."""
    repaired_polygons: int
    reference_polygons: int
    boundary_iou: float | None = None
    """Mean over the classes in the reference."""
    boundary_pixels: tuple[int, int] | None = None
    """Rows and columns that the boundary reaches here."""
    calibration_error: float | None = None
    """Expected; of the mapped class."""


class Unscored(Value):
    """A scene that is in no figure."""

    scene: str
    reason: str
    """One sentence."""
