"""The part of a workflow that says how classes become polygons."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictStr,
    model_validator,
)

from geoseg.config.fields import Auto, distinct, word_or_quantity
from geoseg.config.layer_name import LayerName
from geoseg.config.section import Section
from geoseg.config.units import Area, Length

__all__ = ["Regularization", "Split", "Vectorize"]

_SMALLEST: Final[dict[str, Area]] = {
    "exact": Area(0, "px"),
    "objects": Area(8, "m2"),
    "coverage": Area(16, "px"),
}
"""``min_area: auto``."""


def _in_geoseg(method: object) -> object:
    if method == "buildingregulariser":
        raise ValueError("buildingregulariser is only compared with, by benchmarks/polygons.py; use walls")
    return method


class Split(Section):
    """How touching objects are separated, where one class stands against a background."""

    method: Literal["auto", "border", "seeds", "necks", "none"] = "auto"
    """seeds: areas of an object surer than the seed become objects, with a watershed between them. border:
    the same, and no seed reaches over a border that the model sees. necks: areas that a narrower piece joins,
    by shape alone (h-maxima); it also cuts wings off houses. auto: border where the model knows it, else
    seeds."""
    seed: Annotated[StrictFloat, Field(gt=0, le=1)] = 0.96
    """Probability from which a pixel belongs to a seed."""
    max_border: Annotated[StrictFloat, Field(gt=0, le=1)] = 0.25
    """Probability of a border from which a pixel belongs to no seed."""
    min_seed: Area = Area(4, "m2")
    """Smallest seed."""
    neck: Length = Length(4, "px")
    """By how much half of a neck's width is below that of both sides."""


class Regularization(Section):
    """What is made of an object's outline."""

    method: Annotated[Literal["walls", "rectangle", "none"], BeforeValidator(_in_geoseg)] = "walls"
    """walls: straight walls fitted to the outline, at right angles where it allows. rectangle: the smallest
    one. none: the outline itself."""
    tolerance: Length = Length(2.2, "px")
    """How far a wall may be from the outline."""
    min_wall: Length = Length(5, "px")
    """Shortest wall."""
    min_diagonal: Length = Length(9, "px")
    """Shortest wall that is not at right angles to the others; 0 px: there are none."""
    align: Length = Length(0, "m")
    """Distance within which neighbors that stand parallel correct each other, such as 60 m: for noisy maps
    of regular towns, at 1.6 times the time. 0 m: each building stands alone."""
    min_iou: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.8
    """Least IoU of the walls with the outline; below, the outline is kept and simplified (shape: free)."""


class Vectorize(Section):
    """How classes become polygons."""

    mode: Literal["auto", "exact", "objects", "coverage"] = "auto"
    """exact: outlines along the pixels, which rasterize back to the same mask. objects: one clean polygon for
    each building. coverage: smooth outlines without gaps or overlaps. auto: objects for a model of one class
    and a background, else coverage."""
    threshold: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.5
    """Probability from which a pixel of a model with one foreground class belongs to it."""
    layer: LayerName = "polygons"
    """Name of the layer, and of its file."""
    format: Literal["gpkg", "parquet", "fgb", "geojson"] = "gpkg"
    """gpkg: GeoPackage, with its style inside. parquet: GeoParquet. fgb: FlatGeobuf. geojson: GeoJSON for web
    maps, in longitude and latitude on WGS 84 (RFC 7946) whatever the scene's CRS."""
    classes: Annotated[tuple[StrictStr, ...], AfterValidator(distinct)] | None = None
    """Names of the classes to outline; without it, all that are not background (in a coverage, all)."""
    min_area: Annotated[Auto | Area, *word_or_quantity(Area, "auto")] = "auto"
    """Smallest polygon, such as 8 m2 or 90 px. Smaller ones are dropped; in a coverage they go to the best
    neighbor. auto: 8 m2 for objects, 16 px for a coverage, else all."""
    min_hole: Area = Area(3, "m2")
    """Smallest hole of an object; smaller ones are filled."""
    peak: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.0
    """Probability that some pixel of an object must reach (hysteresis, with threshold as the lower one)."""
    split: Split = Split()
    """Objects: how touching ones are separated."""
    regularize: Regularization = Regularization()
    """Objects: what is made of their outlines."""
    overlaps: Literal["cut", "keep"] = "cut"
    """Objects: whether neighbors whose fitted walls overlap are cut."""
    simplify: Length = Length(0.5, "px")
    """Coverage: how far a smooth outline may be from the scores' crossing, for fewer vertices; 0 px: exactly
    on it."""
    merge: StrictBool = False
    """Write the polygons of all scenes to one layer, too: each object once, where scenes overlap or meet."""

    @model_validator(mode="after")
    def _seeds_are_surer(self) -> Self:
        if self.split.method not in ("necks", "none") and self.split.seed < self.threshold:
            raise ValueError(
                f"split.seed is {self.split.seed}, below the threshold {self.threshold}; a seed is surer"
            )
        return self

    @model_validator(mode="after")
    def _merged_in_one_crs(self) -> Self:
        if self.merge and self.format == "geojson":
            raise ValueError(
                "merge joins layers in the scenes' CRS, and format geojson is in longitude and latitude; use "
                "format gpkg, fgb or parquet, or merge: false"
            )
        return self

    def resolved(self, *, binary: bool, border: bool = False) -> Self:
        """The same without ``auto``.

        ``binary``: the model has one class and a background; ``border``: it knows the borders between
        objects.
        """
        mode = ("objects" if binary else "coverage") if self.mode == "auto" else self.mode
        area = _SMALLEST[mode] if self.min_area == "auto" else self.min_area
        method = ("border" if border else "seeds") if self.split.method == "auto" else self.split.method
        split = self.split.model_copy(update={"method": method})
        return self.model_copy(update={"mode": mode, "min_area": area, "split": split})

    def outlines(self, name: str, *, background: bool) -> bool:
        """Whether a class becomes polygons: those named, else all but the background (in a coverage, all)."""
        if self.classes:
            return name in self.classes
        return self.mode == "coverage" or not background
