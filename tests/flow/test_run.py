"""The run, end to end, on generated scenes: one meaning on every executor, nothing lost, nothing partial."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import rioxarray
from rasterio.features import rasterize
from support.stac import stac_item, write_catalog
from synthetic.neighborhood import generate
from synthetic.writing import write_scene

from geoseg.engine import sections
from geoseg.engine.assemble import AssembledScene, AssembleTask
from geoseg.engine.plan import Plan
from geoseg.flow.predict import predict
from geoseg.flow.run.events import Event, WindowRowsFinished
from geoseg.flow.run.prepare import prepare
from geoseg.flow.run.run import RunSummary, run
from geoseg.io.files import sha256_of

pytestmark = pytest.mark.slow

MAPS = ["buildings.gpkg", "classes.tif", "item.json", "probability.tif"]
SMALL_WINDOWS = {"tiling.window": "256 px", "tiling.halo": "32 px", "tiling.block": "64 px"}


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two scenes and a catalog: a plain one and a rotated 16-bit one with nodata."""
    folder = tmp_path_factory.mktemp("scenes")
    place = generate(size=(373, 401), seed=5)
    write_scene(folder / "plain", place)
    write_scene(folder / "turned", place, dtype="uint16", rotate=17.0, nodata=0)
    return folder


def catalog_of(folder: Path, *names: str) -> Path:
    """A hand-written catalog of some scenes."""
    items = [stac_item(name, version="1.0.0", buildings=f"{name}/buildings.gpkg") for name in names]
    return write_catalog(folder / f"{'-'.join(names)}.json", *items)


def workflow_for(catalog: Path, *, stretch: bool = False) -> Path:
    """A workflow beside its catalog."""
    text = f"catalog: {catalog.name}\nmodel: buildings-mininet2\nvectorize: {{layer: buildings}}\n"
    if stretch:
        text += "scenes: {bands: [1, 2, 3], stretch: [200, 10400]}\n"
    path = catalog.with_suffix(".yaml")
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def plain(scenes: Path) -> Path:
    return workflow_for(catalog_of(scenes, "plain"))


@pytest.fixture(scope="session")
def turned(scenes: Path) -> Path:
    return workflow_for(catalog_of(scenes, "turned"), stretch=True)


def pixels_and_polygons(folder: Path) -> tuple[list[np.ndarray], list[bytes], list[str]]:
    """What a map says, without what a clock or a library's version writes into its files."""
    rasters = []
    for name in ("classes.tif", "probability.tif"):
        with rasterio.open(folder / name) as raster:
            rasters.append(raster.read())
    table = pyogrio.read_dataframe(folder / "buildings.gpkg", layer="buildings")
    rows = table.drop(columns="geometry").to_csv().split("\n")
    return rasters, list(table.geometry.normalize().to_wkb()), rows


def same(a: Path, b: Path) -> bool:
    (rasters_a, *rest_a), (rasters_b, *rest_b) = pixels_and_polygons(a), pixels_and_polygons(b)
    return rest_a == rest_b and all(map(np.array_equal, rasters_a, rasters_b))


def run_to(workflow: Path, output: Path, **overrides: str) -> RunSummary:
    settings = {"compute.executor": "serial", **SMALL_WINDOWS} | {
        key.replace("__", "."): value for key, value in overrides.items()
    }
    return run(workflow, {"output": str(output), **settings})


@pytest.fixture(scope="session")
def austin_synthetic(root: Path) -> Path:
    """The demonstration."""
    return root / "workflows" / "austin_buildings.yaml"


@pytest.mark.parametrize(("which", "blend"), [("austin_synthetic", "hann"), ("turned", "crop")])
def test_serial_threads_and_processes_agree_bit_for_bit(
    which: str, blend: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = request.getfixturevalue(which)
    monkeypatch.setattr(sections, "_LEAST_ROWS", 32)
    (plan,) = prepare(workflow, SMALL_WINDOWS | {"tiling.blend": blend}).plans
    assert len(sections.plan_sections(plan)) > 1, "polygons are shared, too"
    assert (plan.tasks[0].cols is None) == (blend == "hann"), "cropped windows need no neighbors"
    serial = run_to(workflow, tmp_path / "serial", tiling__blend=blend)
    assert serial.count("done") == 1, serial.scenes
    others = {
        "threads": {"compute.executor": "threads", "compute.workers": "2"},
        "processes": {"compute.executor": "processes", "compute.workers": "2"},
        "batches": {"tiling.batch": "3", "tiling.block": "10000 px"},
    }
    for name, options in others.items():
        summary = run_to(workflow, tmp_path / name, tiling__blend=blend, **options)
        assert summary.count("done") == 1, summary.scenes
        assert same(tmp_path / "serial" / which, tmp_path / name / which)


@pytest.mark.parametrize("which", ["plain", "turned"])
def test_the_map_is_whole_and_its_polygons_are_its_pixels(
    which: str, tmp_path: Path, request: pytest.FixtureRequest, scenes: Path
) -> None:
    run_to(request.getfixturevalue(which), tmp_path, vectorize__mode="exact", vectorize__min_area="0 px")
    folder = tmp_path / which
    found = sorted(p.name for p in folder.iterdir())
    assert [name for name in found if not name.endswith(".qml")] == MAPS
    assert "classes.qml" in found
    with rasterio.open(scenes / which / "scene.tif") as raster:
        crs, transform, valid = raster.crs, raster.transform, raster.dataset_mask() > 0
    with rasterio.open(folder / "classes.tif") as raster:
        classes = raster.read(1)
        assert raster.crs == crs
        assert raster.transform.almost_equals(transform)
    with rasterio.open(folder / "probability.tif") as raster:
        probability = raster.read(1)
        assert raster.scales == (1 / 200,)
    assert ((classes == 255) == ~valid).all()
    assert ((probability >= 100) == (classes == 1))[valid].all()
    table = pyogrio.read_dataframe(folder / "buildings.gpkg", layer="buildings")
    assert table.crs == crs
    assert (table.geometry.geom_type == "Polygon").all()
    assert table.geometry.is_valid.all()
    burned = rasterize(table.geometry, classes.shape, transform=transform, dtype="uint8")
    assert np.array_equal(burned, classes == 1)
    assert table.area_m2.sum() == pytest.approx((classes == 1).sum() * 0.09, rel=2e-3)


def test_running_again_skips_and_the_map_of_another_configuration_is_kept(
    plain: Path, tmp_path: Path
) -> None:
    run_to(plain, tmp_path)
    before = {p.name: (sha256_of(p), p.stat().st_mtime_ns) for p in (tmp_path / "plain").iterdir()}
    again = run_to(plain, tmp_path)
    assert again.count("skipped") == 1
    other = run_to(plain, tmp_path, vectorize__threshold="0.7")
    assert (other.count("kept"), other.exit_code) == (1, 2)
    assert "--overwrite" in other.scenes[0].reason
    assert before == {p.name: (sha256_of(p), p.stat().st_mtime_ns) for p in (tmp_path / "plain").iterdir()}
    settings = {"output": str(tmp_path), "compute.executor": "serial", **SMALL_WINDOWS}
    made = run(plain, settings | {"vectorize.threshold": "0.7"}, overwrite=True)
    assert made.count("done") == 1


def test_a_map_with_a_file_gone_is_made_again(plain: Path, tmp_path: Path) -> None:
    run_to(plain, tmp_path)
    (tmp_path / "plain" / "buildings.gpkg").unlink()
    assert run_to(plain, tmp_path).count("done") == 1


class StopError(Exception):
    """Ends a run from within, as a crash would."""


def stopped_run(workflow: Path, settings: dict[str, str]) -> Plan:
    """The plan of a run that ended, as a crash would, after its first band."""

    def stop(event: Event) -> None:
        if isinstance(event, WindowRowsFinished):
            raise StopError

    with pytest.raises(StopError):
        run(workflow, settings, watch=stop)
    (plan,) = prepare(workflow, settings).plans
    assert plan.partials_folder.is_dir()
    return plan


def test_a_killed_run_resumes_from_its_partial_results(plain: Path, tmp_path: Path) -> None:
    settings = {"output": str(tmp_path / "out"), "compute.executor": "serial", **SMALL_WINDOWS}

    plan = stopped_run(plain, settings)
    assert len(plan.tiles.window_rows) > 1
    parts = {p.name: p.stat().st_mtime_ns for p in plan.partials_folder.iterdir()}
    assert len([name for name in parts if name.endswith(".json")]) == 1
    assert sorted(p.name for p in plan.folder.iterdir()) == [plan.partials_folder.name]
    run(plain, settings)
    run_to(plain, tmp_path / "undisturbed")
    assert same(tmp_path / "out" / "plain", tmp_path / "undisturbed" / "plain")
    assert not plan.partials_folder.exists()


def test_a_failed_scene_keeps_its_partial_results(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_luck(task: AssembleTask) -> AssembledScene:
        raise RuntimeError(f"no luck\nwith {task.plan.scene.ref.id}")

    settings = {"output": str(tmp_path), "compute.executor": "serial", **SMALL_WINDOWS}
    with monkeypatch.context() as broken:
        broken.setattr("geoseg.engine.tasks.assemble", out_of_luck)
        summary = run(plain, settings)
    assert summary.exit_code == 1
    (outcome,) = summary.scenes
    assert outcome.status == "failed"
    assert "no luck with plain" in outcome.reason
    assert "geoseg --debug run" in outcome.reason
    (plan,) = prepare(plain, settings).plans
    before = {p.name: p.stat().st_mtime_ns for p in plan.partials_folder.iterdir()}
    assert len(before) > 1
    with monkeypatch.context() as broken:
        broken.setattr("geoseg.engine.tasks.assemble", out_of_luck)
        run(plain, settings)
    assert before == {p.name: p.stat().st_mtime_ns for p in plan.partials_folder.iterdir()}
    assert run(plain, settings).count("done") == 1


def test_a_worker_of_another_kind_is_the_run_s_fault_and_not_the_scene_s(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"output": str(tmp_path), "compute.executor": "serial", **SMALL_WINDOWS}
    monkeypatch.setattr("geoseg.models.runtime.platform.node", lambda: "elsewhere")
    prepared = prepare(plain, settings)
    other = replace(prepared.plans[0], runtime=replace(prepared.runtime, library="torch 1.0"))
    monkeypatch.setattr("geoseg.flow.run.run.prepare", lambda *_, **__: replace(prepared, plans=(other,)))
    (outcome,) = run(plain, settings).scenes
    assert outcome.status == "failed"
    assert "elsewhere" in outcome.reason


def test_a_score_that_cannot_be_written_leaves_the_maps(scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes / "plain", tmp_path / "score.json")
    workflow = workflow_for(catalog_of(tmp_path, "score.json"))  # its folder has the name of the report
    workflow.write_text(workflow.read_text() + "evaluate: {asset: buildings}\n", encoding="utf-8")
    summary = run_to(workflow, tmp_path / "out")
    assert summary.count("done") == 1
    assert summary.score is None
    assert "score.json" in summary.unscored
    assert summary.exit_code == 2


def test_partial_results_of_another_configuration_go_when_the_scene_is_done(
    plain: Path, tmp_path: Path
) -> None:
    settings = {"output": str(tmp_path), "compute.executor": "serial", **SMALL_WINDOWS}
    stopped_run(plain, settings | {"tiling.halo": "16 px"})
    assert run(plain, settings).count("done") == 1
    assert not list(tmp_path.rglob(".partials-*"))


def test_partial_results_left_beside_a_finished_map_go(plain: Path, tmp_path: Path) -> None:
    settings = {"output": str(tmp_path), "compute.executor": "serial", **SMALL_WINDOWS}
    run(plain, settings)
    (plan,) = prepare(plain, settings).plans
    plan.partials_folder.mkdir()  # the run was killed between the manifest and its last step
    (plan.partials_folder / "rows-00000-00001.probabilities.npy").touch()
    assert run(plain, settings).count("skipped") == 1
    assert not plan.partials_folder.exists()


def test_overwriting_leaves_nothing_of_the_map_before(plain: Path, tmp_path: Path) -> None:
    settings = {"output": str(tmp_path), "compute.executor": "serial", **SMALL_WINDOWS}
    run(plain, settings)
    (tmp_path / "plain" / "notes.txt").write_text("the user's own", encoding="utf-8")
    assert run(plain, settings | {"vectorize": "null"}, overwrite=True).count("done") == 1
    left = sorted(p.name for p in (tmp_path / "plain").iterdir())
    assert left == [
        "classes.qml",
        "classes.tif",
        "item.json",
        "notes.txt",
        "probability.qml",
        "probability.tif",
    ]


def under_rules(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("plan", "predict", "assemble"):
        monkeypatch.setattr(f"geoseg.engine.{module}.RULES", number)


@pytest.mark.parametrize("what", ["a map", "partial results"])
def test_what_older_rules_made_is_kept_and_not_reused(
    what: str, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"output": str(tmp_path), "compute.executor": "serial", **SMALL_WINDOWS}
    with monkeypatch.context() as older:
        under_rules(1, older)
        if what == "a map":
            run(plain, settings)
        else:
            stopped_run(plain, settings)
    before = {path: sha256_of(path) for path in (tmp_path / "plain").rglob("*") if path.is_file()}
    (outcome,) = run(plain, settings).scenes
    assert outcome.status == "kept"
    assert f"holds {what} made under rules 1" in outcome.reason
    assert "--overwrite" in outcome.reason
    after = {path: sha256_of(path) for path in (tmp_path / "plain").rglob("*") if path.is_file()}
    assert after == before, "kept"
    predicted: list[Event] = []
    assert run(plain, settings, overwrite=True, watch=predicted.append).count("done") == 1
    assert any(isinstance(event, WindowRowsFinished) for event in predicted), "not reused"
    assert json.loads((tmp_path / "plain" / "item.json").read_text())["properties"]["geoseg:rules"] == 2


def test_maps_from_before_there_was_a_number_are_of_the_first_rules(plain: Path, tmp_path: Path) -> None:
    settings = {"output": str(tmp_path), "compute.executor": "serial", **SMALL_WINDOWS}
    run(plain, settings)
    path = tmp_path / "plain" / "item.json"
    item = json.loads(path.read_text())
    del item["properties"]["geoseg:rules"]
    item["properties"]["geoseg:fingerprint"] = "0" * 64
    path.write_text(json.dumps(item))
    (outcome,) = run(plain, settings).scenes
    assert "made under rules 1" in outcome.reason


CHANGES: dict[str, dict[str, str]] = {
    "threshold": {"vectorize.threshold": "0.7"},
    "mode": {"vectorize.mode": "objects", "vectorize.format": "fgb", "vectorize.layer": "roofs"},
    "no polygons": {"vectorize": "null"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_probabilities_are_reused_without_the_network(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
) -> None:
    settings = {"compute.executor": "serial", **SMALL_WINDOWS}
    fresh = run(plain, settings | change | {"output": str(tmp_path / "fresh")})
    run(plain, settings | {"output": str(tmp_path / "again")})
    monkeypatch.setattr("geoseg.engine.tasks.predict_window_rows", None)  # nothing is mapped from here on
    refused = run(plain, settings | change | {"output": str(tmp_path / "again")})
    assert "--overwrite, which recomputes it from its probabilities" in refused.scenes[0].reason
    again = run(plain, settings | change | {"output": str(tmp_path / "again")}, overwrite=True)
    (outcome,) = again.scenes
    assert (outcome.status, outcome.polygons) == ("done", fresh.scenes[0].polygons)
    assert outcome.reason == "recomputed from its probabilities"
    one, other = (tmp_path / name / "plain" for name in ("fresh", "again"))
    assert sorted(p.name for p in one.iterdir()) == sorted(p.name for p in other.iterdir())
    for name in ("classes.tif", "probability.tif"):
        assert sha256_of(one / name) == sha256_of(other / name)
    items = [json.loads((folder / "item.json").read_text()) for folder in (one, other)]
    assert items[0]["properties"].keys() == items[1]["properties"].keys()
    changing = ("processing:datetime",)
    both = [{k: v for k, v in item["properties"].items() if k not in changing} for item in items]
    assert both[0] == both[1]
    for layer in ("buildings.gpkg", "roofs.fgb"):
        if (one / layer).exists():
            tables = [gpd.read_file(folder / layer, layer=layer.split(".")[0]) for folder in (one, other)]
            assert tables[0].equals(tables[1])
    assert run(plain, settings | change | {"output": str(tmp_path / "again")}).count("skipped") == 1


def test_only_probabilities_that_are_whole_and_of_this_plan_are_used_again(
    plain: Path, tmp_path: Path
) -> None:
    settings = {"output": str(tmp_path), "compute.executor": "serial", **SMALL_WINDOWS}
    run(plain, settings)
    raster = tmp_path / "plain" / "probability.tif"
    (mapped,) = run(plain, settings | {"tiling.halo": "16 px"}, overwrite=True).scenes
    assert mapped.reason == "", "other windows give other probabilities"
    (mapped,) = run(plain, settings | {"write.probability": "top"}, overwrite=True).scenes
    (mapped,) = run(plain, settings, overwrite=True).scenes
    assert mapped.reason == "", "the top one alone says less"
    whole = raster.read_bytes()
    raster.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    damaged = run(plain, settings | {"vectorize.threshold": "0.6"}, overwrite=True)
    assert damaged.count("refused") == 1
    assert f"remove {raster.parent} to map the scene again" in damaged.scenes[0].reason


def test_a_damaged_partial_result_is_recomputed(plain: Path, tmp_path: Path) -> None:
    settings = {"output": str(tmp_path / "out"), "compute.executor": "serial", **SMALL_WINDOWS}

    plan = stopped_run(plain, settings)
    damaged = next(plan.partials_folder.glob("*.probabilities.npy"))
    damaged.write_bytes(damaged.read_bytes()[:-7] + b"garbage")
    run(plain, settings)
    run_to(plain, tmp_path / "undisturbed")
    assert same(tmp_path / "out" / "plain", tmp_path / "undisturbed" / "plain")


def test_interrupting_the_command_leaves_no_partial_file(plain: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "geoseg", "run", str(plain), "--set", f"output={tmp_path / 'out'}"]
    command += [item for key, value in SMALL_WINDOWS.items() for item in ("--set", f"{key}={value}")]
    process = subprocess.Popen(
        [*command, "--workers", "2", "--progress", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests that run behind `nohup … &` ignore Ctrl-C, and what they start would inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no thread forks here
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["event"] == "start"
    os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does: the whole foreground group
    _, errors = process.communicate(timeout=600)  # against what hangs: a busy machine takes ten times as long
    # Workers start for seconds after the first event: the run cannot have ended before the interrupt.
    assert process.returncode == 130, errors
    assert errors.strip().splitlines()[-1].startswith("geoseg: interrupted")
    assert "Traceback" not in errors
    left = [p for p in (tmp_path / "out").rglob("*") if p.is_file() and ".partials-" not in str(p)]
    assert {p.name for p in left} == {".geoseg.lock", "runtime.json"}
    finished = subprocess.run([*command, "--workers", "1"], capture_output=True, text=True, check=True)
    assert "1 done" in finished.stdout


def test_two_runs_do_not_share_a_folder(plain: Path, tmp_path: Path) -> None:
    from geoseg.io.files import locked  # noqa: PLC0415 - only here

    with locked(tmp_path):
        done = subprocess.run(
            [sys.executable, "-m", "geoseg", "run", str(plain), "--set", f"output={tmp_path}"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "another run" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_running_scheduler_can_be_used(plain: Path, tmp_path: Path) -> None:
    from distributed import LocalCluster  # noqa: PLC0415 - only here

    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        summary = run_to(plain, tmp_path / "remote", compute__scheduler=cluster.scheduler_address)
    assert summary.count("done") == 1
    run_to(plain, tmp_path / "serial")
    assert same(tmp_path / "remote" / "plain", tmp_path / "serial" / "plain")


def test_the_scene_grid_can_be_asked_for(plain: Path, tmp_path: Path) -> None:
    native = run_to(plain, tmp_path / "native")
    assert native.count("done") == 1
    run_to(plain, tmp_path / "scene", write__grid="scene", write__probability="top")
    with rasterio.open(tmp_path / "scene" / "plain" / "classes.tif") as raster:
        assert raster.shape == (373, 401)


@pytest.mark.parametrize("which", ["plain", "turned"])
def test_python_gives_the_map_of_the_command(
    which: str, tmp_path: Path, request: pytest.FixtureRequest, scenes: Path
) -> None:
    settings = {"output": str(tmp_path), "compute.executor": "serial", "tiling.halo": "32 px"}
    run(request.getfixturevalue(which), settings)
    array = rioxarray.open_rasterio(scenes / which / "scene.tif")
    stretch = (200, 10400) if which == "turned" else None
    out = predict(array, "buildings-mininet2", halo="32 px", stretch=stretch)
    with rasterio.open(tmp_path / which / "classes.tif") as raster:
        assert np.array_equal(raster.read(1), out.classes)
    with rasterio.open(tmp_path / which / "probability.tif") as raster:
        stored = raster.read()
    assert np.array_equal(np.isnan(out.probability), stored == 255)
    assert np.array_equal(np.rint(out.probability.fillna(1.275) * 200), stored)


def test_a_task_is_small_and_a_manifest_too(plain: Path, tmp_path: Path) -> None:
    import cloudpickle  # noqa: PLC0415 - what dask sends tasks with

    from geoseg.engine.plan import PredictTask  # noqa: PLC0415
    from geoseg.engine.predict import predict_window_rows  # noqa: PLC0415

    (plan,) = prepare(plain, {"output": str(tmp_path), **SMALL_WINDOWS}).plans
    task = PredictTask(plan, plan.tiles.window_rows[0])
    assert len(cloudpickle.dumps(task)) < 10_000
    start = time.perf_counter()
    manifest = predict_window_rows(task)
    assert len(manifest.model_dump_json()) < 1_000
    assert 0 < manifest.seconds <= time.perf_counter() - start
