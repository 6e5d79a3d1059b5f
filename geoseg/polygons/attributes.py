"""Attributes of polygons: names, kinds, values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from geoseg.arrays import Array, Float64, Objects
from geoseg.grid.encoding import SCALE
from geoseg.polygons.geodesic import AreaMeter
from geoseg.polygons.shapes import Shapes

__all__ = ["CONFIDENCE", "FIELDS", "Calibrated", "Provenance", "object_attributes"]

Calibrated = Callable[[Float64], Float64]
"""Mean probabilities (n,) to shares that are right (n,), both 0 to 1."""

CONFIDENCE: Final = "conf_mean"
"""The field by which polygons are ranked."""

FIELDS: Final[Mapping[str, str]] = {
    "id": "text",
    "class_id": "integer",
    "class_name": "text",
    "area_m2": "real",
    "perimeter_m": "real",
    CONFIDENCE: "real",
    "conf_p10": "real",
    "conf_edge": "real",
    "conf_right": "real",
    "shape": "text",
    "reg_iou": "real",
    "touches_edge": "boolean",
    "scene": "text",
    "acquired": "text",
    "model": "text",
    "model_sha256": "text",
    "run_id": "text",
}
"""Attributes and their kinds, in the order of the layer.

``id``: scene and pixel where the object starts, the same in every run that finds it there · ``area_m2``,
``perimeter_m``: on the ellipsoid · ``conf_mean``: mean probability of the class over the object's pixels, 0
to 1 · ``conf_p10``: what a tenth of them do not pass · ``conf_edge``: how clearly it ends, twice the mean
distance of the probability from one half beside its outline · ``conf_right``: share of objects of this
``conf_mean`` that were right where the model was calibrated, null where it was not · ``shape``: exact,
contour, free, the kind that was fitted, or united (pieces of several scenes) · ``reg_iou``: IoU of the
fitted polygon with its contour, null where none was fitted · ``touches_edge``: the object meets the scene's
edge or missing data and may go on there · ``acquired``: ISO 8601, null where unknown.
"""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the objects of one scene come from."""

    scene: str
    slug: str
    """The scene's folder name, with which the objects' ids start."""
    model: str
    """Name and version of the model."""
    model_sha256: str
    """SHA-256 of its weights, hexadecimal."""
    run_id: str
    acquired: str | None = None
    """Acquisition date or time, ISO 8601; None: unknown."""


def object_attributes(
    shapes: Shapes,
    ground: Objects,
    *,
    width: int,
    meter: AreaMeter,
    names: Mapping[int, str],
    provenance: Provenance,
    calibrated: Mapping[int, Calibrated] | None = None,
) -> dict[str, Array]:
    """Attributes of n polygons, by name, in the order of :data:`FIELDS`.

    ``ground`` are the polygons in CRS units, shape (n,), in which ``meter`` measures; ``width``: columns of
    the scene; ``calibrated``: class id → what turns a mean probability into the share of such objects that
    are right.

    Returns:
        Arrays of shape (n,): text as object, numbers as int32 and float64, flags as bool.
    """
    rows, cols = np.divmod(shapes.first, width)
    ids = [f"{provenance.slug}-{row}-{col}" for row, col in zip(rows.tolist(), cols.tolist(), strict=True)]
    area, perimeter = meter.sizes(ground)
    count = len(shapes)
    sure = shapes.score / (shapes.pixels * SCALE)
    right = np.full(count, np.nan)
    for class_id, apply in (calibrated or {}).items():
        here = shapes.class_id == class_id
        right[here] = apply(sure[here])
    return {
        "id": _text(ids),
        "class_id": shapes.class_id.astype(np.int32),
        "class_name": _text([names[class_id] for class_id in shapes.class_id.tolist()]),
        "area_m2": area,
        "perimeter_m": perimeter,
        CONFIDENCE: sure,
        "conf_p10": shapes.p10 / SCALE,
        "conf_edge": shapes.contrast,
        "conf_right": right,
        "shape": shapes.kind,
        "reg_iou": shapes.fit,
        "touches_edge": shapes.touches_edge,
        **{
            name: _text([getattr(provenance, name)] * count)
            for name in ("scene", "acquired", "model", "model_sha256", "run_id")
        },
    }


def _text(values: list[str] | list[str | None]) -> Objects:
    out = np.empty(len(values), np.object_)
    out[:] = values
    return out
