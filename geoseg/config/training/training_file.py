"""The training file: which network learns what, from which scenes, how. Values only; nothing is opened."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from geoseg.config.fields import AutoOrCount, PathText, at_least, distinct
from geoseg.config.model.contract import BAND_NAME, BUNDLE_NAME, LICENSE, VERSION
from geoseg.config.section import Section, editor_schema
from geoseg.config.training.data import Chips, ClassEntry, DataEntry, Meters, Split, Text
from geoseg.config.training.presets import PRESETS, laid_over
from geoseg.config.training.train_config import Positive, TrainConfig
from geoseg.config.units import Length, Size
from geoseg.config.workflow import NAME_LENGTH
from geoseg.words import did_you_mean, listed

__all__ = ["Distill", "Hardware", "Model", "Training", "training_schema"]

PresetName = Literal["geoseg", "micro-net", "faster-unet", "dual-aspp", "mininet"]
_OWN = ("bands", "classes")
_WIDEST_BORDER = 16
"""Pixels; wider ones cost time, and leave little of what they part."""


class Model(Section):
    """The network, and what its bundle will say."""

    name: Annotated[StrictStr, Field(pattern=BUNDLE_NAME)]
    """Identifier of the bundle, such as roofs-mininet2: small letters, digits and -."""
    title: Text | None = None
    """One line for people; without it, the name."""
    description: Text | None = None
    """What it maps, and where it is good and bad."""
    license: Annotated[StrictStr, Field(pattern=LICENSE)] = "other"
    """Of the weights: SPDX identifier, or other."""
    version: Annotated[StrictStr, Field(pattern=VERSION)] = "1"
    """Of the weights, in quotes, such as '1.2'."""
    architecture: Annotated[StrictStr, Field(min_length=1)]
    """Name of the network; `geoseg models list` shows all."""
    arguments: dict[StrictStr, JsonValue] = Field(default_factory=dict)
    """Of the architecture, besides bands and classes."""
    start: StrictStr | None = None
    """Bundle whose weights the training starts from, by name or path (a path has a / in it); null starts
    from random ones."""
    encoder_weights: Literal["imagenet"] | None = None
    """Pre-trained weights of the encoder, for networks that have such; null starts from random ones."""

    @field_validator("arguments")
    @classmethod
    def _not_ours(cls, arguments: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for key in _OWN:
            if key in arguments:
                raise ValueError(f"{key} is counted from the file's own list of {key}; leave it out here")
        return arguments

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if self.start is not None and self.encoder_weights is not None:
            raise ValueError("start and encoder_weights are both given; the weights come from one of them")
        return self


class Distill(Section):
    """A larger network that is imitated: the Kullback-Leibler divergence from its softened classes."""

    teacher: Annotated[StrictStr, Field(min_length=1)]
    """Bundle with the same bands and classes, by name or path (a path has a / in it)."""
    weight: Positive = 1.0
    """Factor of this term in the loss."""
    temperature: Positive = 2.0
    """Logits are divided by it; the term is multiplied by its square, so that it keeps its size."""


class Hardware(Section):
    """Where the training runs."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network learns; auto: a GPU where there is one."""
    threads: Annotated[StrictInt, Field(ge=1, le=1024)] = 1
    """Threads inside an operation of the network; another number changes the last bits of the weights."""
    workers: AutoOrCount = "auto"
    """Processes or threads that cut chips; it never changes the weights."""
    processes: Annotated[StrictInt, Field(ge=1, le=1024)] = 1
    """Processes that share each batch, one per GPU."""
    memory: Size = Size(4, "GB")
    """Memory for the scenes that chips are cut from."""


class Training(Section):
    """One training: labeled scenes, a network, and how it learns."""

    model_config = ConfigDict(title="geoseg training")

    version: Literal[1] = 1
    """Version of this format."""
    name: StrictStr = Field(default_factory=lambda: "training", min_length=1, max_length=NAME_LENGTH)
    """Name of the training; without it, the file's name."""
    output: PathText | None = None
    """Folder of checkpoint, logs, pictures and bundle; without it, runs/<name> in the working directory."""
    model: Model
    """Which network learns."""
    bands: Annotated[
        tuple[Annotated[StrictStr, Field(pattern=BAND_NAME)], ...],
        Field(min_length=1, max_length=1024),
        AfterValidator(distinct),
    ] = ("red", "green", "blue")
    """Common names of the bands, in the network's order."""
    resolution: Meters = Length(0.3, "m")
    """Ground resolution that the network is made for: scenes are resampled to it."""
    classes: Annotated[tuple[ClassEntry, ...], at_least(2, 255)]
    """Classes of the model; their ids are their order, from 0."""
    data: Annotated[tuple[DataEntry, ...], at_least(1, 10_000)]
    """Labeled scenes."""
    split: Split = Split()
    """Which blocks are held out and scored."""
    preset: PresetName = "geoseg"
    """What train and chips are laid over: our settings, or a paper's."""
    chips: Chips = Chips()
    """How chips are cut; what is left out is the preset's."""
    train: TrainConfig = TrainConfig()
    """How the network learns; what is left out is the preset's."""
    distill: Distill | None = None
    """A larger network to imitate; null imitates none."""
    compute: Hardware = Hardware()
    """Device, threads and processes."""
    seed: Annotated[StrictInt, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of everything random."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: object) -> object:
        """Lay ``train`` and ``chips`` over the preset's."""
        if not isinstance(given, dict):
            return given
        name = given.get("preset", "geoseg")
        preset = PRESETS.get(name) if isinstance(name, str) else None
        if preset is None:
            return given
        sections = {"train": preset.train, "chips": preset.chips}
        return given | {
            key: laid_over(section, given[key]) if key in given else section
            for key, section in sections.items()
        }

    @field_validator("resolution")
    @classmethod
    def _some_resolution(cls, resolution: Length) -> Length:
        if not resolution.value:
            raise ValueError("must be larger than 0 m")
        return resolution

    @field_validator("classes")
    @classmethod
    def _classes(cls, classes: tuple[ClassEntry, ...]) -> tuple[ClassEntry, ...]:
        names = [entry.name for entry in classes]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"names the class {name!r} twice")
        if all(entry.background for entry in classes):
            raise ValueError("are all background; one class must not be")
        if any(entry.border for entry in classes) and (
            len(classes) != 2 or not classes[0].background or classes[1].border is None  # noqa: PLR2004 - above
        ):
            raise ValueError(
                "have a border, which is for one class of objects after one background, such as "
                f"[background, building]; got {listed(names)}"
            )
        return classes

    @model_validator(mode="after")
    def _border_in_pixels(self) -> Self:
        pixels = self.border / self.resolution.value
        if self.border and not 1 <= pixels <= _WIDEST_BORDER:
            raise ValueError(
                f"classes.border is {self.border:g} m, {pixels:.3g} pixels of {self.resolution}; give 1 to "
                f"{_WIDEST_BORDER} of them, such as {2 * self.resolution.value:g} m"
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [entry.name for entry in self.classes]
        for index, entry in enumerate(self.data):
            for value, name in (entry.classes or {}).items():
                if name is not None and name not in names:
                    hint = did_you_mean(name, names) or f"; classes are {listed(names)}"
                    raise ValueError(f"data[{index}].classes.{value}: there is no class {name!r}{hint}")
        for key, weights in self.train.loss.class_weights.items():
            if len(weights) != self.channels:
                wanted = f"{len(names)} classes{' and their border' if self.border else ''}"
                raise ValueError(f"train.loss.{key}.class_weights has {len(weights)} factors for {wanted}")
        return self

    @property
    def border(self) -> float:
        """Width of the borders between objects, in meters; 0: none are learned."""
        return next((entry.border.value for entry in self.classes if entry.border is not None), 0.0)

    @property
    def coarsest_resolution(self) -> float:
        """Ground resolution of the coarsest chips, in meters."""
        return self.resolution.value * self.chips.scales[1]

    @property
    def channels(self) -> int:
        """Of the network's output: the classes, and their border."""
        return len(self.classes) + bool(self.border)


def training_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a training file, for editors: every key with its description."""
    schema = editor_schema(Training)
    for part in (schema, *schema["$defs"].values()):
        for field in part.get("properties", {}).values():
            # A file may leave the kind to the preset, so a value may fit several members.
            for key in ("oneOf", "discriminator"):
                found = field.pop(key, None)
                if key == "oneOf" and found is not None:
                    field["anyOf"] = found
    schema["$defs"]["Adam"]["required"] = []
    return schema
