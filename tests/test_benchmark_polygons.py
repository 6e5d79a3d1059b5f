"""The polygon benchmark measures what it says."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.features import rasterize
from shapely.affinity import rotate
from synthetic.landcover_fields import make_landcover
from synthetic.rooftops import RESOLUTION

pytestmark = pytest.mark.slow

METHODS = ("geoseg objects", "shapes (stairs)", "marching squares + simplify 0.6 m", "smallest rectangle")


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    names = ("polygon_methods", "polygon_scenes", "polygon_tables")
    return {name.removeprefix("polygon_"): importlib.import_module(name) for name in names}


SCRIPTS = (
    "networks",
    "papers",
    "polygons",
    "floor",
    "memory",
    "peers",
    "same_outputs",
    "scaling",
    "terraces",
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_starts_as_its_page_says(root: Path, script: str) -> None:
    subprocess.run(
        [sys.executable, f"benchmarks/{script}.py", "--help"], cwd=root, check=True, capture_output=True
    )


def test_what_a_benchmark_starts_finds_its_modules(root: Path) -> None:
    code = "import sys; sys.path.insert(0, 'benchmarks'); import polygon_methods, polygon_pictures"
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True)


@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_the_peer_that_benchmarks_compare_with_runs(part: dict[str, ModuleType]) -> None:
    town = part["scenes"].make_town(2, "mid")
    name = next(name for name in part["methods"].METHODS if "regularis" in name.lower())
    polygons, *_ = part["methods"].polygons_of(name, town.stored)
    assert shapely.is_valid(polygons).all()
    assert len(polygons) > 0


def test_a_town_ranks_methods(part: dict[str, ModuleType]) -> None:
    town = part["scenes"].make_town(2, "mid")
    found = {
        method: part["tables"].Found(*part["methods"].polygons_of(method, town.stored)) for method in METHODS
    }
    table = part["tables"].town_table(town, found)
    ours, *others = table
    assert ours["missing"] == ours["invalid"] == ours["overlap %"] == 0
    assert all(ours["IoU"] > other["IoU"] and ours["PoLiS m"] < other["PoLiS m"] for other in others)
    assert "IoU" not in part["tables"].ahead(table)
    lines = part["tables"].markdown(table).splitlines()
    assert len(lines) == 2 + len(METHODS)
    assert len({line.count("|") for line in lines}) == 1


def test_real_footprints_come_as_a_network_sees_them(
    part: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "buildings").mkdir()
    house = shapely.box(500_000, 5_000_000, 500_020, 5_000_012)
    other = rotate(shapely.box(500_030, 5_000_020, 500_045, 5_000_030), 30)
    shed = shapely.box(500_060, 5_000_000, 500_062, 5_000_002)
    frame = geopandas.GeoDataFrame(geometry=[house, other, shed], crs="EPSG:32631")
    frame.to_file(tmp_path / "buildings" / "town.gpkg", layer="town")
    monkeypatch.setitem(part["scenes"].PLACES, "Town", ("town.gpkg", "town"))
    (place,) = part["scenes"].make_places(tmp_path, ["Town"])
    assert shapely.area(place.truth) * RESOLUTION**2 == pytest.approx([240, 150], rel=1e-6)
    assert place.rectilinear.all()
    found = part["tables"].Found(*part["methods"].polygons_of("geoseg objects", place.stored))
    results = {"geoseg objects": {"Town": found}, "shapes (stairs)": {"Town": found}}
    table, by_place, common = part["tables"].place_tables([place], results)
    assert common == table[0]["matched"] == 2
    assert table[0]["IoU"] > 0.93
    assert by_place[0]["matched"] == "2 / 2"


def test_land_cover_is_measured_against_stairs(part: dict[str, ModuleType]) -> None:
    scene = make_landcover(40, 48)
    names = ("geoseg coverage 0 px", "regions (stairs)", "regions + nodes + coverage_simplify 1 px")
    found = {name: part["tables"].Found(*part["methods"].polygons_of(name, scene.scores)) for name in names}
    smooth, stairs, simple = part["tables"].cover_table(scene, found)
    assert stairs["wrong / stairs"] == 1
    assert smooth["wrong / stairs"] < 0.5
    assert smooth["valid coverage"]
    assert simple["valid coverage"]
    assert abs(smooth["gaps px²"]) < 1e-6
    assert abs(simple["gaps px²"]) < 1e-6


def test_noded_stairs_are_the_same_ground(part: dict[str, ModuleType]) -> None:
    polygons, classes = part["methods"].regions(make_landcover(32, 32).scores)
    noded = part["methods"].noded(polygons)
    assert shapely.coverage_is_valid(noded)
    assert shapely.equals(noded, polygons).all()
    drawn = rasterize(zip(noded, classes.tolist(), strict=True), (32, 32), transform=Affine.identity())
    assert (drawn == make_landcover(32, 32).classes).all()


def test_split_objects_are_counted_at_half_an_overlap(part: dict[str, ModuleType]) -> None:
    row = part["scenes"].make_rows(2, 0, side=200)
    f1 = part["tables"].f1
    assert f1(row.labels, row.labels) == 1
    one = (row.labels > 0).astype(np.int32)
    assert f1(one, row.labels) == 0
    assert f1(np.zeros_like(one), row.labels) == 0
