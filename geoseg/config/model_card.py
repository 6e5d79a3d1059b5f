"""A model card: what has to be stated of weights from elsewhere, so that they become a bundle."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, JsonValue, StrictFloat, StrictInt, StrictStr, field_validator, model_validator

from geoseg.config.model.contract import (
    BUNDLE_NAME,
    LICENSE,
    VERSION,
    BandName,
    BundleSpec,
    Scaling,
    Training,
    ValueKind,
    ValueType,
)
from geoseg.config.section import Section
from geoseg.config.training.data import ClassEntry, Meters, Source, Text, class_specs
from geoseg.grid.tiling import align_up

__all__ = ["CARD_TEMPLATE", "Card", "Scale"]

_UNMEASURED_HALO = 64
"""Halo in pixels, where the network's reach is larger and the card states none."""
_EXACT = 128
"""Largest reach in pixels that the halo covers by itself, where the card states none."""
_LEAST_CLASSES = 2


class Scale(Section):
    """How stored values become the network's input: ``(value - mean) / std``."""

    mean: Annotated[tuple[StrictFloat, ...], Field(min_length=1)]
    """Per band, in the units in which a scene's values are stored."""
    std: Annotated[tuple[Annotated[StrictFloat, Field(gt=0)], ...], Field(min_length=1)]
    """Per band. Weights trained on values/255 with ImageNet's mean and std: give both times 255."""


class Card(Section):
    """What a bundle's contract needs beyond its weights."""

    name: Annotated[StrictStr, Field(pattern=BUNDLE_NAME)]
    """Identifier of the bundle, such as roofs-unet; without it, the file's name."""
    version: Annotated[StrictStr, Field(pattern=VERSION)] = "1"
    """Of the weights, counted by their maker."""
    title: Text
    """One line for people."""
    description: Text
    """What it maps, and where it is good and bad."""
    license: Annotated[StrictStr, Field(pattern=LICENSE)]
    """Of the weights: SPDX identifier, or other."""
    architecture: StrictStr
    """A network's name: see geoseg models list."""
    arguments: Annotated[dict[StrictStr, JsonValue], Field(default_factory=dict)]
    """Arguments of the network, without bands and classes, which are counted below."""
    bands: Annotated[tuple[BandName, ...], Field(min_length=1, max_length=1024)]
    """Names of the bands (red, nir …) in the network's order."""
    scaling: Scale
    """How stored values become the network's input."""
    value_dtype: ValueType = "uint8"
    """Type of the stored values that the scaling belongs to."""
    values: ValueKind | None = None
    """What the values are: display (8 bits for a screen), reflectance or raw (as a sensor stores them)."""
    classes: Annotated[tuple[ClassEntry, ...], Field(min_length=_LEAST_CLASSES, max_length=255)]
    """Classes in the order of the network's outputs."""
    resolution: Meters
    """Ground resolution that the network was trained at, such as 0.3 m."""
    coarsest_resolution: Meters | None = None
    """Coarsest ground resolution of its training, changes of scale included, such as 0.42 m: coarser scenes
    are mapped with a warning, scenes coarser than twice that are refused."""
    window: Annotated[StrictInt, Field(ge=1)] | None = None
    """Side of the windows that it was trained on, in pixels, where it should see no others."""
    halo: Annotated[StrictInt, Field(ge=0)] | None = None
    """Context around a window in pixels; without it, the network's reach up to 128 px, else 64 px."""
    data: Annotated[tuple[Source, ...], Field(min_length=1)]
    """What it learned from, and who has to be named."""
    procedure: Text
    """How it was trained: loss, schedule, augmentation, choice of weights."""
    seed: StrictInt = 0
    """Seed of the training, where it is known."""

    @field_validator("arguments")
    @classmethod
    def _counted(cls, arguments: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for key in ("bands", "classes"):
            if key in arguments:
                raise ValueError(f"{key} is counted from the card's own {key}: leave it out here")
        return arguments

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not len(self.scaling.mean) == len(self.scaling.std) == len(self.bands):
            raise ValueError(f"scaling needs a mean and a std for each of the {len(self.bands)} bands")
        return self

    @property
    def border(self) -> bool:
        """Whether the network's last channel is the border between the objects of a class."""
        return any(entry.border is not None for entry in self.classes)

    @property
    def all_arguments(self) -> dict[str, Any]:
        """Of the network, ``bands`` and ``classes`` among them."""
        return {"bands": len(self.bands), "classes": len(self.classes) + self.border, **self.arguments}

    def spec(self, alignment: int, radius: int | None) -> BundleSpec:
        """The contract, without weights yet.

        The network's alignment and radius (its receptive field's worst side; None: global) are in pixels.

        Raises:
            ValidationError: pydantic's, where the card contradicts itself (a halo off the alignment …).
        """
        exact = None if radius is None else align_up(radius, alignment)
        halo = self.halo
        if halo is None:
            least = align_up(_UNMEASURED_HALO, alignment)
            halo = exact if exact is not None and exact <= max(_EXACT, least) else least
        return BundleSpec(
            name=self.name,
            version=self.version,
            title=self.title,
            description=self.description,
            license=self.license,
            architecture=self.architecture,
            arguments=self.all_arguments,
            border=self.border,
            bands=self.bands,
            scaling=Scaling(mean=self.scaling.mean, std=self.scaling.std),
            value_dtype=self.value_dtype,
            values=self.values,
            classes=class_specs(self.classes),
            resolution=self.resolution.value,
            coarsest_resolution=None if self.coarsest_resolution is None else self.coarsest_resolution.value,
            alignment=alignment,
            receptive_field_radius=radius,
            halo=halo,
            # Exact halos change nothing by definition; others were not measured.
            halo_agreement=1.0 if exact is not None and halo >= exact else 0.0,
            window=self.window,
            training=Training(
                data=tuple(source.as_data_source() for source in self.data),
                seed=self.seed,
                procedure=self.procedure,
            ),
        )


CARD_TEMPLATE = """\
# What geoseg has to know of weights from elsewhere. Then:
#   geoseg models import weights.pt --card this.yaml -o my-bundle
name: my-roofs                  # identifier: a-z, 0-9, -
version: "1"
title: Roofs at 0.3 m
description: What it maps, and where it is good and bad.
license: CC-BY-4.0              # of the weights: SPDX identifier, or other
architecture: micronet          # see: geoseg models list
arguments: {}                   # of the network, other than bands and classes
bands: [red, green, blue]       # in the network's order
scaling:                        # the network sees (stored value - mean) / std
  mean: [123.675, 116.28, 103.53]   # ImageNet's, times 255
  std: [58.395, 57.12, 57.375]
value_dtype: uint8              # of the stored values
values: display                 # 8 bits for a screen; others: reflectance, raw
classes:                        # in the order of the network's outputs
  - {name: background, title: Other ground, color: "#e8e6e1", background: true}
  - {name: roof, title: Roof, color: "#d7301f"}
resolution: 0.3 m               # on the ground, as trained
coarsest_resolution: 0.42 m     # of the training, changes of scale included
# window: 512                   # where it should see windows of this size only
# halo: 64                      # context in pixels; default: its reach up to 128 px, else 64 px
data:                           # who has to be named wherever its maps are shown
  - {name: Data set, attribution: Who made it, license: CC-BY-4.0}
procedure: Loss, schedule, augmentation, choice of weights.
seed: 0
"""
"""A card to edit; it is valid as it stands."""
