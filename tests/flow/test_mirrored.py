"""An image that is stored mirrored gives the map of the same image stored as seen from above, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.typing import NDArray
from support.rasters import write_raster
from support.stac import stac_item, write_catalog
from synthetic.bundles import random_bundle
from synthetic.neighborhood import generate

import geoseg
from geoseg.config.stac.refs import BandRef, LabelRef, MaskRef, SceneRef
from geoseg.flow.evaluate.evaluate import evaluate_run
from geoseg.flow.predict import predict
from geoseg.flow.run.run import run
from geoseg.grid.window import Window
from geoseg.io.raster.scene import describe
from geoseg.io.raster.scene_reader import SceneReader
from geoseg.models.bundle import Bundle
from geoseg.training.data.cache import SceneCache
from geoseg.training.data.file_scene import open_scene

HEIGHT, WIDTH = 120, 141
SIZE = 0.4
X, Y = 621_000, 3_350_000

Flip = Callable[[NDArray[Any]], NDArray[Any]]
PLACES: dict[str, tuple[Affine, Flip]] = {
    "north-up": (Affine(SIZE, 0, X, 0, -SIZE, Y), lambda a: a),
    "south-up": (Affine(SIZE, 0, X, 0, SIZE, Y - HEIGHT * SIZE), lambda a: a[..., ::-1, :]),
    "east-west": (Affine(-SIZE, 0, X + WIDTH * SIZE, 0, -SIZE, Y), lambda a: a[..., ::-1]),
}
MIRRORED = ["south-up", "east-west"]
IMAGE = generate(size=(HEIGHT, WIDTH), seed=5).image
HOLE = np.zeros((HEIGHT, WIDTH), np.bool_)
HOLE[20:47, 90:130] = True


def stored(path: Path, how: str, pixels: NDArray[Any] = IMAGE, **options: Any) -> Path:
    """The picture in a file, its rows or columns in the order that is named."""
    transform, flip = PLACES[how]
    return write_raster(path, flip(pixels), transform=transform, **options)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return random_bundle(tmp_path_factory.mktemp("bundle"), "mininet-1", classes=3, halo=16)


def windows(ref: SceneRef) -> list[NDArray[Any]]:
    """Some windows of a scene, across its edges too, with their validity."""
    scene = describe(ref)
    zoomed = scene.geobox.zoom(HEIGHT // 2 + 7, WIDTH // 2 + 3)
    found = []
    for grid in (scene.geobox, zoomed):
        with SceneReader(scene, grid) as reader:
            for window in (Window(-9, -20, 80, 70), Window(33, 51, 17, 90), Window(40, 0, 50, 60)):
                raster = reader.read(window)
                found += [raster.pixels, raster.valid, np.array(raster.geobox.transform)]
    return found


def same(one: list[NDArray[Any]], other: list[NDArray[Any]]) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("how", MIRRORED)
def test_every_window_is_that_of_the_picture_from_above(tmp_path: Path, how: str) -> None:
    """With masks inside the file and beside it, in several files, some of them mirrored and some not."""
    found = {}
    for case, order in ({"north-up": "north-up"} | {how: how}).items():
        one = stored(
            tmp_path / case / "one.tif",
            order,
            mask=PLACES[order][1](~HOLE),
            tiled=True,
            blockxsize=16,
            blockysize=16,
        )
        nir = stored(tmp_path / case / "nir.tif", "north-up", IMAGE[0])
        cloud = stored(tmp_path / case / "cloud.tif", how, np.roll(HOLE, 30, axis=0).astype(np.uint8))
        bands = tuple(BandRef(str(one), i, f"b{i}") for i in (1, 2, 3))
        mask = MaskRef(str(cloud), 1, (1,))
        whole = SceneRef("s", (), href=str(one))
        mixed = SceneRef("s", (BandRef(str(nir), 1, "nir"), *bands), masks=(mask,))
        found[case] = windows(whole) + windows(mixed)
    assert not all(array.all() for array in found[how][1::3])
    same(found["north-up"], found[how])


@pytest.mark.parametrize("how", MIRRORED)
def test_labels_and_limits_count_the_pixels_as_they_are_stored(tmp_path: Path, how: str) -> None:
    """A label raster without a place lies on the file pixel by pixel, and windows are the file's."""
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 2, (15, 18)), np.ones((8, 8)))[:HEIGHT, :WIDTH].astype(np.uint8)
    patches = {}
    for order in ("north-up", how):
        image = stored(tmp_path / order / "image.tif", order)
        flip = PLACES[order][1]
        bare = write_raster(tmp_path / order / "labels.png", flip(labels))
        rows, cols = np.nonzero(flip(np.pad(np.ones((70, 80), np.bool_), ((10, 40), (30, 31)))))
        inside = (int(rows.min()), int(cols.min()), 70, 80)
        limit = (max(0, inside[0] - 5), max(0, inside[1] - 5), 80, 90)
        scene = open_scene(
            SceneRef("s", (), href=str(image)),
            LabelRef(str(bare), area_window=inside),
            resolution=0.1,
            cache=SceneCache(0),
            limit=Window(*limit),
        )
        patches[order] = scene.patch(Window(0, 0, *scene.shape))
    one, other = patches["north-up"], patches[how]
    assert (one.labels == 1).any()
    same([one.pixels, one.valid, one.labels], [other.pixels, other.valid, other.labels])


def array_of(path: Path) -> xr.DataArray:
    found = rioxarray.open_rasterio(path)
    assert isinstance(found, xr.DataArray)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", MIRRORED)
def test_an_array_comes_back_in_its_own_order(tmp_path: Path, bundle: Bundle, how: str) -> None:
    flip = PLACES[how][1]
    plain, array = (array_of(stored(tmp_path / f"{name}.tif", name)) for name in ("north-up", how))
    expected, found = predict(plain, bundle), predict(array, bundle)
    assert found.rio.transform() == PLACES[how][0]
    assert np.array_equal(found.y, array.y)
    assert np.array_equal(found.x, array.x)
    assert np.array_equal(flip(expected.classes.values), found.classes.values)
    assert np.array_equal(flip(expected.probability.values), found.probability.values)
    xr.testing.assert_identical(predict(array.chunk({"y": 50}), bundle).compute(), found)
    one, other = (geoseg.vectorize(some.assign(), mode="coverage") for some in (expected, found))
    assert len(one) > 3
    assert one.equals(other)


@pytest.mark.slow
def test_a_run_maps_the_picture_from_above_and_writes_the_scenes_own_order(
    tmp_path: Path, bundle: Bundle
) -> None:
    names = list(PLACES)
    for name in names:
        stored(tmp_path / name / "scene.tif", name, mask=PLACES[name][1](~HOLE))
    write_catalog(tmp_path / "catalog.json", *map(stac_item, names))
    (tmp_path / "flow.yaml").write_text(f"catalog: catalog.json\nmodel: {bundle.folder}\n")
    options = {"output": str(tmp_path / "maps"), "write.grid": "scene", "compute.executor": "serial"}
    options |= {"tiling.window": "128 px", "tiling.halo": "16 px", "vectorize.layer": "land"}
    assert run(tmp_path / "flow.yaml", options).count("done") == len(names)
    expected = pyogrio.read_dataframe(tmp_path / "maps/north-up/land.gpkg", layer="land")
    assert len(expected) > 3
    kept = [c for c in expected.columns if c not in ("id", "scene", "run_id")]
    for name in MIRRORED:
        transform, flip = PLACES[name]
        folder = tmp_path / "maps" / name
        assert pyogrio.read_dataframe(folder / "land.gpkg", layer="land")[kept].equals(expected[kept])
        for raster in ("classes.tif", "probability.tif"):
            with (
                rasterio.open(folder / raster) as found,
                rasterio.open(tmp_path / "maps/north-up" / raster) as plain,
            ):
                assert found.transform == transform
                assert np.array_equal(found.read(), flip(plain.read()))
    scored = evaluate_run(tmp_path / "maps", [labeled(tmp_path, name) for name in names], bundle.spec.classes)
    first, *others = scored.tallies
    counts = first.cells.sum(axis=0)
    assert 0.05 < np.trace(counts) / counts.sum() < 0.95
    for other in others:
        assert np.array_equal(other.cells, first.cells)
        assert other.excluded == first.excluded


def labeled(folder: Path, name: str) -> SceneRef:
    """A scene with labels that have no place of their own: they lie on its file pixel by pixel."""
    labels = np.random.default_rng(0).integers(0, 3, (HEIGHT // 10, WIDTH // 10 + 1), np.uint8)
    stored_labels = PLACES[name][1](np.kron(labels, np.ones((10, 10), np.uint8))[:HEIGHT, :WIDTH])
    path = write_raster(folder / name / "labels.png", stored_labels)
    href = str(folder / name / "scene.tif")
    return SceneRef(name, (), href=href, labels=(("labels", LabelRef(str(path))),))


@given(nps.arrays(np.uint8, st.tuples(st.integers(2, 24), st.integers(2, 24)), elements=st.integers(0, 2)))
@settings(max_examples=15)
def test_any_array_of_classes_has_the_polygons_of_its_mirror_image(ids: NDArray[np.uint8]) -> None:
    height, width = ids.shape
    places = {
        "north-up": (Affine(SIZE, 0, X, 0, -SIZE, Y), ids),
        "south-up": (Affine(SIZE, 0, X, 0, SIZE, Y - height * SIZE), ids[::-1]),
        "east-west": (Affine(-SIZE, 0, X + width * SIZE, 0, -SIZE, Y), ids[:, ::-1]),
    }
    made = []
    for transform, pixels in places.values():
        array = xr.DataArray(pixels, dims=("y", "x"), name="ids").rio.write_crs("EPSG:26914")
        options = {"mode": "coverage", "min_area": "1 px", "names": {0: "a", 1: "b", 2: "c"}}
        made.append(geoseg.vectorize(array.rio.write_transform(transform), **options))
    assert made[0].equals(made[1])
    assert made[0].equals(made[2])


@pytest.mark.parametrize("how", MIRRORED)
def test_a_mirrored_raster_of_scores_has_the_polygons_of_the_upright_one(tmp_path: Path, how: str) -> None:
    scores = (IMAGE[0] / 255).astype(np.float32)
    mask = stored(tmp_path / "mask.tif", "north-up", (~HOLE).astype(np.uint8))
    make = partial(geoseg.vectorize, mask=mask, mode="exact", min_area="2 px")
    one, other = (make(stored(tmp_path / f"{name}.tif", name, scores)) for name in ("north-up", how))
    assert len(one) > 3
    drop = ["scene", "run_id", "id"]
    assert one.drop(columns=drop, errors="ignore").equals(other.drop(columns=drop, errors="ignore"))
    wrong = scores.copy()
    wrong[3, 5] = 7
    row, col = (int(n[0]) for n in np.nonzero(PLACES[how][1](wrong) == 7))
    with pytest.raises(geoseg.errors.SceneError, match=rf"value 7 .*row {row}, column {col}"):
        make(stored(tmp_path / "wrong.tif", how, wrong))
