"""Objects of a run against a reference: objects in the report, errors in a layer, whatever the files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import shapely
from affine import Affine
from rasterio.features import rasterize
from support.reports import report_text
from support.vectors import geoms, write_layer

from geoseg.arrays import Objects
from geoseg.config.model.contract import ClassSpec
from geoseg.config.stac.refs import LabelRef
from geoseg.flow.evaluate.evaluate import Evaluated, evaluate_pairs
from geoseg.flow.evaluate.objects import ERRORS_NAME, Outlined
from geoseg.flow.evaluate.scene import Pair
from geoseg.grid.geobox import GeoBox
from geoseg.io.raster.cog import write_cog
from geoseg.io.raster.scene import grid_of
from geoseg.io.vector.features import Features
from geoseg.io.vector.writer import write_features
from geoseg.polygons.trace.exact import exact_polygons
from geoseg.polygons.trace.regions import to_ground
from geoseg.score.objects.tally import ObjectTally
from geoseg.score.report.tables import report_tables
from geoseg.score.report.values import ObjectScore

box = shapely.box
GRID = GeoBox(
    300, 260, Affine.translation(617000, 3344000) @ Affine.rotation(9) @ Affine.scale(0.3, -0.3), "EPSG:26914"
)
DEGREES = GeoBox(300, 260, Affine(3.117e-6, 0, -97.7, 0, -2.706e-6, 30.2), "EPSG:4326")
CLASSES = (
    ClassSpec(id=0, name="background", title="Rest", color="#808080", background=True),
    ClassSpec(id=1, name="building", title="Building", color="#d62728"),
    ClassSpec(id=2, name="water", title="Water", color="#1f77b4"),
)
OUTLINED = Outlined("things", None)
CONFIDENCE_FIELDS = ("conf_mean", "confidence")


# In pixels: right, over two, nothing there, cut by the upper edge.
MAPPED = geoms(box(20, 20, 60, 60), box(100, 20, 161, 60), box(200, 200, 220, 220), box(200, 0, 240, 30))
REFERENCE = geoms(
    box(20, 20, 60, 56),
    box(100, 20, 130, 60),
    box(131, 20, 161, 60),
    box(20, 150, 60, 190),
    box(200, -9, 240, 29),
)


class Place:
    """A scene's folder with a map and polygons, and a reference beside it."""

    def __init__(self, folder: Path, grid: GeoBox = GRID, name: str = "here") -> None:
        self.grid, self.folder = grid, folder / name
        self.folder.mkdir(parents=True)
        self.reference = folder / f"{name}.gpkg"
        self.pair = Pair(name, self.folder / "classes.tif", LabelRef(str(self.reference)), lambda: grid)

    def map(
        self,
        polygons: Objects,
        *,
        classes: Sequence[int] | None = None,
        sure: Sequence[float] | None = None,
        field: str = CONFIDENCE_FIELDS[0],
        ending: str = ".gpkg",
        layer: str = "things",
    ) -> None:
        ids = np.asarray([1] * len(polygons) if classes is None else classes, np.int64)
        image = np.zeros(self.grid.shape, np.uint8)
        if len(polygons):
            rasterize(zip(polygons, ids.tolist(), strict=True), out=image, transform=Affine.scale(1.0, 1.0))
        write_cog(self.folder / "classes.tif", self.grid, ["class"], [(self.grid.window, image[None])])
        values = np.linspace(0.9, 0.5, len(polygons)) if sure is None else np.asarray(sure, np.float64)
        names = np.array([f"o{n}" for n in range(len(polygons))], np.object_)
        schema = {"id": "text", "class_id": "integer", field: "real"}
        batch = Features(
            to_ground(shapely.orient_polygons(polygons), self.grid.transform),
            {"id": names, "class_id": ids, field: values},
        )
        write_features(self.folder / f"{layer}{ending}", layer, [batch], geobox=self.grid, schema=schema)

    def label(self, polygons: Objects, classes: Sequence[int] | None = None) -> None:
        ids = np.asarray([1] * len(polygons) if classes is None else classes, np.int64)
        transform = self.grid.transform
        ground = shapely.transform(polygons, lambda xy: np.column_stack(transform @ (xy[:, 0], xy[:, 1])))
        write_layer(self.reference, ground, self.grid.crs, "truth", kind=ids)
        self.pair = replace(self.pair, label=replace(self.pair.label, attribute="kind"))

    def score(self, outlined: Outlined = OUTLINED) -> Evaluated:
        return evaluate_pairs([self.pair], CLASSES, outlined=outlined)


def building(evaluated: Evaluated) -> ObjectScore:
    (found,) = (row for row in evaluated.report.objects if row.name == "building")
    return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.map(MAPPED)
    place.label(REFERENCE)
    return place


@pytest.mark.parametrize("grid", [GRID, DEGREES], ids=["turned meters", "degrees"])
def test_objects_and_errors_by_hand(tmp_path: Path, grid: GeoBox) -> None:
    place = Place(tmp_path, grid)
    place.map(MAPPED, sure=[0.95, 0.85, 0.75, 0.99])
    place.label(REFERENCE)
    found = building(place.score())
    assert (found.mapped_objects, found.reference_objects) == (3, 4)
    assert found.mapped.model_dump() == {"matched": 1, "wrong": 1, "merged": 1, "split": 0, "excluded": 1}
    assert found.reference.model_dump() == {"matched": 1, "wrong": 1, "merged": 2, "split": 0, "excluded": 1}
    assert (found.precision.value, found.recall.value) == (1 / 3, 1 / 4)
    assert found.f1.value == pytest.approx(2 / 7)
    assert found.mean_scene_f1 == found.f1.value
    assert found.average_precision_by_iou["0.85"] == pytest.approx(26 / 101)  # all of a quarter's recall
    assert found.average_precision_by_iou["0.95"] == 0
    assert [one.objects for one in found.reliability if one.objects] == [1, 1, 1]
    assert found.calibration_error == pytest.approx((0.75 + 0.85 + 0.05) / 3)
    assert found.shape is not None
    assert (found.shape.pairs, found.shape.right_angles, found.shape.vertex_ratio) == (1, 1, 1)
    assert found.shape.iou == pytest.approx(0.9, rel=1e-4)
    # Half of both corners are four pixels off, so is the mean; a pixel is 0.3 m, in either CRS about so.
    assert found.shape.hausdorff_m == pytest.approx(4 * 0.3, rel=0.02)
    assert found.shape.polis_m == pytest.approx(4 * 0.3 / 4, rel=0.02)

    table = pyogrio.read_dataframe(place.folder / ERRORS_NAME, layer="errors")
    assert table.crs == grid.crs
    assert [tuple(row) for row in table[["error", "side", "class_name", "id"]].to_numpy().tolist()] == [
        ("matched", "map", "building", "o0"),
        ("merged", "map", "building", "o1"),
        ("false", "map", "building", "o2"),
        ("merged", "reference", "building", "here-reference-1"),
        ("merged", "reference", "building", "here-reference-2"),
        ("missed", "reference", "building", "here-reference-3"),
    ]
    assert table.iou.tolist() == pytest.approx([0.9, 30 / 61, 0, 30 / 61, 30 / 61, 0], abs=1e-4)
    pixels = np.array([1600, 2440, 400, 1200, 1200, 1600])
    assert table.area_m2.to_numpy() == pytest.approx(pixels * 0.3**2, rel=0.02)
    assert table.geometry.is_valid.all()
    with closing(sqlite3.connect(place.folder / ERRORS_NAME)) as database:
        ((style,),) = database.execute("SELECT styleQML FROM layer_styles").fetchall()
    assert [f'value="{kind}"' in style for kind in ("matched", "false", "missed", "merged", "split")] == [
        True
    ] * 5
    assert 'attr="error"' in style


def test_a_perfect_map_is_perfect_and_the_edge_is_out(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.map(REFERENCE[:4])
    place.label(REFERENCE)
    found = building(place.score())
    assert (found.f1.value, found.average_precision, found.reference_objects) == (1, 1, 4)
    assert (found.mapped.excluded, found.reference.excluded) == (0, 1)


@pytest.mark.parametrize("ending", [".gpkg", ".fgb", ".geojson"])
@pytest.mark.parametrize("field", CONFIDENCE_FIELDS)
def test_formats_and_names_of_the_confidence_are_found(tmp_path: Path, ending: str, field: str) -> None:
    place = Place(tmp_path)
    place.map(MAPPED, ending=ending, field=field)
    place.label(REFERENCE)
    assert building(place.score()).f1.value == pytest.approx(2 / 7)


def test_polygons_that_cannot_be_scored_are_named(place: Place, tmp_path: Path) -> None:
    place.map(MAPPED, field="sureness")
    with pytest.raises(Exception, match=r"things\.gpkg has no attribute conf_mean or confidence"):
        place.score()
    other = Place(tmp_path / "other", DEGREES)
    other.map(MAPPED)
    (place.folder / "things.gpkg").write_bytes((other.folder / "things.gpkg").read_bytes())
    with pytest.raises(Exception, match="has the CRS 'EPSG:4326', not the map's"):
        place.score()


def test_without_polygons_there_are_no_objects_and_no_older_errors(place: Place) -> None:
    assert place.score().report.objects
    assert (place.folder / ERRORS_NAME).is_file()
    (place.folder / "things.gpkg").unlink()
    report = place.score().report
    assert report.objects == ()
    assert report.without_objects == ()
    assert "objects" not in report_text(report)
    assert not (place.folder / ERRORS_NAME).exists()


def test_a_raster_s_objects_are_its_components(tmp_path: Path) -> None:
    place = Place(tmp_path)
    truth = np.zeros(GRID.shape, np.uint8)
    truth[20:60, 20:60], truth[80:90, 80:120], truth[200:240, 100:110] = 1, 1, 2
    truth[30:35, 30:35] = 0  # a courtyard
    truth[:, 250:] = 255
    truth[100:120, 240:250] = 1  # ends where labels do
    labels = tmp_path / "labels.tif"
    write_cog(labels, GRID, ["class"], [(GRID.window, truth[None])])
    (found,) = exact_polygons([(truth, np.zeros_like(truth))], GRID.width, [1, 2])
    place.map(found.polygons, classes=found.components.class_id.tolist())
    place.pair = replace(place.pair, label=LabelRef(str(labels)))
    report = place.score().report
    assert [(row.name, row.f1.value, row.reference_objects) for row in report.objects] == [
        ("building", 1, 2),
        ("water", 1, 1),
    ]
    assert building(place.score()).reference.excluded == 1
    only = place.score(Outlined("things", ("water",))).report
    assert [row.name for row in only.objects] == ["water"]


def test_what_the_labelled_area_cuts_is_out(place: Place) -> None:
    # The window ends in the middle of the merged pair, and right of the false one.
    place.pair = replace(place.pair, label=replace(place.pair.label, area_window=(0, 0, 260, 145)))
    found = building(place.score())
    assert found.mapped.model_dump() == {"matched": 1, "wrong": 0, "merged": 0, "split": 0, "excluded": 3}
    # The left half of the pair lies mostly in a mapped object that is cut: nobody knows what it would be.
    assert found.reference.model_dump() == {"matched": 1, "wrong": 1, "merged": 0, "split": 0, "excluded": 3}


def test_parts_of_a_multipolygon_are_objects_and_invalid_ones_are_repaired(tmp_path: Path) -> None:
    place = Place(tmp_path)
    bow = shapely.Polygon([(100, 100), (120, 120), (120, 100), (100, 120)])
    place.map(geoms(*REFERENCE[:2], *shapely.get_parts(shapely.make_valid(bow))))
    place.label(geoms(shapely.MultiPolygon([*REFERENCE[:2]]), bow))
    found = building(place.score())
    assert (found.f1.value, found.reference_objects) == (1, 4)


def test_strips_equal_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    corners = generator.integers(0, 240, (40, 2))
    shapes = geoms(
        *(
            box(x, y, x + w, y + h)
            for (x, y), (w, h) in zip(corners, generator.integers(4, 30, (40, 2)), strict=True)
        )
    )
    place = Place(tmp_path)
    place.map(shapes[:30])
    place.label(shapes[10:])
    whole = place.score()
    monkeypatch.setattr("geoseg.io.raster.cog._STRIP_PIXELS", 23 * GRID.width)
    strips = place.score()
    assert strips.report.objects == whole.report.objects


def test_scenes_add_up_and_cells_hold_every_object(tmp_path: Path) -> None:
    places = [Place(tmp_path, name=name) for name in ("one", "two", "bare")]
    places[0].map(MAPPED)
    places[0].label(REFERENCE)
    places[1].map(REFERENCE[:2])
    places[1].label(REFERENCE)
    places[2].map(MAPPED)
    places[2].label(REFERENCE)
    (places[2].folder / "things.gpkg").unlink()
    evaluated = evaluate_pairs([place.pair for place in places], CLASSES, outlined=OUTLINED)
    found = building(evaluated)
    assert (found.mapped_objects, found.reference_objects) == (3 + 2, 4 + 4)
    assert found.mean_scene_f1 == pytest.approx((2 / 7 + 4 / 6) / 2)
    assert [(row.scene, row.f1) for row in found.scenes] == [("one", pytest.approx(2 / 7)), ("two", 4 / 6)]
    assert found.f1.low is not None
    assert found.f1.high is not None
    assert found.f1.low <= (found.f1.value or 0) <= found.f1.high
    assert found.f1.low < found.f1.high
    assert evaluated.report.without_objects == ("bare",)
    assert "scene bare: no polygons, so no objects" in report_text(evaluated.report)
    for tally in evaluated.tallies[:2]:
        assert tally.objects is not None
        assert tally.object_tallies is not None
        counts = ObjectTally.joined([tally.object_tallies[1]]).counts
        assert tally.objects.sum(axis=0)[:, 1].tolist() == [counts.matched, counts.reference, counts.mapped]
        assert tally.coarser(tally.side * 4).sums.total().objects[0, :, 1].tolist() == [  # type: ignore[index]
            counts.matched, counts.reference, counts.mapped,
        ]  # fmt: skip


def test_nothing_mapped_and_nothing_there(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.map(geoms())
    place.label(REFERENCE)
    found = building(place.score())
    assert (found.precision.value, found.recall.value, found.f1.value) == (None, 0, 0)
    assert (found.average_precision, found.calibration_error, found.shape) == (0, None, None)
    water = place.score().report.objects[1]
    assert (water.f1.value, water.average_precision, water.mean_scene_f1) == (None, None, None)
    assert len([*report_tables(place.score().report)]) == 6
    assert len(report_text(place.score().report).splitlines()) > 10


@pytest.mark.parametrize("ending", [".gpkg", ".geojson"])
def test_false_alarms_on_a_tile_without_objects_are_scored(tmp_path: Path, ending: str) -> None:
    """Its layer is empty; and nothing mapped on it either is no mistake."""
    place = Place(tmp_path)
    place.map(MAPPED, ending=ending)
    place.label(geoms())
    found = building(place.score())
    assert (found.precision.value, found.recall.value) == (0, None)
    other = Place(tmp_path, name="quiet")
    other.map(geoms(), ending=ending)
    other.label(geoms())
    quiet = building(other.score())
    assert (quiet.precision.value, quiet.recall.value) == (None, None)


@pytest.mark.slow
def test_evaluate_says_it_of_a_workflow(
    tmp_path: Path, root: Path, geoseg: Callable[..., tuple[int, str, str]]
) -> None:
    """The demonstration scene with a made-up map: one building in five is lost."""
    source = root / "examples" / "austin_synthetic" / "buildings.gpkg"
    table = pyogrio.read_dataframe(source, layer="buildings")
    grid = grid_of(root / "examples" / "austin_synthetic" / "scene.tif")
    pixels = ~grid.transform
    shapes = shapely.transform(
        np.asarray(table.geometry.array, object),
        lambda xy: np.column_stack(pixels @ (xy[:, 0], xy[:, 1])),
    )
    kept = np.arange(len(shapes)) % 5 > 0
    place = Place(tmp_path, grid, "austin_synthetic")
    place.map(shapes[kept], layer="buildings")
    workflow = root / "workflows" / "austin_buildings.yaml"
    arguments = ("evaluate", workflow, "--set", f"output={tmp_path}")
    code, out, err = geoseg(*arguments, "--worst", "0", "--json")
    assert code == 0, err
    assert (place.folder / ERRORS_NAME).is_file()
    (found,) = json.loads(out)["objects"]
    assert found["precision"]["value"] == 1
    assert found["recall"]["value"] == pytest.approx(0.8, abs=0.05)
    assert found["reference"]["matched"] + found["reference"]["wrong"] == found["reference_objects"]
    code, out, err = geoseg(*arguments, "--worst", "0", "--set", "vectorize.layer=errors")
    assert (code, out) == (2, "")
    assert "'errors' is the name of another file of the map" in err
