"""What a training learns from: classes, labeled scenes, blocks held out, chips. Values only."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from geoseg.config.fields import Band, PathText, Stretch, distinct, not_empty
from geoseg.config.model.contract import CLASS_NAME, COLOR, ClassSpec, DataSource
from geoseg.config.section import Section
from geoseg.config.stac.refs import CollarRule, NodataRule, Snow, StatedScale, Trust
from geoseg.config.units import Length, Pixels

__all__ = [
    "Chips", "ClassEntry", "Color", "DataEntry", "Holdout", "Meters", "Source", "Split", "Text",
    "class_specs",
]  # fmt: skip

Text = Annotated[StrictStr, Field(min_length=1, max_length=2000)]
"""Words for people."""


def _color(given: object) -> object:
    if isinstance(given, str) and re.fullmatch(COLOR, given):
        return given.lower()
    if given is None:
        raise ValueError("is empty: # starts a comment in YAML, so write the color in quotes: '#d7191c'")
    raise ValueError(f"{given!r:.60} is not a color, such as '#d7191c' (in quotes)")


def _meters(given: object) -> object:
    if isinstance(given, int | float) and not isinstance(given, bool):
        raise ValueError(f"{given} needs a unit: {given} m")  # noqa: TRY004 pydantic reports ValueError only
    length = Length.parse(given)
    if length.unit != "m":
        raise ValueError(f"{length} must be in meters on the ground, such as 0.3 m")
    return length


Meters = Annotated[Length, BeforeValidator(_meters)]
"""A length on the ground: ``48 m``."""


class ClassEntry(Section):
    """One class of the model; its id is its place in the list, from 0."""

    name: Annotated[StrictStr, Field(pattern=CLASS_NAME)]
    """Identifier: in files, layers and workflows."""
    title: Text | None = None
    """For legends; without it, the name."""
    color: Annotated[StrictStr, BeforeValidator(_color), Field(pattern=COLOR)]
    """Color of the class, such as '#d7191c', in quotes."""
    background: StrictBool = False
    """Whether the class is the ground that others stand on: it gets no polygons."""
    border: Meters | None = None
    """Width within which a pixel counts as border between two objects, such as 0.6 m: the network then tells
    borders from the rest of the class, and maps part objects that touch. For the one class beside a
    background, labeled by polygons, one for each object; null: no borders."""

    @field_validator("border")
    @classmethod
    def _wide(cls, border: Length | None) -> Length | None:
        if border is not None and not border.value:
            raise ValueError("must be wider than 0 m; leave it out to learn no borders")
        return border


def class_specs(entries: Sequence[ClassEntry]) -> tuple[ClassSpec, ...]:
    """The classes as a bundle holds them."""
    return tuple(
        ClassSpec(
            id=number,
            name=entry.name,
            title=entry.title or entry.name,
            color=entry.color,
            background=entry.background,
        )
        for number, entry in enumerate(entries)
    )


class Source(Section):
    """Where data come from, as the model's bundle will say."""

    name: Text
    """What the data set is called."""
    attribution: Text
    """Who has to be named."""
    license: Text
    """SPDX identifier, or the terms in words."""
    url: Text | None = None
    """Where it is from."""

    def as_data_source(self) -> DataSource:
        """As a bundle holds it."""
        return DataSource(**self.model_dump())


def _one_of(every: int) -> int:
    if every in (1, 2):
        raise ValueError(f"one block of {every} is too many to hold out; give 3 or more, or 0 for none")
    return every


_Every = Annotated[StrictInt, Field(ge=0), AfterValidator(_one_of)]


class Holdout(Section):
    """What one entry of data changes in the split; null keeps the split's value."""

    every: _Every | None = None
    """One block of so many is held out; 0 holds none out."""
    block: Meters | None = None
    """Side of a block."""
    margin: Meters | None = None
    """Width beside a block held out that is neither trained on nor scored."""
    phase: Annotated[StrictInt, Field(ge=0)] = 0
    """Which of the blocks."""


class DataEntry(Section):
    """Labeled scenes of one catalog."""

    catalog: PathText
    """STAC catalog with the scenes and their labels, on local disk: geoseg catalog FOLDER --labels FOLDER."""
    ids: Annotated[tuple[StrictStr, ...], AfterValidator(distinct)] | None = None
    """Ids of the scenes to learn from; without it, every scene of the catalog."""
    asset: Annotated[StrictStr, Field(min_length=1)]
    """Key of the label asset in the catalog."""
    bands: Annotated[tuple[Band, ...], AfterValidator(not_empty)] | None = None
    """Bands of the scenes, by name or number, in the order of the model's; without it, by their names. A gray
    image serves a model of three colors as [1, 1, 1]."""
    nodata: Annotated[StrictFloat, Field(allow_inf_nan=False)] | None = None
    """Stored value that means no data, over what files and catalog say."""
    nodata_rule: NodataRule = "auto"
    """any: nodata in one band makes the pixel invalid. all: only nodata in all bands. auto: all for values 0
    to 255 of 8-bit bands (a dark roof is no hole), any for the rest."""
    collar: CollarRule = "none"
    """auto: in lossy files (JPEG, WebP, JPEG 2000, LERC) with a nodata value, pixels near that value that
    join nodata are invalid, too: what compression made of a black or white border."""
    snow: Snow = "valid"
    """invalid: pixels that a mask of the catalog calls snow or ice are left out, too."""
    stretch: Stretch | None = None
    """[low, high]: values after scale and offset mapped linearly onto 0..255."""
    scale: StatedScale = "auto"
    """Whose scale and offset count. auto: the catalog's or the file's, whichever states one; where they
    differ, the scene is refused. catalog, file: that one's. none: values stay as stored."""
    trust: Trust = "catalog"
    """catalog: plain GeoTIFFs, no side files. local: everything GDAL reads from your own disk."""
    window: tuple[StrictInt, StrictInt, StrictInt, StrictInt] | None = None
    """[row, col, height, width] in the scene's pixels as they are stored: nothing outside is ever read."""
    classes: Annotated[dict[StrictStr, StrictStr | None], Field(min_length=1)] | None = None
    """Value of the label raster, or of the polygons' attribute → name of a class; null leaves a value
    unlabeled. Without it, values are ids."""
    place: Text | None = None
    """Scenes of one place are scored together; without it, each scene is a place."""
    weight: Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Chips come from the entries in proportion to this, whatever their number of scenes."""
    choose: StrictBool = True
    """Whether the held-out blocks take part in the choice of weights; they are reported anyway."""
    holdout: Holdout = Holdout()
    """What differs from the split."""
    source: Source
    """Where the data come from and who has to be named."""

    @field_validator("window")
    @classmethod
    def _window(cls, window: tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
        if window is not None and (min(window) < 0 or min(window[2:]) < 1):
            raise ValueError(f"must be [row, col, height, width] with pixels in it, got {list(window)}")
        return window


class Split(Section):
    """Which blocks on the ground are held out of the training and scored. Never random pixels."""

    block: Meters = Length(48, "m")
    """Side of a block."""
    every: _Every = 5
    """One block of so many is held out, at least 3."""
    margin: Meters = Length(3, "m")
    """Width beside a block held out that is neither trained on nor scored."""

    @model_validator(mode="after")
    def _size(self) -> Self:
        if not self.block.value:
            raise ValueError("block must be larger than 0 m")
        return self


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
