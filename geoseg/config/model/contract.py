"""A model's contract: what it was made for, and what a scene has to be for it.

A bundle is a folder with ``item.json``, a STAC item, and ``weights.safetensors``. :class:`BundleSpec` is the
item's content as a value; :mod:`geoseg.config.model.mlm` translates.
"""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    field_validator,
    model_validator,
)

from geoseg.config.digest import digest
from geoseg.errors import BundleError
from geoseg.grid.encoding import BORDER_NAME, ProbabilityEncoding
from geoseg.grid.tiling import align_up

__all__ = [
    "BAND_NAME",
    "BUNDLE_NAME",
    "CLASS_NAME",
    "COLOR",
    "LEAST_OBJECTS",
    "LICENSE",
    "VERSION",
    "BundleSpec",
    "Calibration",
    "ClassSpec",
    "Counted",
    "Cropping",
    "DataSource",
    "GraphFile",
    "Measured",
    "Metric",
    "QuantizedGraph",
    "Scaling",
    "Training",
    "ValueKind",
    "WeightsFile",
]  # fmt: skip

LEAST_OBJECTS: Final = 50
"""Fewest objects that a calibration is fitted to: even one share of so many is known to 0.14 only (95 %)."""
_MOST_KNOTS: Final = 10_000

LEAST_AGREEMENT, MOST_AREA_BIAS, MOST_IOU_CHANGE = 0.995, 0.005, 0.002
"""What a precision may change to be taken without being asked for."""
LEAST_CROP_AGREEMENT, LEAST_BORDER_AGREEMENT, MOST_STEP_RATIO = 0.9995, 0.999, 1.05
"""What windows may change to be cropped instead of blended."""

# Patterns of whole texts, here and in the files that a model is made from.
BUNDLE_NAME: Final = r"^[a-z][a-z0-9-]{1,61}[a-z0-9]$"
CLASS_NAME: Final = r"^[a-z][a-z0-9_]{0,62}$"
BAND_NAME: Final = r"^[a-z0-9][a-z0-9_.-]{0,62}$"
VERSION: Final = r"^[0-9]+(\.[0-9]+){0,3}$"
LICENSE: Final = r"^[\w.+-]+$"
COLOR: Final = r"^#[0-9a-fA-F]{6}$"

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
BandName = Annotated[str, StringConstraints(pattern=BAND_NAME)]
ValueType = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
ValueKind = Literal["display", "reflectance", "raw"]
"""What a model's values are: 8 bits for a screen, reflectance (0 … 1 and a little above), or numbers as a
sensor or its product stores them."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scaling(_Value):
    """``(value - mean) / std`` per band, in the units in which a scene's values are read.

    Those are the stored values, or stored × scale + offset for bands with a linear scaling of their own.
    """

    mean: tuple[Number, ...]
    std: tuple[Positive, ...]


class ClassSpec(_Value):
    """One class of a model."""

    id: Annotated[int, Field(ge=0, le=254)]
    """Value in class rasters; 255 is nodata."""
    name: Annotated[str, StringConstraints(pattern=CLASS_NAME)]
    """Identifier: in files, layers and workflows."""
    title: Text
    """For people: in legends."""
    color: Annotated[str, StringConstraints(pattern=COLOR, to_lower=True)]
    background: bool = False
    """Whether the class is the ground that others stand on: it gets no polygons."""


class DataSource(_Value):
    """A data set that a model learned from."""

    name: Text
    attribution: Text
    """Who has to be named."""
    license: Text
    """SPDX identifier, or the terms in words."""
    url: Text | None = None


class Training(_Value):
    """How a model came to be."""

    data: Annotated[tuple[DataSource, ...], Field(min_length=1)]
    seed: int
    procedure: Text
    """Loss, schedule, augmentation, choice of weights: in words."""


class Metric(_Value):
    """One figure of a model."""

    name: Text
    """Such as ``iou_building``."""
    value: Number
    low: Number | None = None
    """Lower end of its 95 % bootstrap interval; ``high`` is the upper one."""
    high: Number | None = None
    data: Text


class Calibration(_Value):
    """A rising function from the confidence of an object to the share of such objects that are right.

    It holds for polygons of the mode ``objects`` whose confidence is their mean probability (``conf_mean``);
    right is what has an IoU of 0.5 or more with an object of the reference. Straight between knots, level
    beyond (:class:`geoseg.score.pixels.isotonic.Isotonic`).
    """

    class_name: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=63)]
    """The class it is for, the only one that is not background."""
    knots: Annotated[tuple[tuple[Share, Share], ...], Field(min_length=1, max_length=_MOST_KNOTS)]
    """Confidence, strictly rising, and share that is right, never falling."""
    objects: Annotated[int, Field(strict=True, ge=LEAST_OBJECTS)]
    data: Text

    @model_validator(mode="after")
    def _rises(self) -> Self:
        for before, after in zip(self.knots[:-1], self.knots[1:], strict=True):
            if after[0] <= before[0] or after[1] < before[1]:
                first, second = (f"({knot[0]:g}, {knot[1]:g})" for knot in (before, after))
                raise ValueError(f"knots must rise: after {first} comes {second}")
        return self


class WeightsFile(_Value):
    """The weights of a saved bundle, and the versions of geoseg and torch that wrote them."""

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(gt=0)]
    """Bytes."""
    parameters: Annotated[int, Field(gt=0)]
    """Trainable weights of the network."""
    created: AwareDatetime
    geoseg: Text
    torch: Text


class GraphFile(_Value):
    """The network's operations without its weights, for backends other than torch."""

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(gt=0)]
    """Bytes."""


class QuantizedGraph(_Value):
    """The network in 8-bit integers, for OpenVINO: its operations and their weights, a file each."""

    made_of: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """:attr:`BundleSpec.network_digest` of the network that it stands for."""
    operations: GraphFile
    weights: GraphFile
    data: Text
    """What its ranges were calibrated on."""


class Measured(_Value):
    """What a precision changes on one data set, compared with fp32 by the same backend."""

    precision: Literal["bf16", "fp16", "int8"]
    library: Text
    """The backend with its version."""
    processor: Text
    """Its instruction set, or the GPU's name."""
    agreement: Share
    """Of valid pixels, whose class is the same."""
    area_bias: Number
    """Relative change of the area of all classes but the background; of several the largest."""
    iou: Share | None = None
    """Mean over the classes but the background, against labels; None: there are none."""
    iou_fp32: Share | None = None
    data: Text

    @property
    def text(self) -> str:
        """The figures in words."""
        iou = "no labels"
        if self.iou is not None and self.iou_fp32 is not None:
            iou = f"IoU {self.iou:.4f} ({self.iou_fp32:.4f} in fp32)"
        return (
            f"{iou}, area {self.area_bias:+.2%}, same class on {self.agreement:.3%} of the pixels "
            f"({self.data}; {self.processor})"
        )

    @property
    def is_harmless(self) -> bool:
        """Whether it changes nothing that matters."""
        if self.iou is None or self.iou_fp32 is None:
            return False
        return (
            self.agreement >= LEAST_AGREEMENT
            and abs(self.area_bias) <= MOST_AREA_BIAS
            and abs(self.iou - self.iou_fp32) <= MOST_IOU_CHANGE
        )


class Cropping(_Value):
    """How windows that are cropped, not blended, agree with inference without windows."""

    window: Annotated[int, Field(ge=1)]
    """Side, in pixels."""
    halo: Annotated[int, Field(ge=0)]
    agreement: Share
    """Of all valid pixels, whose class is the same."""
    border_agreement: Share
    """The same within 32 pixels of the borders between windows."""
    step_ratio: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Mean step of the probability across these borders, to what it is there without windows."""
    data: Text

    @property
    def is_seamless(self) -> bool:
        """Whether cropping shows no seam."""
        return (
            self.agreement >= LEAST_CROP_AGREEMENT
            and self.border_agreement >= LEAST_BORDER_AGREEMENT
            and self.step_ratio <= MOST_STEP_RATIO
        )


class Counted(_Value):
    """What was counted of a network when it was saved, so that a plan need not build it."""

    made_of: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """:attr:`BundleSpec.network_digest` of the contract that it belongs to."""
    live_bytes: Positive
    """Tensors alive at the peak of a forward pass in float32, in bytes per pixel of the window."""
    unshared_bytes: Positive
    """The same where no tensor takes the place of one of another size."""


class BundleSpec(_Value):
    """All that is known of a model but the weights themselves."""

    name: Annotated[str, StringConstraints(pattern=BUNDLE_NAME)]
    """Identifier, as in ``model: buildings-mininet2``."""
    version: Annotated[str, StringConstraints(pattern=VERSION)]
    """Of the weights, counted by their maker."""
    title: Text
    description: Text
    """What it maps, and where it is good and bad."""
    license: Annotated[str, StringConstraints(pattern=LICENSE)]
    """Of the weights: SPDX identifier, or ``other``."""
    architecture: Text
    """A name of :data:`geoseg.models.networks.registry.ARCHITECTURES`."""
    arguments: dict[str, JsonValue]
    """Of the architecture, ``bands`` and ``classes`` (their numbers) among them."""
    bands: Annotated[tuple[BandName, ...], Field(min_length=1, max_length=1024)]
    """Common names (``red``, ``nir`` …) in the network's order."""
    scaling: Scaling
    value_dtype: ValueType
    """Type of the stored values that the scaling belongs to."""
    values: ValueKind | None = None
    """What the values are; None: unknown."""
    value_range: Annotated[tuple[tuple[Number, Number], ...], Field(min_length=1)] | None = None
    """Per band, low and high: the middle 98 % of the values that training saw, before the scaling; None: not
    measured. :attr:`seen_range` always has one."""
    fill: Literal[0] = 0
    """What the network sees where there is no data, after scaling."""
    classes: Annotated[tuple[ClassSpec, ...], Field(min_length=2, max_length=255)]
    """By id, from 0 without gaps."""
    border: bool = False
    """Whether the network has one more channel after the classes: where objects of class 1 meet another one.
    Its probability is a part of that class's, and parts objects that touch."""
    resolution: Positive
    """Ground resolution, in meters."""
    resolution_tolerance: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Relative difference within which a scene's own pixels are used."""
    coarsest_resolution: Positive | None = None
    """Coarsest ground resolution of the training in meters, its changes of scale included; None: unknown."""
    alignment: Annotated[int, Field(ge=1, le=1024)]
    """Window offsets and sizes are multiples of this, in pixels."""
    receptive_field_radius: Annotated[int, Field(ge=0)] | None
    """Receptive field's worst side, in pixels; None: global."""
    halo: Annotated[int, Field(ge=0)]
    """Recommended halo in pixels, measured: the smallest with the agreement below."""
    halo_agreement: Annotated[float, Field(ge=0, le=1)]
    """Share of pixels whose class that halo leaves as a far larger one does."""
    window: Annotated[int, Field(ge=1)] | None = None
    """Side of the windows that the weights were trained and chosen on, in pixels, where their receptive field
    is larger: they know the padding of such windows, and others make them drift. None: any size will do."""
    training: Training
    metrics: tuple[Metric, ...] = ()
    calibration: Calibration | None = None
    cropping: Cropping | None = None
    """None: windows are blended, with the halo above."""
    measured: tuple[Measured, ...] = ()
    """What precisions change, by data set."""
    weights: WeightsFile | None = None
    """None before they are saved."""
    graph: GraphFile | None = None
    """None: only torch computes the network."""
    int8: QuantizedGraph | None = None
    """None: it was not quantized."""
    counted: Counted | None = None
    """What was counted of the network; None: nothing."""

    @field_validator("arguments", mode="before")
    @classmethod
    def _lists(cls, arguments: object) -> object:
        # As JSON gives them back: a contract that was saved and read is equal to the one that was made.
        if not isinstance(arguments, dict):
            return arguments
        return {key: list(value) if isinstance(value, tuple) else value for key, value in arguments.items()}

    @field_validator("bands")
    @classmethod
    def _distinct(cls, bands: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(bands)) != len(bands):
            raise ValueError("names a band twice")
        return bands

    @field_validator("classes")
    @classmethod
    def _contiguous(cls, classes: tuple[ClassSpec, ...]) -> tuple[ClassSpec, ...]:
        if [c.id for c in classes] != list(range(len(classes))):
            raise ValueError(f"ids must be 0, 1, 2 … in order, got {[c.id for c in classes][:12]}")
        if len({c.name for c in classes}) != len(classes):
            raise ValueError("names a class twice")
        if all(c.background for c in classes):
            raise ValueError("are all background")
        return classes

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        if self.value_range is None:
            return self
        if len(self.value_range) != len(self.bands):
            raise ValueError(f"value_range needs a low and a high for each of the {len(self.bands)} bands")
        for low, high in self.value_range:
            if low > high:
                raise ValueError(f"value_range must be pairs of low and high, got [{low:g}, {high:g}]")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        sizes = {"bands": len(self.bands), "classes": self.channels}
        for key, size in sizes.items():
            if self.arguments.get(key) != size:
                given = f"{self.arguments.get(key)!r:.40}"
                raise ValueError(f"arguments.{key} is {given} but there are {size} {key}")
        if self.border and (self.only_class is None or not self.classes[0].background):
            raise ValueError(
                "border is of one class of objects after one background; the classes are "
                f"{', '.join(c.name for c in self.classes)}"
            )
        if not len(self.scaling.mean) == len(self.scaling.std) == len(self.bands):
            raise ValueError(f"scaling needs a mean and a std for each of the {len(self.bands)} bands")
        if self.window is not None and (self.window % self.alignment or self.window < 6 * self.halo):
            raise ValueError(
                f"window {self.window} must be a multiple of the alignment {self.alignment} and at least six "
                f"halos of {self.halo} px"
            )
        if self.halo % self.alignment:
            raise ValueError(f"halo {self.halo} is not a multiple of the alignment {self.alignment}")
        if self.cropping is not None and self.cropping.halo % self.alignment:
            raise ValueError(
                f"cropping.halo {self.cropping.halo} is not a multiple of the alignment {self.alignment}"
            )
        if self.int8 is not None and self.weights is not None and self.int8.made_of != self.network_digest:
            raise ValueError(
                "int8 was made of other weights, or of another network; quantize the model again"
            )
        if self.calibration is not None and self.calibration.class_name != self.only_class:
            raise ValueError(
                f"calibration is for {self.calibration.class_name!r:.40}; needed the only class of a model "
                f"beside its background, and this one has {', '.join(c.name for c in self.classes)}"
            )
        return self

    @property
    def seen_range(self) -> tuple[tuple[float, float], ...]:
        """Low and high of each band in training: as measured, else two deviations around its mean."""
        if self.value_range is not None:
            return self.value_range
        least, most = -math.inf, math.inf
        if "int" in self.value_dtype:
            signed = self.value_dtype.startswith("int")
            bits = int(self.value_dtype.removeprefix("u").removeprefix("int")) - signed
            least, most = -(2**bits) if signed else 0, 2**bits - 1
        return tuple(
            (min(max(mean - 2 * std, least), most), max(min(mean + 2 * std, most), least))
            for mean, std in zip(self.scaling.mean, self.scaling.std, strict=True)
        )

    @property
    def channels(self) -> int:
        """Of the network's output: the classes, and their border."""
        return len(self.classes) + self.border

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Name of each channel of the network's output."""
        return (*(c.name for c in self.classes), *([BORDER_NAME] if self.border else []))

    @property
    def only_class(self) -> str | None:
        """Name of the one class that stands against a background; None: there are others."""
        shown = [c.name for c in self.classes if not c.background]
        return shown[0] if len(shown) == 1 and len(self.classes) == 2 else None  # noqa: PLR2004 - with it

    def encoding(self, threshold: float) -> ProbabilityEncoding:
        """How this model's probabilities are stored, with the foreground's threshold in 0..1."""
        background = next((c.id for c in self.classes if c.background), None)
        return ProbabilityEncoding(len(self.classes), background, threshold, self.border)

    @property
    def saved(self) -> WeightsFile:
        """The weights file; a BundleError for a bundle that was not saved yet."""
        if self.weights is None:
            raise BundleError(f"the bundle {self.name} has no weights yet; save it with save_bundle")
        return self.weights

    @property
    def sha256(self) -> str:
        """Of the weights file; errors are those of :attr:`saved`."""
        return self.saved.sha256

    def allows(self, precision: str) -> bool:
        """Whether a precision was measured, and changed nothing that matters on any data set."""
        figures = [one for one in self.measured if one.precision == precision]
        return precision == "fp32" or (bool(figures) and all(one.is_harmless for one in figures))

    @property
    def network_digest(self) -> str:
        """Sha256 over what makes the network: weights, architecture, its arguments and what they lead to."""
        made_of = {"architecture", "arguments", "alignment", "receptive_field_radius"}
        return digest(self.model_dump(mode="json", include=made_of) | {"weights": self.sha256})

    @property
    def is_as_saved(self) -> bool:
        """Whether network and contract are those that geoseg found to fit each other when it saved them."""
        return self.counted is not None and self.counted.made_of == self.network_digest

    @property
    def identity(self) -> str:
        """Sha256 over all that decides the model's output: weights, architecture, scaling, bands, classes.

        A calibration decides no probability but a field of objects: the fingerprint of their run has it.
        """
        decisive = {
            "architecture", "arguments", "bands", "scaling", "value_dtype", "fill", "resolution",
            "resolution_tolerance", "classes",
        }  # fmt: skip
        if self.border:
            decisive.add("border")
        return digest(self.model_dump(mode="json", include=decisive) | {"weights": self.sha256})

    @property
    def exact_halo(self) -> int | None:
        """Smallest multiple of the alignment that covers the radius, in pixels; None: no halo does."""
        if self.receptive_field_radius is None:
            return None
        return align_up(self.receptive_field_radius, self.alignment)

    @property
    def attribution(self) -> str:
        """Who has to be named wherever the model's maps are shown."""
        return "; ".join(f"{source.attribution} ({source.license})" for source in self.training.data)
