"""The workflow: which scenes, which model, how, and what comes out. Values only; nothing is opened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from geoseg.config.fields import (
    Auto,
    AutoOrCount,
    Band,
    PathText,
    Stretch,
    distinct,
    not_empty,
    word_or_quantity,
)
from geoseg.config.section import Section, editor_schema
from geoseg.config.stac.refs import CollarRule, NodataRule, Snow, StatedScale, Trust
from geoseg.config.units import Pixels, Size
from geoseg.config.vectorize import Vectorize
from geoseg.errors import ConfigError
from geoseg.words import did_you_mean, listed

__all__ = [
    "NAME_LENGTH",
    "Compute",
    "Scenes",
    "Tiling",
    "Vectorize",
    "Workflow",
    "Write",
    "category_ids",
    "workflow_schema",
]

NAME_LENGTH = 200
"""Longest name of a workflow, in characters."""


class Scenes(Section):
    """Which scenes of the catalog, and how their files are read."""

    ids: Annotated[tuple[StrictStr, ...], AfterValidator(distinct)] | None = None
    """Ids of the scenes to map; without it, every scene of the catalog."""
    bands: Annotated[tuple[Band, ...], AfterValidator(not_empty)] | None = None
    """Bands to give to the model, by name or by number from 1, in the model's order; without it, the bands
    whose names the model asks for. A gray image serves a model of three colors as [1, 1, 1]."""
    nodata: Annotated[StrictFloat, Field(allow_inf_nan=False)] | None = None
    """Stored value that means no data, over what files and catalog say. NaN is always invalid."""
    nodata_rule: NodataRule = "auto"
    """any: nodata in one band makes the pixel invalid. all: only nodata in all bands. auto: all for values 0
    to 255 of 8-bit bands (a dark roof is no hole), any for the rest."""
    collar: CollarRule = "none"
    """auto: in lossy files (JPEG, WebP, JPEG 2000, LERC) with a nodata value, pixels near that value that
    join nodata are invalid, too: what compression made of a black or white border."""
    snow: Snow = "valid"
    """invalid: pixels that a mask of the catalog (SCL, qa_pixel) calls snow or ice are left out, too, as
    clouds, their shadows and cirrus always are."""
    stretch: Stretch | None = None
    """[low, high]: values after scale and offset mapped linearly onto 0..255, for models that expect 8 bits;
    the same for every scene. `geoseg check` proposes one."""
    scale: StatedScale = "auto"
    """Whose scale and offset count. auto: the catalog's or the file's, whichever states one; where they
    differ, the scene is refused. catalog, file: that one's. none: values stay as stored."""
    resolution: Literal["model", "any"] = "model"
    """model: scenes more than twice as coarse on the ground as the model's training are refused. any: they
    are mapped all the same."""
    trust: Trust = "catalog"
    """catalog: plain GeoTIFFs, no side files. local: everything GDAL reads from your own disk (JPEG 2000, VRT
    mosaics, .ovr, .msk, world files)."""

    @field_validator("stretch", mode="before")
    @classmethod
    def _pair(cls, stretch: object) -> object:
        if isinstance(stretch, list | tuple) and len(stretch) != 2:  # noqa: PLR2004 low and high
            raise ValueError(f"must be [low, high], got {len(stretch)} numbers")
        return stretch


class Tiling(Section):
    """How a scene is cut into windows and stitched again. Sizes are in the model's pixels."""

    window: Annotated[Auto | Pixels, *word_or_quantity(Pixels, "auto")] = "auto"
    """Side of a window that the network sees, such as 512 px; auto fits it to the memory."""
    halo: Annotated[Literal["auto", "exact"] | Pixels, *word_or_quantity(Pixels, "auto", "exact")] = "auto"
    """Margin of a window whose result is not used. exact: as far as the network sees, so the map does not
    depend on the windows. auto: the margin measured for the model."""
    blend: Literal["auto", "crop", "mean", "triangle", "hann"] = "auto"
    """How overlapping windows join: crop takes the nearest one, the others average with weights."""
    block: Annotated[Auto | Pixels, *word_or_quantity(Pixels, "auto")] = "auto"
    """Side of the block that one task writes, such as 2048 px; it never changes the map."""
    batch: AutoOrCount = "auto"
    """Windows that the network sees at once; it never changes the map."""

    @field_validator("window", "block")
    @classmethod
    def _has_pixels(cls, size: Auto | Pixels) -> Auto | Pixels:
        if isinstance(size, Pixels) and size.count < 1:
            raise ValueError(f"must be at least 1 px, got {size}")
        return size


class Compute(Section):
    """Where the work runs. Nothing here changes the map, except precision and device within rounding."""

    executor: Literal["auto", "serial", "threads", "processes"] = "auto"
    """serial: one loop in this process. threads, processes: dask on this machine. auto: processes, or serial
    where the scenes are few and small."""
    workers: AutoOrCount = "auto"
    """Number of workers."""
    scheduler: StrictStr | None = None
    """Address of a running dask scheduler, such as tcp://10.0.0.1:8786; it replaces the executor."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs."""
    backend: Literal["auto", "torch", "openvino", "onnxruntime"] = "auto"
    """What computes the network. auto: torch on a GPU; on a CPU OpenVINO, or torch for a model
    without a graph."""
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "auto"
    """Arithmetic of the network. auto: bf16 where the CPU has it and the model is known not to suffer, else
    fp32. int8 is for models that were calibrated for it, on a CPU."""
    threads: Annotated[StrictInt, Field(ge=1)] = 1
    """Threads inside one worker's network; more than one changes the last bits of a probability."""
    memory: Annotated[Auto | Size, *word_or_quantity(Size, "auto")] = "auto"
    """Memory that one worker may use. auto: 1.2 GB where that leaves room for windows of 1024 px, else up to
    4 GB."""

    @property
    def memory_bytes(self) -> int | None:
        """Memory that one worker may use, in bytes; None: auto."""
        return None if self.memory == "auto" else self.memory.bytes

    @property
    def starts_processes(self) -> bool:
        """Whether worker processes start on this machine however small the scenes are."""
        if self.scheduler is not None:
            return False
        several = self.workers not in ("auto", 1)
        return self.executor == "processes" or (self.executor == "auto" and several)

    @field_validator("scheduler")
    @classmethod
    def _address(cls, scheduler: str | None) -> str | None:
        if scheduler is not None and not re.fullmatch(r"([a-z]+://)?[^\s/]+:[0-9]+/?", scheduler):
            raise ValueError(f"{scheduler!r} is not the address of a scheduler, such as tcp://10.0.0.1:8786")
        return scheduler

    @model_validator(mode="after")
    def _serial_works_alone(self) -> Self:
        if self.executor == "serial" and self.workers not in ("auto", 1):
            raise ValueError(
                f"workers is {self.workers} but executor serial works alone; use processes or threads"
            )
        return self


class Write(Section):
    """Which rasters are written."""

    probability: Literal["classes", "top"] = "classes"
    """classes: one band per class. top: one band, the probability of the class that won."""
    grid: Literal["model", "scene"] = "model"
    """model: the pixels that the network saw. scene: the pixels of the scene."""


_ClassNames = Annotated[tuple[StrictStr, ...], Field(min_length=1)]


class Evaluate(Section):
    """What to score the map against."""

    asset: Annotated[StrictStr, Field(min_length=1)]
    """Key of the label asset in the catalog."""
    categories: Annotated[dict[StrictStr, _ClassNames], Field(min_length=1)] | None = None
    """Names of the classes of each category, such as {flat: [road, sidewalk]}: the score then has the IoU of
    each category and their mean, as Cityscapes' category mIoU. A class in none is not scored there."""

    @field_validator("categories")
    @classmethod
    def _each_class_once(
        cls, categories: dict[str, tuple[str, ...]] | None
    ) -> dict[str, tuple[str, ...]] | None:
        names = [name for group in (categories or {}).values() for name in group]
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise ValueError(f"has the class {twice[0]!r} twice; a class is in one category at most")
        return categories


def category_ids(evaluate: Evaluate | None, classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Ids of the classes of each category that a workflow names; empty: it names none.

    Args:
        classes: names of the model's classes, in the order of their ids from 0.

    Raises:
        ConfigError: a class that the model does not have.
    """
    categories = (evaluate and evaluate.categories) or {}
    for category, names in categories.items():
        for name in names:
            if name not in classes:
                hint = did_you_mean(name, classes) or f"; it has {listed(classes)}"
                raise ConfigError(f"evaluate.categories.{category}: the model has no class {name!r}{hint}")
    return {category: tuple(classes.index(name) for name in names) for category, names in categories.items()}


class Workflow(Section):
    """One map: scenes of a catalog, a model, and how the result is made and written."""

    model_config = ConfigDict(title="geoseg workflow")

    version: Literal[1] = 1
    """Version of this format."""
    name: StrictStr = Field(default_factory=lambda: "workflow", min_length=1, max_length=NAME_LENGTH)
    """Name of the workflow; without it, the file's name."""
    catalog: PathText
    """STAC catalog with the scenes: an item, a collection, a catalog or an item collection, on local disk. Or
    a folder of images, one image, or a pattern in quotes, such as "images/*.tif"."""
    model: PathText
    """A shipped model's name, or the path of a bundle (a path has a / in it: ./mine)."""
    output: PathText | None = None
    """Folder of the maps; without it, runs/<name> in the working directory."""
    scenes: Scenes = Scenes()
    """Which scenes, and how they are read."""
    tiling: Tiling = Tiling()
    """Windows, halo and blend."""
    compute: Compute = Compute()
    """Executor, device and memory."""
    vectorize: Vectorize | None = Vectorize()
    """Polygons; null writes none."""
    write: Write = Write()
    """Rasters."""
    evaluate: Evaluate | None = None
    """Score the map against labels of the catalog; null does not."""


def workflow_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a workflow file, for editors: every key with its description."""
    return editor_schema(Workflow)
