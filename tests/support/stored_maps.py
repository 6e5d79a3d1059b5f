"""Finished maps of probabilities that a test has chosen: no network runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from geoseg.arrays import UInt8
from geoseg.config.stac.refs import SHA256_MULTIHASH
from geoseg.engine.assemble import AssembleTask, assemble
from geoseg.engine.finished import ITEM_NAME, PREDICTION_FINGERPRINT, PROBABILITY_NAME
from geoseg.engine.plan import Plan
from geoseg.flow.run.prepare import Prepared, prepare
from geoseg.grid.geobox import GeoBox
from geoseg.io.files import sha256_of
from geoseg.io.raster.cog import write_cog
from support.rasters import write_raster
from support.stac import stac_item, write_catalog

__all__ = ["map_probabilities"]


def map_probabilities(
    folder: Path, grids: Mapping[str, GeoBox], stored: Callable[[str, GeoBox], UInt8], **options: str
) -> Prepared:
    """A workflow whose scenes are mapped, with probabilities that ``stored`` gives, (1, rows, columns).

    ``options`` are keys of ``vectorize``.
    """
    for name, grid in grids.items():
        write_raster(folder / name / "scene.tif", np.full((3, *grid.shape), 128, np.uint8), grid)
    write_catalog(folder / "catalog.json", *map(stac_item, grids))
    (folder / "map.yaml").write_text("catalog: catalog.json\nmodel: buildings-mininet2\noutput: maps\n")
    settings = {
        f"vectorize.{key}": value for key, value in ({"layer": "roofs", "merge": "true"} | options).items()
    }
    prepared = prepare(folder / "map.yaml", {"compute.executor": "serial", **settings})
    assert not prepared.refused, prepared.refused
    for plan in prepared.plans:
        _assemble(plan, stored(plan.scene.ref.id, plan.grid))
    return prepared


def _assemble(plan: Plan, stored: UInt8) -> None:
    """Assemble a scene as if a map of these probabilities were reused."""
    path = plan.folder / PROBABILITY_NAME
    write_cog(path, plan.grid, ["Building"], [(plan.grid.window, stored)], scale=1 / 200, overviews="average")
    properties = {
        "geoseg:fingerprint": "of another map",
        PREDICTION_FINGERPRINT: plan.prediction_fingerprint,
        "geoseg:windows": 1,
        "geoseg:windows_without_data": 0,
    }
    checksum = SHA256_MULTIHASH + sha256_of(path)
    assets = {"probability": {"href": path.name, "file:size": path.stat().st_size, "file:checksum": checksum}}
    (plan.folder / ITEM_NAME).write_text(json.dumps({"properties": properties, "assets": assets}))
    assemble(AssembleTask(plan, ()))
