"""What every polygon says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.area import AreaMeter
from geoseg.polygons.components import SCORE_STEPS
from geoseg.polygons.exact import Regions

__all__ = ["FIELDS", "Provenance", "object_attributes"]

FIELDS: Final[Mapping[str, str]] = {
    "id": "text",
    "class_id": "integer",
    "class_name": "text",
    "area_m2": "real",
    "confidence": "real",
    "pixels": "integer",
    "touches_edge": "boolean",
    "scene": "text",
    "acquired": "text",
    "model": "text",
    "model_sha256": "text",
    "run_id": "text",
}
"""Attributes and their kinds, in the order of the layer.

``id``: scene and pixel where the object starts, the same in every run that finds it there ·
``area_m2``: on the ellipsoid · ``confidence``: mean probability of the class over the object's pixels, 0 to
1 · ``touches_edge``: the object meets the scene's edge or missing data and may go on there · ``acquired``:
ISO 8601, null where the date is unknown.
"""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the objects of one scene come from."""

    scene: str
    """The catalog's id of the scene."""
    slug: str
    """The scene's folder name, with which the objects' ids start."""
    model: str
    """Name and version of the model."""
    model_sha256: str
    """SHA-256 of its weights, hexadecimal."""
    run_id: str
    """Id of the run."""
    acquired: str | None = None
    """Acquisition date or time, ISO 8601; None: unknown."""


def object_attributes(
    regions: Regions,
    polygons: NDArray[np.object_],
    *,
    width: int,
    meter: AreaMeter,
    names: Mapping[int, str],
    provenance: Provenance,
) -> dict[str, NDArray[Any]]:
    """Attributes of polygons, by name, in the order of :data:`FIELDS`.

    Args:
        regions: components with their statistics.
        polygons: their polygons in CRS units, shape (n,).
        width: columns of the scene.
        meter: measures areas in the polygons' CRS.
        names: class id → class name.
        provenance: what all of them share.

    Returns:
        Arrays of shape (n,): text as object, numbers as int32, int64 and float64, flags as bool.
    """
    found = regions.components
    rows, cols = np.divmod(found.first, width)
    ids = [f"{provenance.slug}-{row}-{col}" for row, col in zip(rows.tolist(), cols.tolist(), strict=True)]
    return {
        "id": _text(ids),
        "class_id": found.class_id.astype(np.int32),
        "class_name": _text([names[class_id] for class_id in found.class_id.tolist()]),
        "area_m2": meter.measure(polygons),
        "confidence": found.score / (found.pixels * SCORE_STEPS),
        "pixels": found.pixels,
        "touches_edge": found.touches_edge,
        "scene": _text([provenance.scene] * len(regions)),
        "acquired": _text([provenance.acquired] * len(regions)),
        "model": _text([provenance.model] * len(regions)),
        "model_sha256": _text([provenance.model_sha256] * len(regions)),
        "run_id": _text([provenance.run_id] * len(regions)),
    }


def _text(values: list[str] | list[str | None]) -> NDArray[np.object_]:
    out = np.empty(len(values), np.object_)
    out[:] = values
    return out
