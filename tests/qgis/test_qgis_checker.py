"""QGIS's geometry checker finds nothing in any mode's layers, and what is broken in others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
from affine import Affine
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from scipy import ndimage
from shapely import Polygon, box
from support.rasters import write_raster
from support.system_python import need, told_by
from synthetic.neighborhood import LANDCOVER_CLASSES, generate

from geoseg.flow.vectorize import vectorize

pytestmark = pytest.mark.slow

PLACES = {
    "north_up": Affine(0.3, 0, 621_000, 0, -0.3, 3_350_000),
    "turned": Affine.translation(621_000, 3_350_000) @ Affine.rotation(17) @ Affine.scale(0.3, -0.3),
}


def scores(seed: int) -> NDArray[np.float32]:
    """Probabilities of all classes of a generated neighborhood, blurred and noisy."""
    ids = generate(size=(300, 320), seed=seed).landcover
    noise = np.random.default_rng(seed).normal(size=(len(LANDCOVER_CLASSES), *ids.shape))
    likely = [
        ndimage.gaussian_filter((ids == one.id).astype(float), 1.2) + abs(ndimage.gaussian_filter(n, 2)) / 4
        for one, n in zip(LANDCOVER_CLASSES, noise, strict=True)
    ]
    return (np.stack(likely) / np.sum(likely, axis=0)).astype(np.float32)


def roofs(seed: int) -> NDArray[np.float32]:
    """Probabilities of roofs at any angle, many of which lie across others."""
    random = np.random.default_rng(seed)
    rows, cols = np.mgrid[:300, :320]
    inside = np.full(rows.shape, -9.0)
    for _ in range(110):
        y, x, angle = random.uniform(0, 300), random.uniform(0, 320), random.uniform(0, np.pi)
        along = (cols - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        across = (rows - y) * np.cos(angle) - (cols - x) * np.sin(angle)
        long, short = random.uniform(6, 22), random.uniform(4, 12)
        inside = np.maximum(inside, np.minimum(long - abs(along), short - abs(across)))
    field = ndimage.gaussian_filter(inside.clip(-6, 6), 1.2) + ndimage.gaussian_filter(
        random.normal(size=rows.shape), 2
    )
    return (1 / (1 + np.exp(-1.5 * field))).astype(np.float32)[None]


def layer(folder: Path, name: str, pixels: NDArray[np.float32], place: Affine, mode: str) -> Path:
    raster = write_raster(folder / f"{name}.tif", pixels, transform=place)
    return vectorize(raster, folder / f"{name}.gpkg", {"vectorize.mode": mode}).file


MISTAKES: dict[str, tuple[list[Polygon], str, list[float]]] = {
    "bow tie": ([Polygon([(30, 0), (40, 10), (40, 0), (30, 10)])], "SelfIntersection", [35, 5]),
    "self contact": (
        [Polygon([(50, 0), (60, 0), (60, 10), (55, 0), (50, 10)])],
        "SelfContact",
        [55, 0],
    ),
    "a vertex twice": ([Polygon([(0, 0), (9, 0), (9, 0), (9, 9), (0, 9)])], "DuplicateNodes", [9, 0]),
    "spike": ([Polygon([(90, 0), (100, 0), (100, 10), (99.9, 0.01), (90, 10)])], "Angle", [100, 10]),
    "overlap": ([box(0, 0, 10, 10), box(5, 5, 15, 15)], "Overlap", [7.5, 7.5]),
    "a polygon twice": ([box(0, 0, 10, 10), box(0, 0, 10, 10)], "Duplicate", [5, 5]),
    "inside": ([box(0, 0, 10, 10), box(2, 2, 4, 4)], "Contained", [3, 3]),
    "no common vertex": (
        [box(0, 0, 10, 10), box(10, 0, 20, 10), box(0, 10, 20, 20)],
        "MissingVertex",
        [10, 10],
    ),
    "gap": (
        [box(0, 0, 10, 10), box(11, 0, 20, 10), box(0, 10, 20, 20), box(0, -10, 20, 0)],
        "Gap",
        [10.5, 5],
    ),
}
"""Polygons, the check that finds the mistake, and where."""


def write(path: Path, polygons: list[Polygon]) -> None:
    table = GeoDataFrame({"n": range(len(polygons))}, geometry=polygons, crs="EPSG:26914")
    pyogrio.write_dataframe(table, path, layer=path.stem, driver="GPKG", dataset_options={"VERSION": "1.2"})


LAYERS = [
    *((f"{mode}_{place}", mode, place) for mode in ("objects", "exact") for place in PLACES),
    *((f"coverage_{place}", "coverage", place) for place in PLACES),
    *((f"classes_{mode}", mode, "north_up") for mode in ("objects", "exact")),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What QGIS finds, by layer and check."""
    need("qgis.analysis")
    folder = tmp_path_factory.mktemp("layers")
    paths = [folder / f"{name}.gpkg" for name in MISTAKES]
    for path, (polygons, *_) in zip(paths, MISTAKES.values(), strict=True):
        write(path, polygons)
    paths += [
        layer(
            folder,
            name,
            roofs(6) if name.startswith(("objects", "exact")) else scores(6),
            PLACES[place],
            mode,
        )
        for name, mode, place in LAYERS
    ]
    return {Path(path).stem: one for path, one in told_by("qgis_checker.py", *paths).items()}


@pytest.mark.qgis
@pytest.mark.parametrize("name", [name for name, *_ in LAYERS])
def test_the_checker_finds_nothing(name: str, told: dict[str, Any]) -> None:
    errors = {check: one["errors"] for check, one in told[name].items()}
    if not name.startswith("coverage"):
        errors.pop("QgsGeometryGapCheck")  # objects surround ground that is none of theirs
    if name == "classes_exact":
        errors.pop(
            "QgsGeometryMissingVertexCheck"
        )  # vertices are corners of the pixels' regions, as GDAL's are
    assert errors == {check: [] for check in errors}
    assert not any(one["messages"] for one in told[name].values())


@pytest.mark.qgis
@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_check_finds_its_mistake(mistake: str, told: dict[str, Any]) -> None:
    _, check, place = MISTAKES[mistake]
    found = [error[1:3] for error in told[mistake][f"QgsGeometry{check}Check"]["errors"]]
    assert [round(value, 9) for value in place] in found
    clean = told["inside" if mistake != "inside" else "gap"][f"QgsGeometry{check}Check"]
    assert not clean["errors"]
