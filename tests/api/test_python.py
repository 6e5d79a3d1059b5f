"""The Python interface: workflows, arrays and rasters to maps and polygons that can be held."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import rioxarray
import xarray as xr
from affine import Affine
from geopandas.testing import assert_geodataframe_equal
from synthetic.neighborhood import generate
from synthetic.writing import write_scene

import geoseg
from geoseg.api.plot import draw_map
from geoseg.polygons.attributes import FIELDS

pytestmark = pytest.mark.slow

MODEL = "buildings-liteunet"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small scene and its catalog."""
    folder = tmp_path_factory.mktemp("place")
    files = write_scene(folder / "made", generate((256, 256), seed=4))
    (folder / "scenes").mkdir()
    files.scene.rename(folder / "scenes" / "town.tif")
    geoseg.catalog(folder / "scenes", folder / "scenes.json")
    return folder


@pytest.fixture(scope="module")
def workflow(place: Path) -> geoseg.Workflow:
    catalog, output = str(place / "scenes.json"), str(place / "maps")
    return geoseg.Workflow.model_validate(
        {"catalog": catalog, "model": MODEL, "output": output, "vectorize": {"layer": "roofs"}}
    )


@pytest.fixture(scope="module")
def run(workflow: geoseg.Workflow) -> geoseg.Run:
    return geoseg.run(workflow, progress="none")


def test_a_run_holds_what_its_files_hold(run: geoseg.Run) -> None:
    (scene,) = run
    assert run[scene.id] is scene
    assert scene.status == "done"
    assert scene.folder is not None
    written = gpd.read_file(scene.folder / "roofs.gpkg", layer="roofs")
    assert_geodataframe_equal(scene.polygons, written)
    assert len(written) > 0
    assert scene.polygons.crs == rioxarray.open_rasterio(scene.folder / "classes.tif").rio.crs
    classes = scene.classes
    assert classes.dims == ("y", "x")
    assert classes.chunks is not None, "it is read when it is computed"
    np.testing.assert_array_equal(classes, rioxarray.open_rasterio(scene.folder / "classes.tif")[0])
    probability = scene.probability
    assert probability.coords["class"].to_numpy().tolist() == ["Building"]
    assert float(probability.max()) <= 1
    assert scene.border is not None
    assert float((scene.border - probability[0]).max()) <= 0, "the border is a part of its class"


def test_a_run_shows_itself_as_a_table(run: geoseg.Run) -> None:
    assert list(run.summary.columns) == ["scene", "status", "polygons", "reason", "warnings"]
    assert run.summary["polygons"].tolist() == [len(run.scenes[0].polygons)]
    assert run.scenes[0].id in repr(run)
    assert "<table" in run._repr_html_()
    with pytest.raises(KeyError, match="no scene 'elsewhere'"):
        run["elsewhere"]


def test_the_reason_of_a_refused_scene_does_not_name_it_again(workflow: geoseg.Workflow) -> None:
    scenes = workflow.scenes.model_copy(update={"bands": ("red", "green", "infrared")})
    run = geoseg.run(workflow.model_copy(update={"scenes": scenes}), progress="none")
    assert run.summary["status"].tolist() == ["refused"]
    (reason,) = run.summary["reason"]
    assert reason.startswith("has no band 'infrared'")
    assert reason == run.scenes[0].reason


def test_a_run_holds_what_was_left_out_and_why_there_is_no_score(
    place: Path, workflow: geoseg.Workflow, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "b.jp2").touch()
    shutil.copy(place / "scenes/town.tif", images / "a.tif")
    asked = {"catalog": str(images), "output": str(tmp_path / "maps"), "evaluate.asset": "buildings"}
    run = geoseg.run(workflow, asked, progress="none")
    assert run.score is None
    assert run.missing == ("no scene has the label asset 'buildings'",)
    assert run.notes == ("not looked at: 1 .jp2 (trust local reads them)",)


def test_a_map_is_drawn_in_its_own_coordinates(run: geoseg.Run) -> None:
    mpl.use("Agg")
    ax = run.scenes[0].plot()
    left, _, right, top = run.scenes[0].classes.rio.bounds()
    assert ax.get_xlim() == (left, right)
    assert ax.get_ylim()[1] == top
    assert ax.get_title() == run.scenes[0].id


def test_a_turned_map_lies_under_its_polygons() -> None:
    mpl.use("Agg")
    turned = Affine.translation(500_000, 5_000_000) * Affine.rotation(30) * Affine.scale(2, -2)
    ids = np.ones((20, 30), np.uint8)
    classes = xr.DataArray(ids, dims=("y", "x")).rio.write_crs("EPSG:32631").rio.write_transform(turned)
    ax = draw_map(classes, np.full((256, 4), 200, np.uint8), None, "turned", None)
    corners = np.array([turned @ corner for corner in ((0, 0), (30, 0), (30, 20), (0, 20))])
    (image,) = ax.images
    drawn = image.get_transform().transform([(0, 0), (30, 0), (30, 20), (0, 20)])
    np.testing.assert_allclose(drawn, ax.transData.transform(corners), atol=1e-6)
    assert ax.get_xlim() == (corners[:, 0].min(), corners[:, 0].max())
    assert ax.get_ylim() == (corners[:, 1].min(), corners[:, 1].max())


def test_a_second_run_skips_and_still_holds_the_map(run: geoseg.Run, workflow: geoseg.Workflow) -> None:
    again = geoseg.run(workflow, progress="none")
    assert again.scenes[0].status == "skipped"
    assert_geodataframe_equal(again.scenes[0].polygons, run.scenes[0].polygons)


def test_a_scene_without_a_map_says_why(place: Path, workflow: geoseg.Workflow) -> None:
    bad = place / "bad"
    bad.mkdir()
    two = rioxarray.open_rasterio(place / "scenes/town.tif")[:2]
    del two.attrs["long_name"]
    two.rio.to_raster(bad / "two_bands.tif")
    geoseg.catalog(bad, bad / "scenes.json")
    overrides = {"catalog": str(bad / "scenes.json"), "output": str(bad / "maps")}
    (scene,) = geoseg.run(workflow, overrides, progress="none")
    assert scene.status == "refused"
    with pytest.raises(
        geoseg.errors.OutputError,
        match=r"there is no map of this run; the scene was refused: .*no band 'red'",
    ):
        _ = scene.polygons


@pytest.fixture(scope="module")
def predicted(place: Path) -> xr.Dataset:
    return geoseg.predict(rioxarray.open_rasterio(place / "scenes/town.tif"), MODEL)


_NOT_OF_AN_ARRAY = ["id", "scene", "acquired", "model", "model_sha256", "run_id"]


def test_predict_and_vectorize_give_the_polygons_of_a_run(run: geoseg.Run, predicted: xr.Dataset) -> None:
    polygons = geoseg.vectorize(predicted)
    assert list(polygons.columns) == [*FIELDS, "geometry"]
    expected = run.scenes[0].polygons
    assert_geodataframe_equal(
        polygons.drop(columns=_NOT_OF_AN_ARRAY), expected.drop(columns=_NOT_OF_AN_ARRAY), check_like=True
    )


def test_an_array_a_dataset_and_the_file_of_a_map_give_the_same_polygons(run: geoseg.Run) -> None:
    (scene,) = run
    assert scene.folder is not None
    path = scene.folder / "probability.tif"
    by_path = geoseg.vectorize(path).drop(columns=_NOT_OF_AN_ARRAY)
    names = ["Building", "border"]
    both = rioxarray.open_rasterio(path, mask_and_scale=True).assign_coords(band=names)
    dataset = xr.Dataset({"probability": scene.probability, "border": scene.border})
    for source in (both, dataset):
        made = geoseg.vectorize(source).drop(columns=_NOT_OF_AN_ARRAY)
        assert_geodataframe_equal(made, by_path)
    assert len(geoseg.vectorize(scene.probability)) > 5, "one class against its background, not two classes"


@pytest.mark.parametrize("mode", ["exact", "objects"])
def test_a_file_and_its_array_give_the_same_polygons(run: geoseg.Run, mode: str) -> None:
    assert run.scenes[0].folder is not None
    path = run.scenes[0].folder / "classes.tif"
    array = rioxarray.open_rasterio(path)
    by_path = geoseg.vectorize(path, mode=mode, min_area=4)  # type: ignore[arg-type]  # one of its words
    by_array = geoseg.vectorize(array[0], mode=mode, min_area="4 m2")  # type: ignore[arg-type]  # same
    pd.testing.assert_series_equal(by_path["area_m2"], by_array["area_m2"])
    assert by_path.geometry.geom_equals_exact(by_array.geometry, 0).all()
    assert by_path.crs == by_array.crs
    assert (by_path["area_m2"] >= 4).all()


def test_mistakes_are_sentences(predicted: xr.Dataset) -> None:
    with pytest.raises(geoseg.errors.ConfigError, match=r"vectorize\.simplfy: unknown key.*simplify"):
        geoseg.vectorize(predicted, options={"simplfy": "1 m"})
    with pytest.raises(geoseg.errors.SceneError, match="needs probability"):
        geoseg.vectorize(predicted[["classes"]])
    with pytest.raises(geoseg.errors.SceneError, match="no CRS"):
        geoseg.vectorize(xr.DataArray(np.zeros((4, 4), np.uint8), dims=("y", "x")))
    stored = predicted["classes"].assign_attrs(scale_factor=0.005)
    with pytest.raises(
        geoseg.errors.SceneError,
        match=r"still to be scaled by 0.005 and \+0: open it with .*mask_and_scale=True",
    ):
        geoseg.vectorize(stored)
    with pytest.raises(geoseg.errors.ConfigError, match="give the reference, too"):
        geoseg.evaluate("flow.yaml", area="area.gpkg")
    local = xr.DataArray(np.zeros((4, 4), np.uint8), dims=("y", "x"), name="site")
    local = local.rio.write_crs('LOCAL_CS["site",UNIT["metre",1]]').rio.write_transform(Affine.scale(1, -1))
    with pytest.raises(geoseg.errors.SceneError, match="no place on the globe"):
        geoseg.vectorize(local)
    with pytest.raises(TypeError, match="got int"):
        geoseg.vectorize(3)  # type: ignore[arg-type]  # what a user may do


def test_a_small_run_needs_no_main_guard(place: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import geoseg\n"
        f"flow = geoseg.Workflow(catalog={str(place / 'scenes.json')!r}, model={MODEL!r})\n"
        "print(geoseg.run(flow))\n"
    )
    shown = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "1 done" in shown.stdout


@pytest.mark.parametrize("name", [name for name in geoseg.__all__ if name != "__version__"])
def test_every_public_name_has_help(name: str) -> None:
    assert (getattr(geoseg, name).__doc__ or "").strip()
    assert f"``{name}``" in (geoseg.__doc__ or "")
