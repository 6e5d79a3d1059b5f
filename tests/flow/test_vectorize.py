"""``geoseg vectorize``: any raster of probabilities or class ids gives the polygons of a run."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from support.commands import Command
from support.rasters import write_raster
from support.stac import stac_item, write_catalog
from synthetic.bundles import random_bundle
from synthetic.neighborhood import generate
from synthetic.writing import write_scene

from geoseg.config.vectorize import Vectorize
from geoseg.engine.vectorize import CLASS_IDS, ClassMap, find_class_shapes
from geoseg.errors import GeosegError
from geoseg.flow.run.run import run
from geoseg.flow.vectorize import vectorize
from geoseg.grid.geobox import GeoBox
from geoseg.io.qgis.colors import class_colors
from geoseg.polygons.attributes import FIELDS
from geoseg.polygons.coverage.shared_borders import shared_sides

pytestmark = pytest.mark.slow

PLACE = Affine(0.3, 0, 500_000, 0, -0.3, 4_500_000)
CONFIDENCES = ["conf_mean", "conf_p10", "conf_edge"]
BLOCKS: dict[str, Any] = {"compress": "deflate", "tiled": True, "blockxsize": 32, "blockysize": 16}
write = partial(write_raster, crs="EPSG:32618", transform=PLACE, **BLOCKS)


def layer_of(path: Path, layer: str | None = None) -> gpd.GeoDataFrame:
    return pyogrio.read_dataframe(path, layer=layer or path.stem)


def hills(shape: tuple[int, int], bands: int, seed: int = 0) -> NDArray[np.float64]:
    """Smooth probabilities that sum to one, in multiples of 1/200."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    rng = np.random.default_rng(seed)
    waves = rng.uniform(0.1, 0.5, (bands, 4, 2))
    scores = np.array(
        [sum(np.sin(a * rows + b * cols + 7 * k) for k, (a, b) in enumerate(some)) for some in waves]
    )
    share = np.exp(2 * scores)
    return np.rint(share / share.sum(axis=0) * 200) / 200


# What a run writes, made again from its raster.


@pytest.fixture(scope="module", params=["buildings-mininet2", "./bundle"], ids=["binary", "multi-class"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder of a turned scene with missing data."""
    folder = tmp_path_factory.mktemp("run")
    write_scene(folder / "turned", generate(size=(150, 170), seed=5), rotate=17.0, nodata=0)
    write_catalog(folder / "catalog.json", stac_item("turned", version="1.0.0"))
    random_bundle(folder / "bundle", "mininet-2", classes=3, seed=1, halo=16)
    (folder / "flow.yaml").write_text(f"catalog: catalog.json\nmodel: {request.param}\n", encoding="utf-8")
    settings = {"compute.executor": "serial", "tiling.window": "160 px", "tiling.halo": "16 px"}
    summary = run(folder / "flow.yaml", {"output": str(folder / "maps"), **settings})
    assert summary.count("done") == 1, summary.scenes
    return folder / "maps" / "turned"


def same_polygons(one: gpd.GeoDataFrame, other: gpd.GeoDataFrame) -> None:
    assert len(one) > 3
    assert list(one.geometry.to_wkb()) == list(other.geometry.to_wkb())
    for field in ("class_id", "area_m2", "perimeter_m", *CONFIDENCES, "shape", "reg_iou", "touches_edge"):
        assert one[field].equals(other[field]), field


def test_the_raster_of_a_run_gives_the_polygons_of_the_run(finished: Path, tmp_path: Path) -> None:
    made = vectorize(finished / "probability.tif", tmp_path / "again.gpkg")
    ran = layer_of(finished / "polygons.gpkg")
    same_polygons(ran, layer_of(made.file))
    assert made.polygons == len(ran)
    assert made.mode == ("objects" if len(made.classes) == 1 else "coverage")


def test_what_a_run_would_do_otherwise_is_done_otherwise_here(finished: Path, tmp_path: Path) -> None:
    """Modes, and no class twice: exact polygons are the pixels of the run's classes."""
    exact = {"vectorize.mode": "exact"}
    probability, classes = finished / "probability.tif", finished / "classes.tif"
    one = layer_of(vectorize(probability, tmp_path / "p.gpkg", exact).file)
    named = {"names": {0: "class_0"}} if one.class_id.min() == 0 else {}
    other = layer_of(vectorize(classes, tmp_path / "c.gpkg", exact, **named).file)
    assert list(one.geometry.to_wkb()) == list(other.geometry.to_wkb())
    assert one.class_id.equals(other.class_id)
    assert other[CONFIDENCES].isna().all(axis=None)


# Other tools' rasters of the same numbers.


@pytest.mark.parametrize("bands", [1, 3])
def test_the_type_of_the_file_does_not_matter(bands: int, tmp_path: Path) -> None:
    p = hills((70, 80), 2 if bands == 1 else bands)[:bands]
    p[:, 20:30, 30:45] = np.nan
    empty = np.isnan(p[0])
    stored = np.where(empty, 255, np.rint(p * 200)).astype(np.uint8)
    bytes_ = write(tmp_path / "stored.tif", stored, nodata=255, scale=1 / 200)
    expected = layer_of(vectorize(bytes_, tmp_path / "stored.gpkg").file)
    filled = np.where(empty, -9999, p)
    alpha = np.concatenate([np.nan_to_num(p), np.where(empty, 0.0, 1.0)[None]]).astype(np.float32)
    interpretation = [rasterio.enums.ColorInterp.undefined] * bands + [rasterio.enums.ColorInterp.alpha]
    rasters = [
        write(tmp_path / "single.tif", p.astype(np.float32)),
        write(tmp_path / "double.tif", filled, nodata=-9999),
        write(
            tmp_path / "deep.tif",
            np.where(empty, 65535, np.rint(p * 2000)).astype(np.uint16),
            nodata=65535,
            scale=1 / 2000,
        ),
        write(tmp_path / "alpha.tif", alpha),
    ]
    with rasterio.open(rasters[-1], "r+") as target:
        target.colorinterp = interpretation
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        rasters.append(write(tmp_path / "mask.tif", np.nan_to_num(p).astype(np.float32)))
        with rasterio.open(rasters[-1], "r+") as target:
            target.write_mask(~empty)
    for raster in rasters:
        found = layer_of(vectorize(raster, raster.with_suffix(".gpkg")).file)
        same_polygons(expected, found)
    missing = shapely.transform(
        shapely.box(30, 20, 45, 30), lambda xy: np.array([PLACE @ tuple(v) for v in xy])
    )
    assert not expected.geometry.intersects(missing.buffer(-1)).any()


def test_bytes_are_probabilities_where_somebody_says_so(tmp_path: Path) -> None:
    p = np.rint(hills((60, 60), 2)[0] * 255) / 255
    raster = write(tmp_path / "p.tif", np.rint(p * 255).astype(np.uint8))
    made = vectorize(raster, tmp_path / "bytes.gpkg", kind="probability")
    exact = write(tmp_path / "f.tif", p.astype(np.float32))
    same_polygons(layer_of(vectorize(exact, tmp_path / "floats.gpkg").file), layer_of(made.file))
    assert vectorize(raster, tmp_path / "ids.gpkg", kind="classes").kind == "classes"
    assert vectorize(exact, tmp_path / "x.gpkg").kind == "probability"


def test_blocks_and_sizes_do_not_matter(tmp_path: Path) -> None:
    p = hills((90, 130), 3).astype(np.float32)
    layouts: list[dict[str, Any]] = [
        {"blockxsize": 16, "blockysize": 16, "interleave": "pixel"},
        {"tiled": False, "blockxsize": 130, "blockysize": 1},
        {"tiled": False, "blockxsize": 130, "blockysize": 90},
    ]
    layers = [
        layer_of(vectorize(write(tmp_path / f"{n}.tif", p, **how), tmp_path / f"layer{n}.gpkg").file)
        for n, how in enumerate(layouts)
    ]
    for other in layers[1:]:
        same_polygons(layers[0], other)


# The ground.

LONGITUDE, LATITUDE = -73.9, 40.7


def in_meters(crs: str) -> Transformer:
    """From a CRS to meters around a place in New York; x first."""
    local = CRS.from_proj4(f"+proj=aeqd +lat_0={LATITUDE} +lon_0={LONGITUDE} +datum=WGS84 +units=m")
    return Transformer.from_crs(crs, local, always_xy=True)


def grid_over(crs: str, across: float, down: float, turned: float) -> GeoBox:
    """About 60 m by 60 m in pixels of about a size in meters."""
    back = in_meters(crs)
    x, y = back.transform(0, 0, direction="INVERSE")
    ends = [back.transform(*end, direction="INVERSE") for end in ((10, 0), (0, 10))]
    east = np.hypot(ends[0][0] - x, ends[0][1] - y) / 10
    north = np.hypot(ends[1][0] - x, ends[1][1] - y) / 10
    turn = Affine.rotation(turned) @ Affine.scale(across, -down)
    transform = Affine.translation(x, y) @ Affine.scale(east, north) @ turn
    width, height = round(60 / across), round(60 / down)
    return GeoBox(height, width, transform @ Affine.translation(-width / 2, -height / 2), crs)


def drawn(box: GeoBox, shape: shapely.Polygon, steps: int = 6) -> NDArray[np.float32]:
    """The share of each pixel that a shape in meters covers."""
    back = in_meters(box.crs)
    cols, rows = np.meshgrid(
        (np.arange(box.width * steps) + 0.5) / steps, (np.arange(box.height * steps) + 0.5) / steps
    )
    t = box.transform
    x, y = back.transform(t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f)
    inside = shapely.contains_xy(shape, x, y).astype(np.float32)
    return inside.reshape(box.height, steps, box.width, steps).mean(axis=(1, 3))


@pytest.mark.parametrize(
    ("crs", "across", "down", "turned"),
    [
        ("EPSG:32618", 0.3, 0.3, 0.0),
        ("EPSG:32618", 0.3, 0.3, 33.0),
        ("EPSG:32618", 0.25, 0.4, 0.0),
        ("EPSG:4326", 0.3, 0.3, 0.0),
        ("EPSG:2263", 0.3, 0.3, 0.0),
        ("EPSG:3857", 0.3, 0.3, 0.0),
    ],
)
def test_the_same_house_is_the_same_on_every_grid(
    crs: str, across: float, down: float, turned: float, tmp_path: Path
) -> None:
    house = shapely.affinity.rotate(shapely.box(-16, -11, 16, 11), 12.0)
    box = grid_over(crs, across, down, turned)
    raster = write(tmp_path / "house.tif", drawn(box, house), crs=crs, transform=box.transform)
    layer = layer_of(vectorize(raster, tmp_path / "house.gpkg").file)
    assert list(layer["shape"]) == ["rectangle"]
    assert layer.area_m2[0] == pytest.approx(house.area, rel=1e-3)
    assert layer.perimeter_m[0] == pytest.approx(house.length, rel=1e-3)
    assert not layer.touches_edge[0]


def test_a_mask_of_the_same_grid_says_where_there_is_no_data(geoseg: Command, tmp_path: Path) -> None:
    scores = hills((90, 120), 3)[0].astype(np.float32)
    raster = write(tmp_path / "p.tif", scores)
    inside = np.ones((90, 120), np.uint8)
    inside[:, 100:] = 0
    holes = scores.copy()
    holes[..., inside == 0] = np.nan
    masked = vectorize(raster, tmp_path / "a.gpkg", mask=write(tmp_path / "mask.tif", inside)).file
    same_polygons(
        layer_of(masked), layer_of(vectorize(write(tmp_path / "n.tif", holes), tmp_path / "b.gpkg").file)
    )
    for name, other in (("small.tif", inside[:20]), ("gone.tif", None)):
        if other is not None:
            write(tmp_path / name, other)
        code, out, err = geoseg("vectorize", raster, "-o", tmp_path / "c.gpkg", "--mask", tmp_path / name)
        assert (code, out) == (2, "")
        assert name in err
        assert len(err.splitlines()) == 1
        assert not (tmp_path / "c.gpkg").exists()
    assert (
        "needed 90×120 px"
        in geoseg("vectorize", raster, "-o", tmp_path / "c.gpkg", "--mask", tmp_path / "small.tif")[2]
    )


# Class ids.


def test_ids_of_any_size_keep_their_number_name_and_color(tmp_path: Path) -> None:
    ids = np.repeat(np.repeat(np.array([[111, 111, 312], [0, 523, 312]], np.int16), 12, 0), 12, 1)
    path = write(tmp_path / "corine.tif", ids, tags={"TIFFTAG_DATETIME": "2018:07:16 10:20:30"})
    made = vectorize(path, tmp_path / "corine.gpkg", names={312: "coniferous forest"})
    layer = layer_of(made.file).set_index("class_id").sort_index()
    assert list(layer.class_name) == ["background", "class_111", "coniferous forest", "class_523"]
    assert layer.area.to_numpy() == pytest.approx(np.array([144, 288, 288, 144]) * 0.09, rel=0.02)
    assert layer.area.sum() == pytest.approx(ids.size * 0.09, rel=1e-6)
    assert set(layer.acquired) == {"2018-07-16T10:20:30Z"}
    assert set(layer.scene) == {"corine"}
    assert layer[["model", "model_sha256", *CONFIDENCES]].isna().all(axis=None)
    assert made.kind == "classes"
    table = {n: (n, 255 - n, 10, 255) for n in range(256)}
    painted = write(tmp_path / "painted.tif", ids.astype(np.uint8), colors=table)
    vectorize(painted, tmp_path / "painting.fgb")
    qml = (tmp_path / "painting.qml").read_text()
    assert all(f'color" value="{n % 256},{255 - n % 256},10,' in qml for n in (111, 312))


def test_classes_without_colors_of_their_own_get_colors_by_rank(tmp_path: Path) -> None:
    """Ids of ESA WorldCover, 10 apart; a color table that is all black counts as none."""
    numbers = [*range(10, 101, 10), 95]
    ids = np.repeat(np.repeat(np.array([numbers], np.uint8), 12, 0), 12, 1)
    plain = write(tmp_path / "cover.tif", ids)
    black = write(tmp_path / "black.tif", ids, colors=dict.fromkeys(range(256), (0, 0, 0, 255)))
    for raster in (plain, black):
        made = vectorize(raster, tmp_path / f"{raster.stem}_classes.fgb")
        qml = made.file.with_suffix(".qml").read_text()
        assert [n for n, _ in made.classes] == sorted(numbers)
        for color in class_colors(len(numbers)):
            red, green, blue = bytes.fromhex(color[1:])
            assert f'color" value="{red},{green},{blue},' in qml


def test_class_0_is_background_unless_it_has_a_name(tmp_path: Path) -> None:
    ids = np.zeros((30, 40), np.uint8)
    ids[8:20, 10:30] = 255
    raster = write(tmp_path / "mask.tif", ids)
    objects = {"vectorize.mode": "objects"}
    one = layer_of(vectorize(raster, tmp_path / "roofs.gpkg", objects, names={255: "roof"}).file)
    assert [*one.class_id, *one.class_name, *one["shape"]] == [255, "roof", "rectangle"]
    assert one.area_m2[0] == pytest.approx(12 * 20 * 0.09, rel=2e-3)
    both = layer_of(vectorize(raster, tmp_path / "both.gpkg", objects, names={0: "ground"}).file)
    assert set(both.class_name) == {"ground", "class_255"}
    covered = layer_of(vectorize(raster, tmp_path / "all.gpkg").file)
    assert set(covered.class_name) == {"background", "class_255"}
    only = {"vectorize.classes": "[class_255]"}
    assert set(layer_of(vectorize(raster, tmp_path / "only.gpkg", only).file).class_id) == {255}


def maps() -> st.SearchStrategy[NDArray[np.uint8]]:
    shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))
    return nps.arrays(np.uint8, shapes, elements=st.sampled_from([0, 1, 2, 255]))


@given(ids=maps())
def test_shared_sides_are_counted_once_from_each_side(ids: NDArray[np.uint8]) -> None:
    blank = np.full(ids.shape[1], 255, np.uint8)
    sides = shared_sides(ids, blank, blank, 3)
    assert (sides[:, ids == 255] == 255).all()
    padded = np.pad(ids, 1, constant_values=255)
    for row, col in np.argwhere(ids != 255).tolist():
        around = [padded[row + i, col + j] for i, j in ((0, 1), (1, 0), (1, 2), (2, 1))]
        wanted = [sum(n == c and n != ids[row, col] for n in around) for c in range(3)]
        assert sides[:, row, col].tolist() == wanted


@given(
    ids=maps(), height=st.integers(1, 9), least=st.integers(0, 6), mode=st.sampled_from(["exact", "coverage"])
)
def test_strips_of_class_ids_do_not_matter(
    ids: NDArray[np.uint8], height: int, least: int, mode: str
) -> None:
    box = GeoBox(*ids.shape, PLACE, "EPSG:32618")
    options = Vectorize.model_validate({"mode": mode, "min_area": f"{least} px", "simplify": "0 px"})

    def shapes(rows: int) -> Any:
        strips = [ids[None, first : first + rows] for first in range(0, len(ids), rows)]
        found = list(find_class_shapes(ClassMap(box, CLASS_IDS, lambda: iter(strips), 3), [0, 1, 2], options))
        return [polygon.wkb for some in found for polygon in some.polygons]

    whole = shapes(len(ids))
    assert shapes(height) == whole
    if mode == "coverage":
        polygons = shapely.from_wkb(whole)
        assert shapely.coverage_is_valid(polygons)
        assert shapely.area(polygons).sum() == pytest.approx(np.count_nonzero(ids != 255))


def test_outlines_of_ids_lie_half_way_and_specks_go_where_their_border_is_longest(tmp_path: Path) -> None:
    ids = np.full((20, 30), 1, np.uint8)
    ids[:, 15:] = 2
    ids[5, 14:16] = 3  # beside class 1 with 3 sides of its first pixel, beside class 2 with 3 of its second
    ids[12, 15] = 3  # beside class 1 with one side, beside class 2 with three
    whole = {"vectorize.simplify": "0 px", "vectorize.min_area": "0 px"}
    path = write(tmp_path / "ids.tif", ids)
    assert len(layer_of(vectorize(path, tmp_path / "whole.gpkg", whole).file)) == 4
    layer = layer_of(vectorize(path, tmp_path / "ids.gpkg", {"vectorize.simplify": "0 px"}).file)
    assert sorted(layer.class_id) == [1, 2]
    inverse = ~PLACE
    back = shapely.transform(
        layer.geometry.to_numpy(), lambda xy: np.array([inverse @ tuple(point) for point in xy])
    )
    steps = np.rint(shapely.get_coordinates(back) * 2)
    assert np.abs(shapely.get_coordinates(back) * 2 - steps).max() < 1e-4
    center = shapely.Point(15.5, 12.5)
    assert layer.class_id[[polygon.contains(center) for polygon in back]].tolist() == [2]


# What a layer is.


@pytest.mark.parametrize("ending", [".gpkg", ".parquet", ".fgb"])
def test_nothing_found_is_a_whole_layer(ending: str, tmp_path: Path) -> None:
    raster = write(tmp_path / "zero.tif", np.zeros((20, 20), np.float32), names=["roof"])
    made = vectorize(raster, tmp_path / f"2026 roofs{ending}")
    assert (made.polygons, made.layer) == (0, "layer_2026_roofs")
    read = gpd.read_parquet if ending == ".parquet" else pyogrio.read_dataframe
    layer = read(made.file, **({"layer": made.layer} if ending == ".gpkg" else {}))
    assert [name for name in layer.columns if name not in ("geometry", "geom")] == list(FIELDS)
    assert layer.crs == "EPSG:32618"
    if ending == ".gpkg":
        (qml,) = pyogrio.read_dataframe(made.file, layer="layer_styles").styleQML
    else:
        qml = made.file.with_suffix(".qml").read_text()
    assert "singleSymbol" in qml


def test_options_and_raster_name_the_run(tmp_path: Path) -> None:
    raster = write(tmp_path / "p.tif", hills((40, 40), 2)[:1].astype(np.float32))
    runs = [
        vectorize(raster, tmp_path / f"{n}.gpkg", {"vectorize.threshold": threshold}).run_id
        for n, threshold in enumerate(("0.5", "0.5", "0.6"))
    ]
    assert runs[0] != runs[2]
    again = vectorize(raster, tmp_path / "0.gpkg", overwrite=True)
    assert again.run_id == runs[0]
    assert set(layer_of(again.file, again.layer).run_id) == {runs[0]}


def test_the_command_says_what_it_made(geoseg: Command, tmp_path: Path) -> None:
    raster = write(tmp_path / "p.tif", hills((40, 40), 2)[:1].astype(np.float32))
    output = tmp_path / "p.gpkg"
    code, out, err = geoseg(
        "vectorize", raster, "-o", output, "--class", "1=roof", "--set", "vectorize.layer=r"
    )
    assert (code, err) == (0, "")
    assert re.fullmatch(rf"{re.escape(str(output))}: \d+ polygons?\n", out)
    assert set(layer_of(output, "r").class_name) == {"roof"}
    code, out, _ = geoseg("vectorize", raster, "-o", output, "--json", "--overwrite", "--as", "probability")
    told = json.loads(out)
    assert code == 0
    assert list(told) == ["file", "layer", "kind", "mode", "polygons", "classes", "run_id", "warnings"]
    assert told["classes"] == [{"id": 1, "name": "class_1"}]


# What cannot be done is said in one line, and nothing is left of it.


def mistaken(tmp_path: Path) -> dict[str, tuple[Path, tuple[str, ...], str]]:
    """Raster, options and what must be said."""
    p = hills((20, 20), 3).astype(np.float32)
    one, byte = write(tmp_path / "one.tif", p[:1]), np.zeros((20, 20), np.uint8)
    high, stray = p[:2].copy(), p[:1] + 0
    high[1, 3, 4] = 1.5
    stray[0, 0, 0] = 1 + 5e-7
    assert vectorize(write(tmp_path / "stray.tif", stray), tmp_path / "ok.gpkg").kind == "probability"
    (tmp_path / "ok.gpkg").unlink()
    local = 'LOCAL_CS["site",UNIT["furlong of here",1]]'
    ids = write(tmp_path / "ids.tif", byte)
    many = np.arange(400, dtype=np.int16).reshape(20, 20)
    return {
        "no file": (tmp_path / "gone.tif", (), "does not exist"),
        "no raster": (Path(__file__), (), "is not a GeoTIFF"),
        "no CRS": (write(tmp_path / "crs.tif", p, crs=None), (), "has no CRS"),
        "local CRS": (
            write(tmp_path / "local.tif", p, crs=local),
            (),
            "no place on the globe",
        ),
        "no data": (write(tmp_path / "nan.tif", p * np.nan), (), "has no pixel with data"),
        "no ids": (write(tmp_path / "blank.tif", byte, nodata=0), (), "has no pixel with data"),
        "too many bands": (
            write(tmp_path / "wide.tif", np.zeros((256, 2, 2), np.float32)),
            (),
            "256 bands.*255",
        ),
        "beyond 1": (write(tmp_path / "high.tif", high), (), r"value 1\.5 in band 2 \(row 3, column 4\)"),
        "photo": (write(tmp_path / "rgb.tif", np.stack([byte] * 3)), (), "3 bands of uint8 without a scale"),
        "deep": (
            write(tmp_path / "deep.tif", byte.astype(np.uint16)),
            ("--as", "probability"),
            "without a scale",
        ),
        "ids in bands": (one.with_name("high.tif"), ("--as", "classes"), "class ids are one band"),
        "no ids either": (one, ("--as", "classes"), "class ids are whole numbers"),
        "ids of objects": (
            write(tmp_path / "many.tif", many),
            (),
            r"more than 255 different whole numbers: ids of objects.*gdal_polygonize\.py.*gdal_calc\.py",
        ),
        "measurements": (
            write(tmp_path / "bytes.tif", np.arange(256, dtype=np.uint8).reshape(16, 16)),
            (),
            "more than 255 different values.*--as probability",
        ),
        "top": (
            write(tmp_path / "top.tif", p[:1], names=["probability of the class"]),
            (),
            "give classes.tif",
        ),
        "ending": (
            one,
            ("-o", str(tmp_path / "out.shp")),
            "ending of a format: .gpkg, .parquet, .fgb, .geojson",
        ),
        "format": (one, ("--set", "vectorize.format=fgb"), "write out.fgb"),
        "there": (one, ("-o", str(one.with_name("one.tif").with_suffix(".gpkg"))), "is there already"),
        "key": (one, ("--set", "vectorize.treshold=0.4"), "did you mean 'threshold'"),
        "section": (one, ("--set", "mode=exact"), "did you mean 'vectorize.mode'"),
        "value": (one, ("--set", "vectorize.mode=exakt"), "did you mean 'exact'"),
        "unit": (one, ("--set", "vectorize.min_area=8"), "needs a unit"),
        "layer": (one, ("--set", "vectorize.layer=a b"), "cannot name a layer"),
        "merge": (one, ("--set", "vectorize.merge=true"), "joins the scenes of a run"),
        "no such class": (one, ("--set", "vectorize.classes=[class_2]"), "did you mean 'class_1'"),
        "no such band": (one, ("--class", "7=roof"), "has no class 7"),
        "split of ids": (ids, ("--set", "vectorize.split.method=none"), "needs probabilities"),
        "threshold of ids": (ids, ("--set", "vectorize.threshold=0.4"), "needs probabilities"),
        "name": (one, ("--class", "roof"), "needs ID=NAME"),
        "equals": (one, ("--set", "vectorize.mode"), "needs key=value"),
    }


def test_what_cannot_be_done_is_one_line_and_leaves_nothing(geoseg: Command, tmp_path: Path) -> None:
    cases = mistaken(tmp_path)
    (tmp_path / "one.gpkg").write_text("not ours")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*")}
    for case, (raster, options, said) in cases.items():
        output = () if "-o" in options else ("-o", str(tmp_path / "new" / "out.gpkg"))
        code, out, err = geoseg("vectorize", raster, *output, *options)
        assert (code, out) == (2, ""), (case, out, err)
        line = err.splitlines()[-1]
        assert re.search(said, line), (case, err)
        assert err.count("\n") == 1 or "Usage:" in err, (case, err)
        if not options:
            assert raster.name in line, case
    assert {path: path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_the_raster_and_its_style_are_never_replaced(tmp_path: Path) -> None:
    raster = write(tmp_path / "p.tif", hills((40, 40), 2)[:1].astype(np.float32))
    with pytest.raises(GeosegError, match="would be taken for the raster's"):
        vectorize(raster, tmp_path / "p.fgb", overwrite=True)
    link = tmp_path / "p.gpkg"
    link.symlink_to(raster)
    with pytest.raises(GeosegError, match="is the raster itself"):
        vectorize(raster, link, overwrite=True)
