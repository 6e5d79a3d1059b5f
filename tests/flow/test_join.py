"""Objects on the edges of scenes: in the merged layer each is one polygon, as in a map that was not cut."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from pyproj import Transformer
from scipy import ndimage
from support.rasters import CRS, TRANSFORM, write_raster
from support.stac import stac_item, write_catalog
from support.stored_maps import map_probabilities
from synthetic.neighborhood import generate

from geoseg.arrays import UInt8
from geoseg.config.workflow import Write
from geoseg.flow.run.join import regions
from geoseg.flow.run.join.probabilities import ProbabilityMosaic, StoredScene
from geoseg.flow.run.outputs import write_outputs
from geoseg.flow.run.prepare import Prepared
from geoseg.flow.run.run import run
from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window
from geoseg.io.vector.frame import read_frame
from geoseg.io.vector.merge import SceneLayer, merge_layers
from geoseg.polygons.attributes import FIELDS

pytestmark = pytest.mark.slow

SIDE = 180
WHOLE = GeoBox(SIDE, SIDE, TRANSFORM, CRS)
PIXEL = 0.3

Grids = dict[str, GeoBox]
Map = Callable[[str, str], Path]


def grid(row: float, col: float, height: float, width: float, pixel: float = PIXEL) -> GeoBox:
    """Ground in pixels of the whole, whose own pixels are ``pixel`` meters."""
    corner = TRANSFORM @ (col, row)
    shape = round(height * PIXEL / pixel), round(width * PIXEL / pixel)
    return GeoBox(*shape, Affine(pixel, 0, corner[0], 0, -pixel, corner[1]), CRS)


def tiles(row: int, col: int, overlap: int) -> Grids:
    """Four scenes that meet at a pixel, or overlap; their names are not in the order of their places."""
    down, right = SIDE - row, SIDE - col
    return {
        "d": grid(0, 0, row + overlap, col + overlap),
        "b": grid(0, col, row + overlap, right),
        "c": grid(row, 0, down, col + overlap),
        "a": grid(row, col, down, right),
    }


CUTS: Mapping[str, Grids] = {
    "whole": {"all": WHOLE},
    "four": tiles(83, 91, 0),
    "four that overlap a little": tiles(83, 91, 3),
    "four that overlap": tiles(70, 80, 40),
}


@pytest.fixture(scope="module")
def field() -> UInt8:
    """Probabilities of houses that stand close, some small ones on the cuts: uint8 (1, SIDE, SIDE)."""
    random = np.random.default_rng(5)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    inside, made = np.full(x.shape, -9.0), list[tuple[float, float, float]]()
    small = [(91, 20 + 18 * n, 5.5, 5.5, 0.0) for n in range(2)] + [(40, 83, 5.5, 5.5, 0.0)]
    small += [(40 + 22 * n, 150, 10.9, 12.0, 0.0) for n in range(5)]  # a terrace
    drawn = (
        (*random.uniform(0, SIDE, 2), *random.uniform(7, 18, 2), random.uniform(0, math.pi))
        for _ in range(400)
    )
    for col, row, long, wide, turn in (*small, *drawn):
        radius = math.hypot(long, wide)
        is_terrace = (row, long) == (150, 10.9)
        if is_terrace or all(math.hypot(col - c, row - r) > radius + other - 2 for c, r, other in made):
            made.append((col, row, radius))
            along = (x - col) * math.cos(turn) + (y - row) * math.sin(turn)
            across = (y - row) * math.cos(turn) - (x - col) * math.sin(turn)
            inside = np.maximum(inside, np.minimum(long - abs(along), wide - abs(across)))
    inside += 3 * ndimage.gaussian_filter(random.normal(size=x.shape), 2)
    return np.rint(200 / (1 + np.exp(-1.5 * inside))).astype(np.uint8)[None]


def seen(field: UInt8, at: GeoBox) -> UInt8:
    """The field on a grid: its pixels, or between them."""
    move = ~TRANSFORM @ at.transform
    rows = move.e * (np.arange(at.height) + 0.5) + move.f - 0.5
    cols = move.a * (np.arange(at.width) + 0.5) + move.c - 0.5
    places = np.meshgrid(rows, cols, indexing="ij")
    return np.rint(ndimage.map_coordinates(field[0] * 1.0, places, order=1, mode="nearest")).astype(np.uint8)[
        None
    ]


def merged(prepared: Prepared) -> gpd.GeoDataFrame:
    write_outputs(prepared, {p.scene.ref.id for p in prepared.plans}, merge=True, coverage=False)
    (path,) = prepared.loaded.output.glob("merged.[gf]*")
    return pyogrio.read_dataframe(path, layer="roofs")


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory, field: UInt8) -> Callable[[str, str], Prepared]:
    """The field's maps, cut in some way and in some mode; each is made once."""
    known: dict[tuple[str, str], Prepared] = {}

    def make(cut: str, mode: str) -> Prepared:
        if (cut, mode) not in known:
            folder = tmp_path_factory.mktemp("maps")
            known[cut, mode] = map_probabilities(folder, CUTS[cut], lambda _, at: seen(field, at), mode=mode)
        return known[cut, mode]

    return make


def partners(whole: gpd.GeoDataFrame, found: gpd.GeoDataFrame, least: float) -> list[int]:
    """For each object of the whole its one in the other layer, where none shares ground with two."""
    tree, out = shapely.STRtree(found.geometry), []
    for polygon in whole.geometry:
        near = tree.query(polygon, predicate="intersects")
        shared = shapely.area(shapely.intersection(polygon, found.geometry.to_numpy()[near]))
        near = near[shared > 0.02 * polygon.area]
        assert near.size == 1, f"{near.size} objects where there is one at {polygon.centroid}"
        other = found.geometry[near[0]]
        assert shapely.intersection(polygon, other).area >= least * shapely.union(polygon, other).area
        out.append(int(near[0]))
    assert len(set(out)) == len(found)
    assert shapely.union_all(found.geometry).area == pytest.approx(
        shapely.area(found.geometry).sum(), rel=1e-4
    )
    return out


@pytest.mark.parametrize("mode", ["objects", "exact"])
@pytest.mark.parametrize("cut", [name for name in CUTS if name != "whole"])
def test_merged_tiles_are_the_map_that_was_not_cut(
    cut: str, mode: str, mapped: Callable[[str, str], Prepared]
) -> None:
    whole, prepared = merged(mapped("whole", mode)), mapped(cut, mode)
    found = merged(prepared)
    order = partners(whole, found, 0.97)
    assert found.geometry.area.sum() == pytest.approx(whole.geometry.area.sum(), rel=1e-3)
    assert found.geometry.is_valid.all()
    assert found["id"].is_unique
    assert found.area_m2.sum() == pytest.approx(whole.area_m2.sum(), rel=1e-3)
    assert found.iloc[order].conf_mean.to_numpy() == pytest.approx(whole.conf_mean.to_numpy(), abs=5e-3)
    edge = shapely.LinearRing(WHOLE.corners)
    inner = found.geometry.distance(edge) > 2 * PIXEL
    assert "overlap" in cut or not (found.touches_edge & inner).any()
    # What lies away from the cuts is as it is in its scene, to the bit.
    rows = [pyogrio.read_dataframe(plan.folder / "roofs.gpkg", layer="roofs") for plan in prepared.plans]
    own = {wkb for one in rows for wkb in one.geometry[~one.touches_edge].to_wkb()}
    lines = shapely.union_all([shapely.LinearRing(at.corners) for at in CUTS[cut].values()])
    blocks = shapely.get_parts(shapely.union_all(found.geometry.buffer(PIXEL)))  # of houses that touch
    near_cuts = shapely.union_all(blocks[shapely.distance(blocks, lines) <= 4 * PIXEL])
    away = found.geometry[~found.geometry.intersects(near_cuts)]
    assert len(away) > 1
    assert set(away.to_wkb()) <= own
    near = shapely.STRtree(shapely.from_wkb(list(own)))
    for polygon in found.geometry:  # nor does what is found again change in its last bits
        alike = near.geometries[near.query(polygon, predicate="intersects")]
        for one in alike[shapely.equals_exact(shapely.normalize(alike), shapely.normalize(polygon), 1e-5)]:
            assert one.wkb == polygon.wkb


@pytest.mark.parametrize("mode", ["objects", "exact"])
def test_the_order_of_scenes_does_not_matter(mode: str, mapped: Callable[[str, str], Prepared]) -> None:
    prepared = mapped("four", mode)
    first = merged(prepared)
    (prepared.loaded.output / "run.json").unlink()
    again = merged(replace(prepared, plans=prepared.plans[::-1]))
    assert again.geometry.to_wkb().tolist() == first.geometry.to_wkb().tolist()
    assert again.drop(columns="geometry").equals(first.drop(columns="geometry"))


@pytest.mark.parametrize("suffix", ["parquet", "fgb"])
def test_the_format_does_not_matter(
    suffix: str, field: UInt8, mapped: Callable[[str, str], Prepared], tmp_path: Path
) -> None:
    prepared = map_probabilities(tmp_path, CUTS["four"], lambda _, at: seen(field, at), format=suffix)
    write_outputs(prepared, {p.scene.ref.id for p in prepared.plans}, merge=True, coverage=False)
    found = read_frame(prepared.loaded.output / f"merged.{suffix}", "roofs")
    assert sorted(found.geometry.to_wkb()) == sorted(merged(mapped("four", "objects")).geometry.to_wkb())


@pytest.mark.parametrize("why", ["probabilities are not stored", "regions are too large"])
@pytest.mark.parametrize("mode", ["objects", "exact"])
@pytest.mark.parametrize("cut", ["four", "four that overlap"])
def test_pieces_are_united_where_they_cannot_be_fitted_again(
    cut: str, mode: str, why: str, mapped: Callable[[str, str], Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, prepared = merged(mapped("whole", mode)), mapped(cut, mode)
    (prepared.loaded.output / "run.json").unlink(missing_ok=True)
    if why == "regions are too large":
        monkeypatch.setattr(regions, "_LARGEST", 1)
    else:
        plans = [replace(plan, write=Write(grid="scene")) for plan in prepared.plans]
        prepared = replace(prepared, plans=tuple(plans))
    found = merged(prepared)
    (prepared.loaded.output / "run.json").unlink()
    united = found[found["shape"] == ("united" if mode == "objects" else "exact")]
    assert len(united) > 0
    own = [pyogrio.read_dataframe(plan.folder / "roofs.gpkg", layer="roofs") for plan in prepared.plans]
    ground = shapely.union_all(np.concatenate([one.geometry.to_numpy() for one in own]))
    assert shapely.difference(ground, shapely.union_all(found.geometry)).area < 0.01 * ground.area
    assert found.geometry.is_valid.all()
    large = whole[whole.area_m2 > 20].reset_index(drop=True)
    tree = shapely.STRtree(found.geometry)
    for polygon in large.geometry:
        near = found.geometry.to_numpy()[tree.query(polygon, predicate="intersects")]
        shared = shapely.area(shapely.intersection(polygon, near))
        assert (shared > 0.03 * polygon.area).sum() == 1
        assert shared.max() > 0.75 * polygon.area  # a piece below the smallest area is in no scene's layer


@pytest.mark.parametrize(
    "other",
    [grid(0, 91.5, SIDE, SIDE - 92), grid(0, 91, SIDE, SIDE - 91, 0.29), grid(0, 71.5, SIDE, SIDE - 72)],
    ids=["half a pixel away", "of another resolution", "half a pixel off in an overlap"],
)
def test_grids_need_not_be_one(
    other: GeoBox, field: UInt8, mapped: Callable[[str, str], Prepared], tmp_path: Path
) -> None:
    grids = {"a": grid(0, 0, SIDE, 91), "b": other}
    prepared = map_probabilities(tmp_path, grids, lambda _, at: seen(field, at))
    partners(merged(mapped("whole", "objects")), merged(prepared), 0.8)


DEGREE = 2.7e-6


@pytest.mark.parametrize("where", ["at the antimeridian", "in a CRS that is not the layer's"])
def test_tiles_become_one_layer(where: str, field: UInt8, tmp_path: Path) -> None:
    if where == "at the antimeridian":
        west, pixel, crs, turn = 180 - 60 * DEGREE, DEGREE, "EPSG:4326", 360
    else:
        west, pixel, crs, turn = 621_000, PIXEL, CRS, 0
    north = -17 if turn else 3_350_000
    whole = GeoBox(SIDE, SIDE, Affine(pixel, 0, west, 0, -pixel, north), crs)
    left, right = whole[Window(0, 0, SIDE, 91)], whole[Window(0, 91, SIDE, SIDE - 91)]
    right = replace(right, transform=Affine.translation(-turn, 0) @ right.transform)
    parts = {"b": field[..., :91], "c": field[..., 91:], "whole": field}
    grids = {"b": left, "c": right}
    if not turn:  # the scene whose id comes first decides on the CRS
        there = Transformer.from_crs(CRS, "EPSG:26915", always_xy=True).transform(622_000, 3_350_000)
        grids = {"a": GeoBox(20, 20, Affine(PIXEL, 0, there[0], 0, -PIXEL, there[1]), "EPSG:26915")} | grids
        parts["a"] = np.zeros((1, 20, 20), np.uint8)
    cut = merged(
        map_probabilities(tmp_path / "cut", grids, lambda name, _: np.ascontiguousarray(parts[name]))
    )
    uncut = merged(map_probabilities(tmp_path / "uncut", {"whole": whole}, lambda *_: field))
    assert cut.crs == ("EPSG:4326" if turn else "EPSG:26915")
    partners(uncut.to_crs(cut.crs), cut, 0.97)


@pytest.mark.parametrize("west", [0, 60])
def test_scenes_of_other_years_lose_nothing(west: int, field: UInt8, tmp_path: Path) -> None:
    def years(name: str, at: GeoBox) -> UInt8:
        return seen(field if name == "a" else np.roll(field, (37, 59), (1, 2)), at)

    grids = {"a": grid(0, 0, SIDE, 120), "b": grid(0, west, SIDE, 120)}
    prepared = map_probabilities(tmp_path, grids, years)
    scenes = [SceneLayer(p.scene.ref.id, p.folder / "roofs.gpkg", p.grid) for p in prepared.plans]
    merge_layers(tmp_path / "apart.gpkg", "roofs", scenes, schema=FIELDS)
    apart, found = pyogrio.read_dataframe(tmp_path / "apart.gpkg", layer="roofs"), merged(prepared)
    if west == 0:  # nothing goes on beyond an edge
        assert found.geometry.to_wkb().tolist() == apart.geometry.to_wkb().tolist()
    ground = shapely.union_all(apart.geometry)
    assert shapely.difference(ground, shapely.union_all(found.geometry)).area < 0.015 * ground.area
    made = found[~found.geometry.to_wkb().isin(apart.geometry.to_wkb())]
    assert (len(made) > 0) == (west > 0)
    for n, polygon in made.geometry.items():  # what is joined takes no ground of what stays
        others = found.geometry.drop(n).to_numpy()
        assert shapely.area(shapely.intersection(polygon, others)).max() < 2e-3 * PIXEL**2


def test_what_is_joined_takes_no_ground_of_what_stays(tmp_path: Path) -> None:
    # Two scenes share columns 60 to 120 and disagree: b has a wing of the house where a has a shed.
    a, b = (np.full((1, 80, 120), 10, np.uint8) for _ in range(2))
    a[:, 20:40, 70:100] = 190
    a[:, 45:60, 40:120] = 190
    b[:, 45:60, :50] = 190
    b[:, 20:60, 35:50] = 190
    grids = {"a": grid(0, 0, 80, 120), "b": grid(0, 60, 80, 120)}
    found = merged(map_probabilities(tmp_path, grids, lambda name, _: {"a": a, "b": b}[name], mode="exact"))
    shed, house = found.sort_values("area_m2").geometry
    assert shed.area == pytest.approx(20 * 30 * PIXEL**2)
    assert house.area == pytest.approx((15 * 70 + 15 * 25 - 5 * 20) * PIXEL**2)
    assert shed.intersection(house).area < 1e-6


def test_in_an_overlap_the_middle_parts_the_scenes(tmp_path: Path) -> None:
    scenes = []
    for n, col in enumerate((0, 30)):
        at = grid(0, col, 50, 70)
        write_raster(tmp_path / f"{n}.tif", np.full(at.shape, 50 + n, np.uint8), at)
        scenes.append(StoredScene(tmp_path / f"{n}.tif", at))
    mosaic = ProbabilityMosaic(scenes, 1)
    patch = mosaic.patch(1, Window(20, -30, 10, 110))
    mosaic.close()
    owner = np.repeat([0, 1, -1], [50, 50, 10])
    assert (patch.owner == owner).all()
    assert (patch.stored == np.where(owner < 0, 255, 50 + owner)).all()


def test_four_tiles_of_a_survey_run_to_one_layer(tmp_path: Path) -> None:
    place = generate(size=(160, 240), seed=5)
    names = []
    for row, col in ((0, 0), (0, 120), (80, 0), (80, 120)):
        at = Window(row, col, 80, 120)
        names.append(f"tile {row} {col}")
        where = GeoBox(160, 240, TRANSFORM, CRS)[at]
        write_raster(tmp_path / names[-1] / "scene.tif", place.image[(slice(None), *at.slices)], where)
    write_catalog(tmp_path / "catalog.json", *map(stac_item, names))
    (tmp_path / "map.yaml").write_text(
        "catalog: catalog.json\nmodel: buildings-mininet2\noutput: maps\ntiling: {halo: 32 px}\n"
        "vectorize: {merge: true, layer: roofs}\n"
    )
    summary = run(tmp_path / "map.yaml", {"compute.executor": "serial"})
    assert (summary.count("done"), summary.unwritten) == (4, None)
    known = json.loads((tmp_path / "maps" / "run.json").read_text())["merged"]
    found = pyogrio.read_dataframe(tmp_path / "maps" / "merged.gpkg", layer="roofs")
    assert known["features"] == len(found)
    assert known["pieces"] > known["joined"] > 0
    corner = TRANSFORM @ (120, 80)
    west, south, east, north = found.total_bounds
    cuts = shapely.MultiLineString(
        [[(corner[0], south), (corner[0], north)], [(west, corner[1]), (east, corner[1])]]
    )
    crossing = found.geometry.intersection(cuts.buffer(0.01)).area > 0.02 * PIXEL
    assert crossing.any()
    for polygon in found.geometry[crossing]:  # on a cut no two lie side by side
        others = found.geometry[found.geometry != polygon]
        beside = others.intersection(polygon.buffer(PIXEL / 2)).intersection(cuts.buffer(PIXEL / 2))
        assert (beside.area < PIXEL**2).all()
