"""The values of reports and comparisons: their JSON is score.json and comparison.json."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from geoseg.score.bootstrap import Interval

__all__ = [
    "CategoryScore",
    "ClassScore",
    "Comparison",
    "Cost",
    "Curve",
    "CurveBin",
    "ErrorCounts",
    "Measure",
    "ModelScore",
    "ObjectBin",
    "ObjectScore",
    "ObjectShape",
    "SceneObjects",
    "SceneScore",
    "ScoreReport",
    "ScoredScene",
    "Scores",
    "SizeScore",
    "Unscored",
]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_dict(self) -> dict[str, Any]:
        """JSON values: numbers, text, null; no NaN."""
        return self.model_dump(mode="json")


class Measure(_Value):
    """A measure with its interval."""

    value: float | None
    """None: undefined, such as the precision of a class that the map never uses."""
    low: float | None = None
    """Ends of the interval; None: fewer than two cells bear on it."""
    high: float | None = None

    @classmethod
    def of(cls, value: float | None, interval: Interval | None) -> Self:
        """A value with its interval, where both are known."""
        if value is None or interval is None:
            return cls(value=value)
        return cls(value=value, low=interval.low, high=interval.high)


class ClassScore(_Value):
    """The score of one class; shares are of the scored pixels."""

    id: int
    name: str
    iou: Measure
    f1: Measure
    precision: Measure
    recall: Measure
    reference_pixels: int
    mapped_pixels: int
    reference_share: float
    mapped_share: float
    boundary_iou: Measure = Measure(value=None)
    calibration_error: Measure = Measure(value=None)
    """Expected; of this class's probability."""
    largest_calibration_error: float | None = None
    brier: float | None = None


class CategoryScore(_Value):
    """The score of several classes as one: a pixel is right that is mapped as any of them."""

    name: str
    classes: tuple[str, ...]
    iou: float | None
    """None: neither in the reference nor in the map."""
    reference_pixels: int
    mapped_pixels: int


class CurveBin(_Value):
    """One bin of a reliability curve."""

    low: float
    high: float
    """Probabilities above ``low`` (the first bin: from it on), up to this."""
    pixels: int
    said: float | None
    """Their mean probability; None: no pixels."""
    true: float | None


class Curve(_Value):
    """How often a probability was right."""

    name: str
    """Of a class; ``confidence``: the probability of whichever class was mapped."""
    bins: tuple[CurveBin, ...]


class SceneScore(_Value):
    """The score of one scene, without intervals; see :class:`ScoreReport`."""

    scene: str
    iou: tuple[float | None, ...]
    mean_iou: float | None
    accuracy: float | None
    labeled_pixels: int
    excluded_pixels: int
    repaired_polygons: int
    reference_polygons: int
    boundary_iou: float | None = None
    boundary_pixels: tuple[int, int] | None = None
    """Rows and columns that the boundary reaches here."""
    calibration_error: float | None = None


class Unscored(_Value):
    """A scene that is in no figure."""

    scene: str
    reason: str


class SizeScore(_Value):
    """The objects of a size class; a pair has the size of its object of the reference."""

    from_m2: float
    to_m2: float | None
    """Exclusive; None: no limit."""
    f1: float | None
    precision: float | None
    recall: float | None
    reference_objects: int
    mapped_objects: int


class ErrorCounts(_Value):
    """Objects by what became of them; each counts once, excluded ones in no measure."""

    matched: int
    wrong: int
    """Mapped: false, nothing is there. Reference: missed."""
    merged: int
    split: int
    excluded: int
    """Cut by the edge of the labeled area, or beside what is."""


class ObjectBin(_Value):
    """Mapped objects of similar confidence."""

    low: float
    high: float
    """Confidences above ``low`` (the first bin: from it on), up to this."""
    objects: int
    said: float | None
    """Their mean confidence; None: no objects."""
    true: float | None


class ObjectShape(_Value):
    """How matched objects are drawn: means of pairs; None: undefined."""

    pairs: int
    iou: float | None
    c_iou: float | None
    polis_m: float | None
    hausdorff_m: float | None
    tangent_error: float | None
    """Degrees."""
    vertex_ratio: float | None
    """Mapped vertices over those of the reference."""
    right_angles: float | None
    """Share of the mapped vertices."""
    area_bias: float | None
    """Mapped area over the reference's, less one."""
    invalid: int


class SceneObjects(_Value):
    """A scene's objects of a class."""

    scene: str
    f1: float | None
    reference_objects: int
    mapped_objects: int


class ObjectScore(_Value):
    """The scored objects of one class."""

    id: int
    name: str
    f1: Measure
    precision: Measure
    recall: Measure
    mean_scene_f1: float | None
    """Mean over the scenes that have objects of the class."""
    average_precision: float | None
    """Mean over the IoUs 0.5, 0.55, … 0.95; None: the reference has no objects."""
    average_precision_by_iou: dict[str, float | None]
    reference_objects: int
    mapped_objects: int
    mapped: ErrorCounts
    reference: ErrorCounts
    sizes: tuple[SizeScore, ...]
    calibration_error: float | None
    """Expected; of the objects' confidence."""
    reliability: tuple[ObjectBin, ...]
    shape: ObjectShape | None
    """None: nothing is matched."""
    scenes: tuple[SceneObjects, ...]


class ScoreReport(_Value):
    """A map's score against a reference; ``mean_iou`` is by the definition ``dataset``.

    Intervals are drawn from ``cells``, squares of ``cell_pixels`` pixels of the map that hold scored pixels.
    """

    classes: tuple[ClassScore, ...]
    mean_iou: Measure
    accuracy: Measure
    mean_iou_by_definition: dict[str, float | None]
    """By each name in :data:`~geoseg.score.pixels.confusion.DEFINITIONS`, to compare with papers."""
    scenes: tuple[SceneScore, ...]
    unscored: tuple[Unscored, ...]
    labeled_pixels: int
    """Excluded ones included."""
    excluded_pixels: int
    """Labeled pixels where the map has nodata: in no measure."""
    repaired_polygons: int
    reference_polygons: int
    confusion: tuple[tuple[int, ...], ...]
    """Pixels of true class (row) mapped as class (column)."""
    cells: int
    cell_pixels: int
    draws: int
    seed: int
    level: float
    definitions: dict[str, str]
    """What every measure above is."""
    boundary_iou: Measure = Measure(value=None)
    """Mean over the classes in the reference."""
    boundary_width: str | None = None
    """Distance from a contour that its boundary reaches, such as ``5 px``."""
    calibration_error: Measure = Measure(value=None)
    """Expected; of the mapped class. No value where no probabilities lie beside the maps."""
    largest_calibration_error: float | None = None
    brier: float | None = None
    """Sum over all classes: 0 to 2."""
    reliability: tuple[Curve, ...] = ()
    """Of each class whose probability is known, then of the mapped class."""
    objects: tuple[ObjectScore, ...] = ()
    """Of each class that is outlined; empty where no polygons lie beside the maps."""
    without_objects: tuple[str, ...] = ()
    categories: tuple[CategoryScore, ...] = ()
    """As the workflow groups its classes; empty: it does not, and the JSON has neither this nor the mean."""
    category_mean_iou: float | None = None
    """By the definition ``cityscapes``."""

    def to_dict(self) -> dict[str, Any]:
        """See :class:`_Value`."""
        unused = () if self.categories else ("categories", "category_mean_iou")
        return self.model_dump(mode="json", exclude=set(unused))


class Scores(_Value):
    """Measures of one map as in :class:`ScoreReport`, or how much more they are than another map's."""

    mean_iou: Measure
    accuracy: Measure
    boundary_iou: Measure
    calibration_error: Measure
    iou: tuple[Measure, ...]


class Cost(_Value):
    """What a model takes."""

    parameters: int
    gflops_per_mpx: float
    """Multiply-adds of the convolutions per pixel of the network, in thousands: 10⁹ per megapixel."""
    weights_bytes: int
    network_mpx_per_second: float | None = None
    """Megapixels of windows predicted per second of one worker: reading, network, stitching, writing parts.
    Of this machine in this run; None: not measured."""
    map_mpx_per_second: float | None = None
    """The same in megapixels of map, which windows cover more than once."""


class ModelScore(_Value):
    """One model."""

    model: str
    """Its name, with the start of its identity where several have the same."""
    version: str
    sha256: str
    scores: Scores
    difference: Scores | None = None
    """Against the first model, paired: the same cells in every draw; None: it is the first."""
    cost: Cost
    per_scene: tuple[float | None, ...]
    """Mean IoU of each scene, by the definition ``dataset``."""


class ScoredScene(_Value):
    """A scene that all models were scored on."""

    scene: str
    labeled_pixels: int
    """With a map of the first model."""


class Comparison(_Value):
    """Models on the same scenes, the first one being what the others are compared with."""

    classes: tuple[str, ...]
    models: tuple[ModelScore, ...]
    scenes: tuple[ScoredScene, ...]
    unscored: tuple[Unscored, ...] = ()
    grid: str
    boundary_width: str
    machine: str
    """Where speed was measured."""
    cells: int
    cell_pixels: int
    draws: int
    seed: int
    level: float
