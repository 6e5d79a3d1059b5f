"""Models and maps against labels: one path with `run`, streaming equals whole, a line for every mistake."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from support.commands import Command
from support.stac import stac_item, write_catalog
from synthetic.bundles import random_bundle
from synthetic.neighborhood import generate
from synthetic.writing import write_scene

from geoseg.arrays import Bool
from geoseg.config.model.contract import ClassSpec
from geoseg.config.stac.refs import LabelRef
from geoseg.errors import LabelError, RunError
from geoseg.flow.compare.compare import evaluate_models
from geoseg.flow.evaluate.evaluate import evaluate_workflow
from geoseg.flow.evaluate.scene import Pair, evaluate_scene
from geoseg.flow.evaluate.worst_figure import Panel, draw
from geoseg.flow.run.events import Event, RunStarted
from geoseg.flow.run.prepare import prepare
from geoseg.flow.run.run import run
from geoseg.grid.encoding import ProbabilityEncoding
from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window
from geoseg.io.raster.cog import write_cog
from geoseg.models.bundle import shipped_bundles
from geoseg.score.pixels.boundary import BoundaryWidth, near_contour
from geoseg.score.pixels.calibration import Reliability
from geoseg.score.report.report import aligned
from geoseg.score.report.tables import comparison_markdown
from geoseg.score.report.values import Comparison, ScoreReport
from geoseg.score.tally import CellCounter, Extra, SceneTally, worst_windows

pytestmark = pytest.mark.slow

GRID = GeoBox(
    300, 260, Affine.translation(617000, 3344000) @ Affine.rotation(9) @ Affine.scale(0.3, -0.3), "EPSG:26914"
)


def class_specs(count: int, *, background: bool) -> tuple[ClassSpec, ...]:
    return tuple(
        ClassSpec(id=i, name=f"c{i}", title=f"C {i}", color="#808080", background=background and i == 0)
        for i in range(count)
    )


class TestStreaming:
    """A map in strips, with its probabilities, against arrays in memory."""

    @pytest.mark.parametrize(
        "case", [(2, True, False), (2, True, True), (3, False, False), (3, False, True), (2, False, True)]
    )
    def test_strips_equal_the_whole(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: tuple[int, bool, bool]
    ) -> None:
        count, background, top = case
        rng = np.random.default_rng(count)
        coarse = rng.normal(size=(count, 30, 26))
        logits = np.kron(coarse, np.ones((1, 10, 10))) + rng.normal(size=(count, *GRID.shape))
        specs = class_specs(count, background=background)
        encoding = ProbabilityEncoding(count, 0 if background else None)
        stored = encoding.encode(logits.astype(np.float32))
        stored[:, :40, :30] = 255
        mapped = encoding.classify(stored)
        truth = np.kron(rng.integers(0, count, (30, 26)), np.ones((10, 10), int)).astype(np.uint8)
        truth[100:180] = 255
        raster, probability = tmp_path / "classes.tif", tmp_path / "probability.tif"
        write_cog(raster, GRID, ["class"], [(GRID.window, mapped[None])])
        written = encoding.confidence(stored, mapped)[None] if top else stored
        names = ["probability of the class"] if top else [f"C {i}" for i in encoding.class_ids]
        write_cog(probability, GRID, names, [(GRID.window, written)])
        labels = tmp_path / "labels.tif"
        write_cog(labels, GRID, ["class"], [(GRID.window, truth[None])])
        pair = Pair("here", raster, LabelRef(str(labels)), lambda: GRID)

        width = BoundaryWidth(7, "px")
        whole = evaluate_scene(pair, specs, width)
        monkeypatch.setattr("geoseg.io.raster.cog._STRIP_PIXELS", 23 * GRID.width)
        strips = evaluate_scene(pair, specs, width)
        assert whole.reach is not None
        assert strips.boundary is not None
        counted = (truth != 255) & (mapped != 255)
        near = [near_contour(ids, counted, whole.reach) for ids in (truth, mapped)]
        memory = CellCounter(count)
        memory.add(0, 0, truth, mapped, Extra(near=(near[0], near[1])))
        expected = memory.tally("here", reach=whole.reach)
        for found in (whole, strips):
            np.testing.assert_array_equal(found.cells, expected.cells)
            np.testing.assert_array_equal(found.boundary, expected.boundary)  # type: ignore[arg-type]
            assert found.reliability is not None
            known = not top or count == 2
            every = stored if not encoding.binary else np.concatenate((200 - np.minimum(stored, 200), stored))
            if top and count == 2:
                sure = encoding.confidence(stored, mapped)
                every = np.stack([np.where(mapped == i, sure, 200 - np.minimum(sure, 200)) for i in (0, 1)])
            of_all = Reliability.of(truth, mapped, every).counts
            np.testing.assert_array_equal(found.reliability.counts[-1], of_all[-1])
            if known:
                np.testing.assert_array_equal(found.reliability.counts, of_all)
            else:
                assert not found.reliability.counts[:-1].any()
        np.testing.assert_array_equal(whole.calibration, strips.calibration)  # type: ignore[arg-type]

    def test_probabilities_of_another_map_are_refused(self, tmp_path: Path) -> None:
        for name, grid in (("classes", GRID), ("probability", GRID[Window(0, 0, 9, 9)])):
            pixels = np.zeros((1, *grid.shape), np.uint8)
            write_cog(tmp_path / f"{name}.tif", grid, ["x"], [(grid.window, pixels)])
        pair = Pair("here", tmp_path / "classes.tif", LabelRef(str(tmp_path / "classes.tif")), lambda: GRID)
        with pytest.raises(Exception, match=r"has 1 bands of 9×9 px, needed 1 .* map the scene again"):
            evaluate_scene(pair, class_specs(2, background=True))


class TestWorstWindows:
    @given(
        npst.arrays(np.bool_, npst.array_shapes(min_dims=2, max_dims=2, max_side=40)),
        st.integers(1, 9),
        st.integers(0, 6),
    )
    def test_they_are_inside_apart_and_the_first_is_the_worst(
        self, wrong: Bool, side: int, count: int
    ) -> None:
        counter = CellCounter(2, side=1)
        counter.add(0, 0, np.zeros(wrong.shape, np.uint8), wrong.astype(np.uint8))
        found = worst_windows([(counter.tally("here"), wrong.shape)], count, side)
        whole = Window(0, 0, *wrong.shape)
        errors = [int(wrong[window.slices].sum()) for _, window in found]
        assert all(whole.contains(window) for _, window in found)
        assert errors == sorted(errors, reverse=True)
        assert all(errors)
        for place, (_, window) in enumerate(found):
            assert all(window.intersect(other) is None for _, other in found[:place])
        height, width = min(side, wrong.shape[0]), min(side, wrong.shape[1])
        windows = np.lib.stride_tricks.sliding_window_view(wrong, (height, width))
        most = int(windows.sum(axis=(2, 3)).max())
        assert (errors[:1] == [most]) if most and count else not errors

    def test_scenes_compete(self) -> None:
        tallies = []
        for value in (3, 9):
            counter = CellCounter(2)
            mapped = np.zeros((300, 300), np.uint8)
            mapped[:value, :value] = 1
            counter.add(0, 0, np.zeros_like(mapped), mapped)
            tallies.append((counter.tally(str(value)), mapped.shape))
        found = worst_windows(tallies, 9)
        assert [index for index, _ in found] == [1, 0]
        assert found[0][1] == Window(0, 0, 256, 256)
        assert worst_windows([], 3) == []


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labeled scenes, one without labels, two networks, a workflow."""
    folder = tmp_path_factory.mktemp("place")
    items = []
    for index, (name, size) in enumerate({"east": (260, 300), "west": (280, 270), "bare": (60, 70)}.items()):
        write_scene(folder / name, generate(size=size, seed=index), origin=(621000 + 900 * index, 3349000))
        roofs = {"geoseg:layer": "buildings"}
        labels = {
            "buildings": roofs | {"href": f"{name}/buildings.gpkg"},
            "landcover": {"href": f"{name}/landcover.tif"},
            "elsewhere": roofs | {"href": "east/buildings.gpkg"},
        }
        items.append(stac_item(name, **({} if name == "bare" else labels)))
    write_catalog(folder / "catalog.json", *items)
    # The shipped network of two classes, and two of the same classes that know nothing.
    named = {"classes": 2, "arguments": {"widths": [4, 8], "encoder": [1, 1], "decoder": [1]}}
    random_bundle(folder / "models" / "fine", seed=1, halo=16, **named)
    random_bundle(folder / "models" / "coarse", seed=2, halo=16, resolution=0.6, **named)
    for which in ("fine", "coarse"):
        item = folder / "models" / which / "item.json"
        item.write_text(
            item.read_text().replace('"class0"', '"background"').replace('"class1"', '"building"')
        )
    (folder / "flow.yaml").write_text(
        "catalog: catalog.json\nmodel: buildings-mininet2\ncompute: {executor: serial}\n"
        "tiling: {window: 192 px, halo: 16 px}\nevaluate: {asset: buildings}\nvectorize: {threshold: 0.4}\n",
        encoding="utf-8",
    )
    return folder


@pytest.fixture
def workflow(place: Path) -> Path:
    return place / "flow.yaml"


def models(place: Path, *names: str) -> list[str]:
    return [name if name in shipped_bundles() else str(place / "models" / name) for name in names]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("maps")


@pytest.fixture(scope="module")
def compared(place: Path, output: Path) -> Comparison:
    names = models(place, "buildings-mininet2", "fine")
    return evaluate_models(place / "flow.yaml", names, {"output": str(output)}, worst=2).comparison


class TestModels:
    def test_a_model_is_mapped_and_scored_as_run_does(
        self, place: Path, output: Path, compared: Comparison, tmp_path: Path
    ) -> None:
        settings = {"output": str(tmp_path), "scenes.ids": ["east", "west"]}
        summary = run(place / "flow.yaml", settings)
        assert summary.score is not None
        for scene in ("east", "west"):
            found = []
            for folder in (tmp_path, output / "evaluate" / "buildings-mininet2"):
                with rasterio.open(folder / scene / "classes.tif") as raster:
                    found.append(raster.read(1))
            np.testing.assert_array_equal(*found)
        model = compared.models[0]
        report = summary.score
        assert model.model == "buildings-mininet2"
        assert model.scores.mean_iou == report.mean_iou
        assert model.scores.accuracy == report.accuracy
        assert model.scores.boundary_iou == report.boundary_iou
        assert model.scores.calibration_error == report.calibration_error
        assert model.scores.iou == tuple(row.iou for row in report.classes)
        assert model.per_scene == tuple(row.mean_iou for row in report.scenes)
        own = json.loads((output / "evaluate" / "buildings-mininet2" / "score.json").read_text())
        assert ScoreReport.model_validate(own).mean_iou == report.mean_iou

    def test_what_it_costs_stands_beside(self, compared: Comparison) -> None:
        cost = compared.models[0].cost
        assert cost.parameters == 210_577
        assert (
            cost.weights_bytes
            == (shipped_bundles()["buildings-mininet2"] / "weights.safetensors").stat().st_size
        )
        assert cost.gflops_per_mpx == pytest.approx(4.35, abs=0.01)
        assert cost.network_mpx_per_second is not None
        assert cost.map_mpx_per_second is not None
        assert cost.network_mpx_per_second > cost.map_mpx_per_second > 0

    def test_a_scene_without_labels_is_named_and_not_mapped(self, output: Path, compared: Comparison) -> None:
        assert [place.scene for place in compared.scenes] == ["east", "west"]
        (left,) = compared.unscored
        assert left.scene == "bare"
        assert "has no label asset 'buildings'" in left.reason
        assert not (output / "evaluate" / "fine" / "bare").exists()

    def test_the_written_comparison_is_the_returned_one(self, output: Path, compared: Comparison) -> None:
        folder = output / "evaluate"
        assert Comparison.model_validate_json((folder / "comparison.json").read_text()) == compared
        page = (folder / "comparison.md").read_text()
        assert page == comparison_markdown(compared)
        first = compared.models[0].scores.mean_iou
        assert f"| buildings-mininet2 | {first.value:.3f} [{first.low:.3f}, {first.high:.3f}] |" in page
        tables = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
        assert len(tables) == 6
        assert all(len({line.count("|") for line in table}) == 1 for table in tables)
        assert "this machine's cpu" in page
        assert "not scored: scene bare" in page

    def test_all_models_run_on_as_many_workers(
        self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = models(place, "fine", "coarse")
        auto = {"output": str(tmp_path), "compute.executor": "auto", "scenes.ids": ["east"]}
        pixels = [
            sum(
                plan.grid.window.pixels
                for plan in prepare(place / "flow.yaml", {**auto, "model": name}).plans
            )
            for name in names
        ]
        assert pixels[0] != pixels[1]
        monkeypatch.setattr("geoseg.flow.run.run._SMALL_RUN", min(pixels))  # else both would be small
        found: list[str] = []

        def follow(event: Event) -> None:
            if isinstance(event, RunStarted):
                found.append(event.where)

        comparison = evaluate_models(place / "flow.yaml", names, auto, watch=lambda _: follow).comparison
        assert found == ["one process"] * 2
        assert "one process" in comparison.machine

    def test_the_second_time_nothing_is_mapped_and_all_is_said_again(
        self, place: Path, output: Path, compared: Comparison
    ) -> None:
        events: list[Any] = []
        names = models(place, "buildings-mininet2", "fine")
        again = evaluate_models(
            place / "flow.yaml", names, {"output": str(output)}, watch=lambda _: events.append
        )
        assert again.comparison == compared
        assert again.exit_code == 0
        assert {getattr(event, "status", event) for event in events} == {"skipped"}

    def test_the_other_way_round_differences_change_their_sign(
        self, place: Path, output: Path, compared: Comparison
    ) -> None:
        names = models(place, "fine", "buildings-mininet2")
        there = compared.models[1].difference
        back = (
            evaluate_models(place / "flow.yaml", names, {"output": str(output)})
            .comparison.models[1]
            .difference
        )
        assert there is not None
        assert back is not None
        for name in ("mean_iou", "accuracy", "boundary_iou", "calibration_error"):
            one, other = getattr(there, name), getattr(back, name)
            assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
        assert there.mean_iou.high < 0, "random weights know less than trained ones"

    def test_the_worst_windows_are_drawn(self, output: Path, compared: Comparison) -> None:
        assert compared
        for name in ("buildings-mininet2", "fine"):
            picture = matplotlib.image.imread(output / "evaluate" / name / "worst.png")
            assert picture.shape[1] == 1650
            assert 800 < picture.shape[0] < 1400, "two windows, one below the other"
            colors = (picture[..., :3] * 255).astype(np.int64) @ (65536, 256, 1)
            assert len(np.unique(colors)) > 1000

    def test_models_of_other_resolutions_meet_on_the_scene_s_own_pixels(
        self, place: Path, tmp_path: Path
    ) -> None:
        names = models(place, "fine", "coarse")
        settings = {"output": str(tmp_path), "scenes.ids": ["east"]}
        found = evaluate_models(place / "flow.yaml", names, settings).comparison
        assert found.grid == "the scenes' own pixels"
        for name in ("fine", "coarse"):
            with rasterio.open(tmp_path / "evaluate" / name / "east" / "classes.tif") as raster:
                assert raster.shape == (260, 300)
        alone = evaluate_models(place / "flow.yaml", names[1:], settings).comparison
        assert alone.grid == "the pixels of the models' grid"
        assert alone.models[0].difference is None
        with rasterio.open(tmp_path / "evaluate" / "coarse" / "east" / "classes.tif") as raster:
            assert raster.shape == (130, 150)


class TestCommand:
    def test_tables_or_json_on_stdout_progress_on_stderr(
        self, geoseg: Command, place: Path, workflow: Path, tmp_path: Path
    ) -> None:
        (fine,) = models(place, "fine")
        where = ("--set", f"output={tmp_path}", "--set", "scenes.ids=[east]")
        code, out, err = geoseg("evaluate", workflow, *where, "--model", fine)
        assert code == 0
        assert out.startswith("Scores, with 95% intervals\nmodel ")
        assert "Difference" not in out
        assert out.endswith(f"maps and scores: {tmp_path / 'evaluate'}\n")
        assert err == "fine: 0.1 Mpx on one process\ndone     east\n"
        code, out, err = geoseg("evaluate", workflow, *where, "--model", fine, "--json", "--worst", 0)
        assert code == 0
        assert json.loads(out)["models"][0]["model"] == "fine"
        assert err.startswith("skipped  east")

    def test_a_finished_run_has_its_worst_windows_too(
        self, geoseg: Command, place: Path, workflow: Path, tmp_path: Path
    ) -> None:
        (fine,) = models(place, "fine")
        where = ("--set", f"output={tmp_path}", "--set", f"model={fine}", "--set", "scenes.ids=[east, west]")
        assert geoseg("run", workflow, *where, "--progress", "none")[0] == 0
        assert not (tmp_path / "worst.png").exists()
        code, out, _ = geoseg("evaluate", workflow, *where, "--boundary", "1.5 m")
        assert code == 0
        assert "mean IoU within 1.5 m of contours" in out
        assert any(line.startswith("west ") for line in out.splitlines()), "a line per place"
        assert (tmp_path / "worst.png").stat().st_size > 10_000
        report = ScoreReport.model_validate_json((tmp_path / "score.json").read_text())
        assert report.boundary_width == "1.5 m"
        assert [row.boundary_pixels for row in report.scenes] == [(5, 5), (5, 5)]
        assert {curve.name for curve in report.reliability} == {"background", "building", "confidence"}
        assert report.categories == ()
        asked = "evaluate={asset: buildings, categories: {ground: [background], all: [building]}}"
        code, out, _ = geoseg("evaluate", workflow, *where, "--worst", "0", "--set", asked)
        assert code == 0
        again = ScoreReport.model_validate_json((tmp_path / "score.json").read_text())
        assert [one.iou for one in again.categories] == [one.iou.value for one in report.classes]
        assert again.category_mean_iou == report.mean_iou_by_definition["cityscapes"]
        code, out, said = geoseg(
            "check", workflow, *where, "--set", asked.replace("[building]", "[buildings]")
        )
        assert code == 2
        assert "evaluate.categories.all: the model has no class 'buildings'; did you mean 'building'?" in said

    @pytest.mark.parametrize(
        "case",
        [
            (
                ("--model", "buildings-mininet2", "--model", "landcover-mininet2"),
                "only models of the same classes",
            ),
            (("--model", "buildings-mininet2", "--asset", "landcover"), "hold class 2, but the model"),
            (("--model", "fine", "--model", "fine"), "name each once"),
            (("--model", "fine", "--asset", "roofs"), "has no label asset 'roofs' in the catalog; it has"),
            (("--model", "buldings-mininet2"), "did you mean 'buildings-mininet2'?"),
            (("--model", "fine", "--asset", "elsewhere", "--set", "scenes.ids=[west]"), "do not overlap"),
            (("--model", "fine", "--set", "scenes.ids=[bare]"), "has no label asset 'buildings'"),
            (("--model", "fine", "--boundary", "wide"), "such as 5 px, 1.5 m or 2 %"),
        ],
    )
    def test_every_mistake_is_one_line_before_any_map(
        self,
        geoseg: Command,
        place: Path,
        tmp_path: Path,
        case: tuple[Sequence[str], str],
    ) -> None:
        arguments, words = case
        given = [str(place / "models" / word) if word == "fine" else word for word in arguments]
        code, out, err = geoseg(
            "evaluate", place / "flow.yaml", "--set", f"output={tmp_path / 'out'}", *given
        )
        assert (code, out) == (2, "")
        assert words in err
        assert len(err.splitlines()) == 1
        assert not (tmp_path / "out").exists()

    def test_a_bundle_of_another_architecture_is_refused(
        self, geoseg: Command, place: Path, workflow: Path, tmp_path: Path
    ) -> None:
        broken = Path(shutil.copytree(place / "models" / "fine", tmp_path / "broken"))
        item = broken / "item.json"
        item.write_text(item.read_text().replace('"micronet"', '"mininet-1"'))
        code, out, err = geoseg(
            "evaluate", workflow, "--set", f"output={tmp_path / 'out'}", "--model", models(place, "fine")[0],
            "--model", broken,
        )  # fmt: skip
        assert (code, out) == (2, "")
        assert "mininet-1" in err
        assert len(err.splitlines()) == 1
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("shape", "pixel", "crs", "low", "high"),
    [
        ((1, 256), (0.3, -0.3), "EPSG:26914", 150, 260),  # a line stays seen
        ((256, 8), (0.3, -0.3), "EPSG:26914", 400, 700),  # a tall one is as high as a square
        (
            (200, 256),
            (1e-5, -1e-5),
            "EPSG:4326",
            400,
            700,
        ),  # degrees, two meters down for each across at 60 N
    ],
)
def test_odd_windows_and_names_are_drawn(  # noqa: PLR0917 - one case
    tmp_path: Path, shape: tuple[int, int], pixel: tuple[float, float], crs: str, low: int, high: int
) -> None:
    origin = (10, 60) if crs == "EPSG:4326" else (617000, 3344000)
    box = GeoBox(*shape, Affine.translation(*origin) @ Affine.scale(*pixel), crs)
    rng = np.random.default_rng(0)
    ids = rng.choice(np.array([0, 1, 2, 255], np.uint8), (2, *shape))
    image = rng.random((*shape, 3)).astype(np.float32)
    names = ("$a_ 東京 " + 90 * "x", "Road $x")
    specs = [
        ClassSpec(id=0, name="ground", title="Ground", color="#000000", background=True),
        *(ClassSpec(id=i, name=f"c{i}", title=names[1], color="#ff0000") for i in (1, 2)),
    ]
    draw(tmp_path / "worst.png", [Panel(names[0], box, image, ids[0], ids[1])], specs)
    assert low < matplotlib.image.imread(tmp_path / "worst.png").shape[0] < high


def test_cells_line_up_where_a_model_has_none() -> None:
    def tally(places: list[list[int]], value: int) -> SceneTally:
        cells = np.full((len(places), 2, 2), value, np.int64)
        return SceneTally("here", 64, np.array(places), cells)

    side, (one, other) = aligned([[tally([[0, 0], [0, 2]], 1)], [tally([[0, 1], [0, 2]], 2)]])
    assert side == 64
    assert one.pixels[:, 0, 0].tolist() == [1, 0, 1]
    assert other.pixels[:, 0, 0].tolist() == [0, 2, 2]


def test_a_picture_that_cannot_be_drawn_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.flow.evaluate.worst.find_spec", lambda _: None)
    with pytest.raises(RunError, match=r"pip install 'geoseg\[train\]', or leave it out with --worst 0"):
        evaluate_workflow("nowhere.yaml", worst=1)
    with pytest.raises(RunError, match=r"worst\.png needs matplotlib"):
        evaluate_models(Path("nowhere.yaml"), ["buildings-mininet2"], worst=1)


def test_maps_are_made_and_scored_without_what_draws_pictures() -> None:
    modules = "geoseg.flow.run.run, geoseg.flow.compare.compare, geoseg.cli.progress"
    probe = f"import sys, {modules}; print([m for m in ('matplotlib', 'tensorboard') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_an_item_that_cannot_be_used_is_named_where_maps_are_scored(tmp_path: Path) -> None:
    broken = stac_item("broken")
    broken["assets"] = {}
    write_catalog(tmp_path / "catalog.json", broken)
    (tmp_path / "flow.yaml").write_text(
        "catalog: catalog.json\nmodel: buildings-mininet2\nevaluate: {asset: buildings}\n", encoding="utf-8"
    )
    with pytest.raises(LabelError, match="scene broken: none of its assets"):
        evaluate_workflow(tmp_path / "flow.yaml", {"output": str(tmp_path / "maps")})
