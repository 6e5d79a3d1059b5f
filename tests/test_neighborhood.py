"""The generated neighborhood: its truth is exact, its seed decides everything."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.features import rasterize
from support.commands import load_script
from synthetic.neighborhood import LANDCOVER_CLASSES, Neighborhood, Style, generate, random_style
from synthetic.writing import scene_transform, write_scene

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

NAMES = {c.name: c.id for c in LANDCOVER_CLASSES}
SIZE = (220, 253)


@pytest.fixture(scope="module")
def place() -> Neighborhood:
    return generate(SIZE, seed=3)


@pytest.fixture(scope="session")
def make_scene(root: Path) -> ModuleType:
    return load_script(root / "examples" / "make_scene.py")


@pytest.fixture(scope="session")
def demo(make_scene: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed files' folder, made again."""
    folder: Path = tmp_path_factory.mktemp("demo")
    before = sys.argv
    sys.argv = ["make_scene.py", "--out", str(folder)]
    try:
        make_scene.main()
    finally:
        sys.argv = before
    return folder


def roofs(place: Neighborhood) -> np.ndarray:
    return rasterize(place.buildings, out_shape=place.landcover.shape).astype(bool)


def test_classes_are_numbered_from_zero_and_distinct() -> None:
    assert [c.id for c in LANDCOVER_CLASSES] == list(range(len(LANDCOVER_CLASSES)))
    assert len({c.name for c in LANDCOVER_CLASSES}) == len({c.color for c in LANDCOVER_CLASSES}) == 6


def test_arrays_are_what_they_are_said_to_be(place: Neighborhood) -> None:
    assert place.image.shape == (3, *SIZE)
    assert place.image.dtype == place.landcover.dtype == np.uint8
    assert place.landcover.shape == SIZE
    assert place.landcover.max() < len(LANDCOVER_CLASSES)
    assert place.image.std() > 20


def test_a_seed_decides_everything(place: Neighborhood) -> None:
    again = generate(SIZE, seed=3)
    assert (again.image == place.image).all()
    assert (again.landcover == place.landcover).all()
    assert again.buildings == place.buildings
    other = generate(SIZE, seed=4)
    assert (other.image != place.image).mean() > 0.9
    assert (other.landcover != place.landcover).mean() > 0.2


@pytest.mark.parametrize(
    ("size", "resolution", "seed"), [(SIZE, 0.3, 3), ((160, 90), 1.0, 5), ((120, 130), 0.5, 6)]
)
def test_footprints_are_valid_apart_and_whole(size: tuple[int, int], resolution: float, seed: int) -> None:
    place = generate(size, resolution, seed)
    assert place.buildings
    frame = shapely.box(0, 0, size[1], size[0])
    for outline in place.buildings:
        assert isinstance(outline, shapely.Polygon)
        assert outline.is_valid
        assert outline.area > 0
        assert frame.covers(outline)
    tree = shapely.STRtree(place.buildings)
    left, right = tree.query(place.buildings, predicate="intersects")
    for one, two in zip(left[left < right], right[left < right], strict=True):
        assert place.buildings[one].intersection(place.buildings[two]).area < 1e-6
    covered = roofs(place)
    assert (place.landcover[covered] == NAMES["building"]).mean() > 0.6  # crowns hide some, never most
    assert np.isin(place.landcover[covered], (NAMES["building"], NAMES["tree"])).all()
    assert not (place.landcover[~covered] == NAMES["building"]).any()


def test_truth_does_not_depend_on_how_it_is_photographed(place: Neighborhood) -> None:
    style = replace(
        Style(), brightness=1.3, noise=6.0, blur=1.2, sun_azimuth=230.0, contrast=0.8, palette="tile"
    )
    other = generate(SIZE, seed=3, style=style)
    assert other.buildings == place.buildings
    assert (other.image != place.image).mean() > 0.9


@pytest.mark.parametrize(
    "change",
    [
        {"leaf": 1.0},
        {"greenness": 0.95},
        {"brightness": 1.3},
        {"palette": "tile"},
        {"blur": 1.5},
        {"noise": 8.0},
        {"sun_azimuth": 220.0},
        {"trees": 0.0},
    ],
)
def test_each_part_of_a_style_shows(change: dict[str, float]) -> None:
    size = (96, 96)
    plain = generate(size, seed=3).image.astype(int)
    styled = generate(size, seed=3, style=replace(Style(), **change)).image.astype(int)
    assert np.abs(styled - plain).mean() > 0.5


def test_more_sun_from_the_side_lengthens_shadows() -> None:
    low, high = (
        generate((200, 200), seed=3, style=replace(Style(), sun_elevation=sun, trees=0.0)).image.mean(axis=0)
        for sun in (30.0, 65.0)
    )
    assert (low < 60).mean() > 1.3 * (high < 60).mean()


def test_styles_are_drawn_widely_and_from_their_seed() -> None:
    styles = [random_style(np.random.default_rng(seed)) for seed in range(40)]
    assert random_style(np.random.default_rng(7)) == styles[7]
    assert max(s.sun_azimuth for s in styles) - min(s.sun_azimuth for s in styles) > 120
    assert {s.palette for s in styles} >= {"austin", "metal", "tile"}


@pytest.mark.parametrize("size", [(1, 1), (3, 40)])
def test_the_smallest_scenes_work(size: tuple[int, int]) -> None:
    assert generate(size, seed=1).image.shape == (3, *size)


@pytest.mark.parametrize(
    ("size", "resolution"), [((0, 5), 0.3), ((5, 5), 0.0), ((5, 5), 9.0), ((5, 5), float("nan"))]
)
def test_impossible_scenes_are_refused(size: tuple[int, int], resolution: float) -> None:
    with pytest.raises(ValueError, match="a neighborhood needs"):
        generate(size, resolution)


def test_the_demonstration_shows_every_class_and_touching_roofs(demo: Path) -> None:
    with rasterio.open(demo / "landcover.tif") as source:
        counts = np.bincount(source.read(1).ravel(), minlength=6)
        assert len(counts) == 6
        assert (counts > 5000).all()
        assert source.colormap(1)[NAMES["water"]] == (0x31, 0x82, 0xBD, 255)
    roofs = gpd.read_file(demo / "buildings.gpkg")
    touching = sum(int(geometry.touches(roofs.geometry).any()) for geometry in roofs.geometry)
    assert len(roofs) > 100
    assert touching >= 4


def test_the_committed_files_are_what_the_script_makes(root: Path, demo: Path) -> None:
    kept = root / "examples" / "austin_synthetic"
    assert sum(path.stat().st_size for path in kept.iterdir()) < 2.5e6
    for name, tolerance in (
        ("scene.tif", 2),
        ("landcover.tif", 0),
    ):  # JPEG decoders and sines may round apart
        with rasterio.open(kept / name) as old, rasterio.open(demo / name) as new:
            assert old.transform == new.transform
            assert old.crs == new.crs == rasterio.CRS.from_epsg(26914)
            assert old.tags() == new.tags()
            assert old.tags()["SYNTHETIC"] == "YES"
            difference = np.abs(old.read().astype(int) - new.read())
            assert (difference <= tolerance).mean() > 0.999
    old, new = (gpd.read_file(folder / "buildings.gpkg", layer="buildings") for folder in (kept, demo))
    assert old.crs == new.crs
    assert len(old) == len(new)
    assert shapely.equals_exact(old.geometry.to_numpy(), new.geometry.to_numpy(), tolerance=1e-6).all()


def test_a_rotated_16_bit_scene_with_holes(place: Neighborhood, tmp_path: Path) -> None:
    files = write_scene(tmp_path, place, dtype="uint16", rotate=23.0, nodata=0, epsg=32614)
    with rasterio.open(files.scene) as source:
        assert source.dtypes == ("uint16",) * 3
        assert source.crs == rasterio.CRS.from_epsg(32614)
        assert source.transform.almost_equals(scene_transform(place.resolution, 23.0))
        pixels, valid = source.read(), source.dataset_mask() > 0
        assert 0.05 < 1 - valid.mean() < 0.4
        assert (pixels[:, valid] == 200 + 40 * place.image[:, valid].astype(int)).all()
        transform = source.transform
    table = gpd.read_file(files.buildings)
    burned = rasterize(table.geometry, out_shape=place.landcover.shape, transform=transform).astype(bool)
    assert (burned != roofs(place)).mean() < 1e-4  # a corner may lie within rounding of a pixel's center
    assert table["area_m2"].to_numpy() == pytest.approx(table.geometry.area.to_numpy(), abs=0.01)


def test_a_lossless_scene_holds_every_pixel(place: Neighborhood, tmp_path: Path) -> None:
    files = write_scene(tmp_path / "new" / "folder", place, lossless=True)
    with rasterio.open(files.scene) as source:
        assert (source.read() == place.image).all()
        assert source.nodata is None
        assert source.descriptions == ("red", "green", "blue")
    with rasterio.open(files.landcover) as source:
        assert (source.read(1) == place.landcover).all()


def test_an_8_bit_nodata_value_marks_holes_only(place: Neighborhood, tmp_path: Path) -> None:
    files = write_scene(tmp_path, place, nodata=255)
    with rasterio.open(files.scene) as source:
        valid = source.dataset_mask() > 0
        assert (np.abs(source.read()[:, valid].astype(int) - place.image[:, valid]) <= 1).all()


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("float32", None), ("uint8", 256), ("uint8", -1), ("uint16", 0.5)]
)
def test_what_cannot_be_written_is_refused(
    place: Neighborhood, tmp_path: Path, dtype: str, nodata: float | None
) -> None:
    with pytest.raises(ValueError, match=r"nodata value|is uint8 or uint16"):
        write_scene(tmp_path, place, dtype=dtype, nodata=nodata)
