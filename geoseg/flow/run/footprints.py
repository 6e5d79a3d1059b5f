"""Where the scenes of a run lie and what became of them: a layer that shows them from far away."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from affine import Affine

from geoseg.config.digest import digest
from geoseg.engine.finished import ITEM_NAME, is_there
from geoseg.engine.plan import Plan
from geoseg.errors import GridError, OutputError
from geoseg.grid.crs import LONGITUDE_LATITUDE
from geoseg.grid.footprint import footprint
from geoseg.grid.geobox import GeoBox
from geoseg.io.qgis.project import ProjectLayer
from geoseg.io.qgis.style import ClassStyle, kinds_qml, labeled
from geoseg.io.vector.features import Features, LayerStyle
from geoseg.io.vector.writer import write_features

__all__ = ["footprints_layer", "write_footprints"]

_LAYER: Final = "footprints"
_NAME: Final = "footprints.gpkg"
_FIELDS: Final = {"scene": "text", "status": "text"}
_GLOBE: Final = GeoBox(180, 360, Affine(1, 0, -180, 0, -1, 90), LONGITUDE_LATITUDE)
_MAPPED, _MISSING = "mapped", "not mapped"
_STYLE: Final = labeled(
    kinds_qml(
        [
            ClassStyle(1, _MAPPED, "#2b6cb0", background=True),
            ClassStyle(2, _MISSING, "#d7301f", background=True),
        ],
        "status",
    ),
    '"scene" || \'\\n\' || "status"',
)


def write_footprints(
    output: Path, plans: Sequence[Plan], mapped: Collection[str], before: Mapping[str, Any]
) -> dict[str, Any]:
    """Write ``footprints.gpkg``, longitude and latitude (WGS 84), unless it is up to date.

    A scene that crosses the antimeridian has a polygon on each side of it; one that was not mapped and has no
    longitude and latitude is left out.

    Args:
        mapped: ids of the scenes that have a finished map; the footprint of such a one is its item's.
        before: what this returned for the file that is there; empty: unknown.

    Returns:
        What the file was made from, and its size by its name.

    Raises:
        OutputError: an item cannot be read, or the file not be written.
    """
    found = [
        (plan.scene.ref.id, _MAPPED if plan.scene.ref.id in mapped else _MISSING, outline)
        for plan in sorted(plans, key=lambda plan: plan.scene.ref.id)
        if (outline := _outline(plan, mapped)) is not None
    ]
    path, made_from = output / _NAME, digest([_STYLE, found])
    if before.get("made_from") == made_from and all(
        is_there(output / name, size) for name, size in before["files"].items()
    ):
        return dict(before)
    shapes = [shapely.get_parts(shapely.geometry.shape(outline)) for _, _, outline in found]
    counts = list(map(len, shapes))
    batch = Features(
        np.concatenate(shapes),
        {
            "scene": np.repeat(np.array([scene for scene, _, _ in found], object), counts),
            "status": np.repeat(np.array([status for _, status, _ in found], object), counts),
        },
    )
    write_features(
        path,
        _LAYER,
        [batch],
        geobox=_GLOBE,
        schema=_FIELDS,
        style=LayerStyle(_STYLE),
        description="Footprints of the scenes of a run",
    )
    return {"made_from": made_from, "files": {_NAME: path.stat().st_size}}


def _outline(plan: Plan, mapped: Collection[str]) -> dict[str, Any] | None:
    """A scene's footprint, GeoJSON: as its item has it, or of its grid; None: it has no place."""
    if plan.scene.ref.id not in mapped:
        try:
            return footprint(plan.grid)[0]
        except GridError:  # its refusal says why
            return None
    path = plan.folder / ITEM_NAME
    try:
        geometry: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["geometry"]
        shapely.geometry.shape(geometry)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(f"{path} has no footprint ({error}); remove it and run again") from error
    return geometry


def footprints_layer(output: Path) -> ProjectLayer:
    """The layer in a project that lies beside it."""
    return ProjectLayer("Footprints", output / _NAME, _GLOBE.crs, _STYLE, table=_LAYER)
