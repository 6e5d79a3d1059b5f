"""One layer for a run: nothing twice, nothing lost, whatever the order of the scenes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Transformer

from geoseg.errors import OutputError
from geoseg.grid.geobox import GeoBox
from geoseg.io.vector.features import Features
from geoseg.io.vector.merge import Merged, merge_layers
from geoseg.io.vector.placement import SceneLayer, placed
from geoseg.io.vector.reader import layer_info, read_pieces
from geoseg.io.vector.writer import Overview, overview_layer, write_features
from geoseg.polygons.attributes import CONFIDENCE
from geoseg.polygons.geodesic import AreaMeter
from geoseg.polygons.mosaic import counterparts, dropped

SCHEMA = {"id": "text", CONFIDENCE: "real", "touches_edge": "boolean", "scene": "text"}
UTM = "EPSG:26914"

Row = tuple[shapely.Polygon, str, float, bool]
"""Outline, id, confidence, touches the edge."""


def place(x: float, y: float) -> tuple[float, float]:
    """Meters that count from the origin, in the CRS."""
    return 621_000.0 + x, 3_350_000.0 + y


def grid(west: float, north: float, width: int, height: int, crs: str = UTM) -> GeoBox:
    """A grid of meters; west and north count from the origin."""
    x, y = place(west, north)
    return GeoBox(height, width, Affine(1, 0, x, 0, -1, y), crs)


def features(scene: str, rows: Sequence[Row]) -> Features:
    geometry = np.array([row[0] for row in rows], object)
    texts = np.array([row[1] for row in rows], object)
    return Features(
        geometry,
        {
            "id": texts,
            CONFIDENCE: np.array([row[2] for row in rows], float),
            "touches_edge": np.array([row[3] for row in rows], bool),
            "scene": np.array([scene] * len(rows), object),
        },
    )


def write(folder: Path, scene: str, geobox: GeoBox, rows: Sequence[Row], ending: str = ".gpkg") -> SceneLayer:
    path = folder / scene / f"objects{ending}"
    write_features(path, "objects", [features(scene, rows)], geobox=geobox, schema=SCHEMA)
    return SceneLayer(scene, path, geobox)


def merge(folder: Path, scenes: Sequence[SceneLayer], name: str = "merged.gpkg", **options: Any) -> Merged:
    return merge_layers(folder / name, "objects", scenes, schema=SCHEMA, **options)


def read(path: Path) -> list[tuple[str, str, float, bool, bytes]]:
    rows = []
    for piece in read_pieces(path, "objects", list(SCHEMA)):
        values = [piece.features.attributes[name].tolist() for name in SCHEMA]
        rows += list(zip(*values, shapely.to_wkb(piece.features.geometry).tolist(), strict=True))
    return [(i, s, c, t, g) for i, c, t, s, g in rows]


def box(x: float, y: float, width: float, height: float) -> shapely.Polygon:
    """A rectangle whose lower left corner counts from the origin."""
    x, y = place(x, y)
    return shapely.box(x, y, x + width, y + height)


def seen(scene: str, geobox: GeoBox, objects: Sequence[tuple[shapely.Polygon, float]]) -> list[Row]:
    """What a scene shows of objects (outline, confidence): cut at its edge."""
    frame = shapely.box(*geobox.bounds)
    rows: list[Row] = []
    for number, (outline, confidence) in enumerate(objects):
        shown = outline.intersection(frame)
        if shown.area > 0:
            cut = not outline.within(shapely.buffer(frame, -1e-9))
            rows.append((shown, f"{scene}-{number}", confidence, cut))
    return rows


# --- rules by hand --------------------------------------------------------------------------------------

LEFT, RIGHT = grid(0, 40, 60, 40), grid(40, 40, 60, 40)
"""Scenes that share the columns from 40 m to 60 m."""


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        # alike: the surer one stays, then the one whose scene comes first
        ((box(45, 5, 8, 8), 0.7, False), (box(46, 5, 8, 8), 0.9, False), ["b-0"]),
        ((box(45, 5, 8, 8), 0.9, False), (box(46, 5, 8, 8), 0.9, False), ["a-0"]),
        # alike: the whole one stays, however sure the cut one is
        ((box(52, 5, 8, 8), 0.99, True), (box(52, 5, 10, 8), 0.6, False), ["b-0"]),
        # a small piece of a whole object goes
        ((box(58, 5, 2, 8), 0.99, True), (box(58, 5, 12, 8), 0.6, False), ["b-0"]),
        # a small object that is whole stays beside a larger one: it is no piece
        ((box(50, 6, 2, 2), 0.9, False), (box(48, 5, 10, 8), 0.6, False), ["a-0", "b-0"]),
        # a large cut object is not replaced by a small one in it: ground outside would be lost
        ((box(0, 5, 60, 8), 0.9, True), (box(48, 6, 4, 4), 0.6, False), ["a-0", "b-0"]),
        # less than half alike, less than four fifths within
        ((box(45, 5, 8, 8), 0.9, False), (box(49, 5, 8, 8), 0.8, False), ["a-0", "b-0"]),
        ((box(56, 5, 4, 8), 0.9, True), (box(57, 5, 20, 8), 0.8, False), ["a-0", "b-0"]),
        # neighbors that only touch
        ((box(45, 5, 5, 8), 0.9, False), (box(50, 5, 5, 8), 0.8, False), ["a-0", "b-0"]),
    ],
)
def test_the_rules_say_which_object_stays(
    tmp_path: Path,
    left: tuple[shapely.Polygon, float, bool],
    right: tuple[shapely.Polygon, float, bool],
    expected: list[str],
) -> None:
    a = write(tmp_path, "a", LEFT, [(left[0], "a-0", *left[1:])])
    b = write(tmp_path, "b", RIGHT, [(right[0], "b-0", *right[1:])])
    merged = merge(tmp_path, [b, a])
    assert [row[0] for row in read(tmp_path / "merged.gpkg")] == expected
    assert (merged.features, merged.duplicates) == (len(expected), 2 - len(expected))


def test_a_chain_keeps_what_has_no_better_one_left(tmp_path: Path) -> None:
    shared = grid(0, 40, 60, 40)
    a = write(tmp_path, "a", shared, [(box(10, 5, 10, 8), "a-0", 0.9, False)])
    b = write(tmp_path, "b", shared, [(box(13, 5, 10, 8), "b-0", 0.8, False)])
    c = write(tmp_path, "c", shared, [(box(16, 5, 10, 8), "c-0", 0.7, False)])
    for order in permutations((a, b, c)):
        merge(tmp_path, order)
        assert [row[0] for row in read(tmp_path / "merged.gpkg")] == ["a-0", "c-0"]


# --- laws -----------------------------------------------------------------------------------------------


@st.composite
def objects(draw: st.DrawFn) -> list[tuple[shapely.Polygon, float]]:
    """Objects on a lattice of 10 m over both scenes, apart from each other, with confidences."""
    made = []
    for column in range(10):
        for row in range(4):
            if draw(st.booleans()):
                width, height = draw(st.integers(2, 9)), draw(st.integers(2, 9))
                made.append((box(10 * column, 10 * row, width, height), draw(st.integers(50, 99)) / 100))
    return made


@st.composite
def two_scenes(draw: st.DrawFn) -> tuple[GeoBox, GeoBox]:
    start = draw(st.integers(20, 70))
    return grid(0, 40, draw(st.integers(30, 80)), 40), grid(start, draw(st.integers(20, 40)), 100 - start, 20)


@pytest.mark.slow
@settings(max_examples=12)
@given(objects(), two_scenes(), st.randoms(use_true_random=False))
def test_every_object_is_there_once_whatever_the_order(
    truth: list[tuple[shapely.Polygon, float]], boxes: tuple[GeoBox, GeoBox], random: Any
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = {scene: seen(scene, where, truth) for scene, where in zip("ab", boxes, strict=True)}
        scenes = [write(folder, s, where, rows[s]) for s, where in zip("ab", boxes, strict=True)]
        merged = merge(folder, scenes)
        merge(folder, scenes[::-1], "reverse.gpkg")
        kept = read(folder / "merged.gpkg")
        assert read(folder / "reverse.gpkg") == kept
        shuffled = {scene: random.sample(found, len(found)) for scene, found in rows.items()}
        others = [write(folder, s, where, shuffled[s]) for s, where in zip("ab", boxes, strict=True)]
        merge(folder, others, "shuffled.gpkg")
        assert sorted(read(folder / "shuffled.gpkg")) == sorted(kept)

    ids = [row[0] for row in kept]
    assert len(set(ids)) == len(ids) == merged.features
    assert merged.features + merged.duplicates == sum(map(len, rows.values()))
    sources = {row[1]: row for found in rows.values() for row in found}
    assert all(shapely.to_wkb(sources[i][0]) == wkb for i, *_, wkb in kept)
    numbers = [int(i.split("-")[1]) for i in ids]
    whole = {int(i.split("-")[1]) for i, row in sources.items() if not row[3]}
    for number in whole:  # seen whole by somebody: there once, and whole
        assert [sources[i][3] for i in ids if i.endswith(f"-{number}")] == [False]
    assert set(numbers) == {int(i.split("-")[1]) for i in sources}
    frames = {scene: shapely.box(*where.bounds) for scene, where in zip("ab", boxes, strict=True)}
    for i, row in sources.items():
        if not row[0].intersects(frames["b" if i.startswith("a") else "a"]):
            assert i in ids


rectangles = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 8), st.integers(1, 12), st.integers(1, 8)), max_size=8
)


def made(rows: list[tuple[int, int, int, int]]) -> NDArray[np.object_]:
    return np.array([shapely.box(x, y, x + w, y + h) for x, y, w, h in rows], object)


@given(st.lists(rectangles, min_size=2, max_size=4), st.data())
def test_no_two_that_stay_are_the_same_and_what_goes_has_a_counterpart(
    scenes: list[list[tuple[int, int, int, int]]], data: st.DataObject
) -> None:
    shapes = [made(rows) for rows in scenes]
    cuts = [np.array([data.draw(st.booleans()) for _ in rows], bool) for rows in scenes]
    first = np.cumsum([0, *map(len, scenes)])
    everything = np.concatenate([np.zeros(0, object), *shapes])
    areas = shapely.area(everything).tolist()
    ranks = [
        (bool(cut), -data.draw(st.integers(5, 9)) / 10, f"s{scene}", str(n))
        for scene, flags in enumerate(cuts)
        for n, cut in enumerate(flags)
    ]
    alike: list[tuple[int, int]] = []
    within: list[tuple[int, int]] = []
    for a, b in combinations(range(len(scenes)), 2):
        found = counterparts(shapes[a], shapes[b], cuts[a], cuts[b])
        back = counterparts(shapes[b], shapes[a], cuts[b], cuts[a])
        assert sorted(map(tuple, found.alike)) == sorted((n, m) for m, n in back.alike)
        starts = np.array((first[a], first[b]))
        alike += [(int(m), int(n)) for m, n in found.alike + starts]
        for (m, n), holds in zip(found.within + starts, found.first_holds, strict=True):
            within.append((int(m), int(n)) if holds else (int(n), int(m)))
    for m, n in alike:
        shared = everything[m].intersection(everything[n]).area
        assert shared / everything[m].union(everything[n]).area >= 0.5 - 1e-12
    gone = dropped(ranks, areas, alike, within)
    assert dropped(ranks, areas, [pair[::-1] for pair in alike[::-1]], within[::-1]) == gone
    for m, n in alike:
        assert m in gone or n in gone
    for larger, piece in within:
        assert areas[larger] > areas[piece]
        assert ranks[piece][0]
        assert larger in gone or piece in gone
    for n in gone:
        better = [m for pair in alike if n in pair for m in pair if m != n and ranks[m] < ranks[n]]
        assert set(better) - gone or any(piece == n for _, piece in within)


# --- coverages ------------------------------------------------------------------------------------------


COVER = {
    "id": "text",
    "touches_edge": "boolean",
    CONFIDENCE: "real",
    "area_m2": "real",
    "perimeter_m": "real",
}


def cover(folder: Path, scene: str, where: GeoBox, random: np.random.Generator) -> SceneLayer:
    """A scene whose ground is cut into cells; some of it is missing."""
    frame = shapely.box(*where.bounds)
    west, south, east, north = frame.bounds
    points = shapely.MultiPoint(
        np.stack([random.uniform(west, east, 25), random.uniform(south, north, 25)], axis=1)
    )
    cells = shapely.intersection(shapely.get_parts(shapely.voronoi_polygons(points, extend_to=frame)), frame)
    cells = cells[random.random(cells.size) > 0.1]
    count = cells.size
    sizes = AreaMeter.of(where).sizes(cells)
    values = {
        "id": np.array([f"{scene}-0-{n}" for n in range(count)], object),
        "touches_edge": np.zeros(count, bool),
        CONFIDENCE: np.full(count, 0.5),
        "area_m2": sizes[0],
        "perimeter_m": sizes[1],
    }
    path = folder / scene / "objects.gpkg"
    write_features(path, "objects", [Features(cells, values)], geobox=where, schema=COVER)
    return SceneLayer(scene, path, where)


@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1))
def test_coverages_join_without_gap_or_overlap(seed: int) -> None:
    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        places = {"a": LEFT, "b": RIGHT, "c": grid(30, 20, 40, 40)}
        scenes = [cover(folder, scene, where, random) for scene, where in places.items()]
        for result, order in (("merged.gpkg", scenes), ("other.gpkg", scenes[::-1])):
            merge_layers(folder / result, "objects", order, schema=COVER, coverage=True)
        found, again = (
            [p.features for p in read_pieces(folder / result, "objects", list(COVER))]
            for result in ("merged.gpkg", "other.gpkg")
        )
        every = [p.features for one in scenes for p in read_pieces(one.path, "objects", list(COVER))]
    merged = np.concatenate([one.geometry for one in found])
    assert shapely.to_wkb(merged).tolist() == [g for one in again for g in shapely.to_wkb(one.geometry)]
    ground = shapely.union_all(np.concatenate([one.geometry for one in every]))
    assert shapely.area(merged).sum() == pytest.approx(ground.area, rel=1e-6)  # nothing twice
    assert shapely.union_all(merged).symmetric_difference(ground).area < 1e-6 * ground.area  # nothing lost
    ids = [i for one in found for i in one.attributes["id"].tolist()]
    assert len(set(ids)) == len(ids)
    first = dict(zip(every[0].attributes["id"], every[0].geometry, strict=True))
    assert all(g.equals_exact(first[i]) for i, g in zip(ids, merged, strict=True) if i.startswith("a"))
    for measured, meant in zip(AreaMeter.of(LEFT).sizes(merged), ("area_m2", "perimeter_m"), strict=True):
        told = np.concatenate([one.attributes[meant] for one in found])
        assert told == pytest.approx(measured, rel=1e-4)


# --- files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".gpkg", ".fgb", ".parquet"])
def test_scenes_of_every_format_merge_alike(tmp_path: Path, ending: str) -> None:
    truth = [(box(7 * n, 5 + n, 6, 5), 0.5 + n / 100) for n in range(14)]
    scenes = [
        write(tmp_path, s, where, seen(s, where, truth), ending) for s, where in (("a", LEFT), ("b", RIGHT))
    ]
    merged = merge(tmp_path, scenes, f"merged{ending}")
    kept = read(tmp_path / f"merged{ending}")
    assert sorted(int(row[0].split("-")[1]) for row in kept) == list(range(14))
    assert merged.duplicates > 0


def test_scenes_of_other_crs_come_to_the_first_one_s_or_the_named_one(tmp_path: Path) -> None:
    truth = [(box(7 * n, 5 + n, 6, 5), 0.5 + n / 100) for n in range(14)]
    to_15 = Transformer.from_crs(UTM, "EPSG:26915", always_xy=True)
    corner = to_15.transform(*place(40, 40))
    side = np.subtract(to_15.transform(*place(41, 40)), corner)
    down = np.subtract(to_15.transform(*place(40, 39)), corner)
    there = GeoBox(40, 60, Affine(side[0], down[0], corner[0], side[1], down[1], corner[1]), "EPSG:26915")

    def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(to_15.transform(xy[:, 0], xy[:, 1]), axis=1)

    rows = [(shapely.transform(r[0], move), *r[1:]) for r in seen("b", RIGHT, truth)]
    scenes = [write(tmp_path, "a", LEFT, seen("a", LEFT, truth)), write(tmp_path, "b", there, rows)]
    merged = merge(tmp_path, scenes[::-1])
    kept = read(tmp_path / "merged.gpkg")
    assert sorted(int(row[0].split("-")[1]) for row in kept) == list(range(14))
    assert merged.geobox.crs == layer_info(tmp_path / "merged.gpkg", "objects").crs == UTM
    shown = {r[1]: r[0] for s, where in (("a", LEFT), ("b", RIGHT)) for r in seen(s, where, truth)}
    assert all(shapely.hausdorff_distance(shapely.from_wkb(g), shown[i]) < 1e-6 for i, *_, g in kept)
    for crs in ("EPSG:4326", "EPSG:3857"):
        other = merge(tmp_path, scenes, "other.gpkg", crs=crs)
        assert (other.features, other.duplicates) == (merged.features, merged.duplicates)
        assert layer_info(tmp_path / "other.gpkg", "objects").crs == crs
    with pytest.raises(OutputError, match="scene a: has no place in the CRS"):
        merge(tmp_path, scenes, "other.gpkg", crs="+proj=gnom +lat_0=-30 +lon_0=80")


@pytest.mark.parametrize("first", ["degrees", "turned degrees", "meters"])
def test_nothing_is_torn_at_the_antimeridian(first: str, tmp_path: Path) -> None:
    pixel = 1e-5
    to_60 = Transformer.from_crs("EPSG:4326", "EPSG:32760", always_xy=True)
    x, y = to_60.transform(180 - 30 * pixel, -17)
    grids = {
        "degrees": GeoBox(40, 60, Affine(pixel, 0, 180 - 30 * pixel, 0, -pixel, -17), "EPSG:4326"),
        "turned degrees": GeoBox(40, 60, Affine(pixel, 0, -180 - 30 * pixel, 0, -pixel, -17), "EPSG:4326"),
        "meters": GeoBox(45, 65, Affine(1, 0, x - 1, 0, -1, y + 1), "EPSG:32760"),
        "east": GeoBox(40, 40, Affine(pixel, 0, -180, 0, -pixel, -17), "EPSG:4326"),
    }

    def across(name: str) -> list[tuple[Any, ...]]:
        """Nine houses in three rows, those in the middle across 180°; each as a grid has it."""
        box_of = grids[name]
        turn = -360 if name in ("turned degrees", "east") else 0
        found = []
        for n in range(9):
            west, south = 180 + (n % 3 * 16 - 19) * pixel, -17 - (12 + n // 3 * 10) * pixel
            house = shapely.box(west, south, west + 6 * pixel, south + 6 * pixel)
            if name == "meters":
                house = shapely.transform(house, lambda xy: np.stack(to_60.transform(*xy.T), axis=1))
            elif turn:
                house = shapely.transform(house, lambda xy: xy + np.array([turn, 0]))
            if shapely.box(*box_of.bounds).contains(house):
                found.append((house, f"{name}-{n}", 0.9, False))
        return found

    order = [first, *(name for name in grids if name != first)]
    scenes = [write(tmp_path, f"{n}", grids[name], across(name)) for n, name in enumerate(order)]
    assert [len(across(name)) for name in order] == [9 if name != "east" else 3 for name in order]
    merged = merge(tmp_path, scenes)
    assert (merged.features, merged.duplicates) == (9, 21)
    bounds = shapely.bounds([shapely.from_wkb(row[-1]) for row in read(tmp_path / "merged.gpkg")])
    assert np.ptp(bounds[:, [0, 2]], axis=1).max() < (12 if first == "meters" else 12 * pixel)
    west, _, east, _ = merged.geobox.bounds
    assert east - west < (100 if first == "meters" else 100 * pixel)
    with pytest.raises(OutputError, match="lies across the edge of the CRS 'EPSG:3857'"):
        merge(tmp_path, scenes, "other.gpkg", crs="EPSG:3857")


def test_scenes_without_objects_and_overviews(tmp_path: Path) -> None:
    scenes = [write(tmp_path, "a", LEFT, []), write(tmp_path, "b", RIGHT, [])]
    assert merge(tmp_path, scenes, overview=Overview(1.0, 1.0)).features == 0
    assert layer_info(tmp_path / "merged.gpkg", overview_layer("objects")).count == 0
    (tmp_path / "a" / "objects.gpkg").write_bytes(b"gone bad")
    with pytest.raises(OutputError, match="cannot be read back"):
        merge(tmp_path, scenes)


@given(columns=st.integers(3, 400))
@settings(max_examples=60, deadline=None)
def test_a_scene_round_the_world_is_not_torn(columns: int) -> None:
    pixel = 360 / columns
    world = GeoBox(2, columns, Affine(pixel, 0, -180, 0, -pixel, 1), "EPSG:4326")
    (layer,) = placed([SceneLayer("world", Path("unread.gpkg"), world)], "objects", None)
    assert layer.footprint.is_valid
    assert layer.footprint.bounds == pytest.approx((-180, 1 - 2 * pixel, 180, 1))
