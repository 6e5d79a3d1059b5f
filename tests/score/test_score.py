from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from support.rasters import write_raster
from support.reports import report_text

from geoseg.cli.tables import table_text
from geoseg.config.model.contract import ClassSpec
from geoseg.config.stac.refs import BandRef, LabelRef, SceneRef
from geoseg.errors import GridError, LabelError
from geoseg.flow.evaluate.evaluate import evaluate_pairs, evaluate_run
from geoseg.flow.evaluate.scene import Pair, evaluate_scene
from geoseg.grid.geobox import GeoBox
from geoseg.io.raster.cog import write_cog
from geoseg.io.raster.scene import Reading
from geoseg.score.bootstrap import Bootstrap, Interval, Intervals, intervals_of
from geoseg.score.pixels.confusion import DEFINITIONS, Confusion, defined, margins, mean_iou, measures
from geoseg.score.pixels.sums import Sums
from geoseg.score.report.report import score_report
from geoseg.score.report.tables import report_notes, report_tables
from geoseg.score.report.values import Measure, ScoreReport, Unscored
from geoseg.score.tally import CellCounter, SceneTally, widest_side

K = 4
IDS = st.sampled_from([*range(K), 255])
ARRAYS = npst.array_shapes(min_dims=2, max_dims=2, max_side=30).flatmap(
    lambda shape: st.tuples(
        npst.arrays(np.uint8, shape, elements=IDS), npst.arrays(np.uint8, shape, elements=IDS)
    )
)
MATRICES = npst.arrays(np.int64, (K, K), elements=st.integers(0, 50))


def tally(scene: str, cells: NDArray[np.int64], side: int = 512, **counts: int) -> SceneTally:
    places = np.column_stack((np.arange(len(cells)), np.zeros(len(cells), np.int64)))
    return SceneTally(scene, side, places, cells, **counts)


def of_class(counted: Confusion, name: str) -> tuple[float | None, ...]:
    """A measure of each class."""
    return defined(measures(*margins(counted.counts))[name])


class TestConfusion:
    @given(ARRAYS)
    def test_counts_equal_those_of_a_loop(self, arrays: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
        truth, mapped = arrays
        pairs = Counter(zip(truth.ravel().tolist(), mapped.ravel().tolist(), strict=True))
        found = Confusion.of(truth, mapped, K)
        assert found.counts.dtype == np.int64
        assert found.counts.tolist() == [[pairs[i, j] for j in range(K)] for i in range(K)]
        assert found.excluded == sum(pairs[i, 255] for i in range(K))

    @given(ARRAYS)
    def test_measures_equal_those_of_sets_of_pixels(
        self, arrays: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    ) -> None:
        truth, mapped = (array.ravel() for array in arrays)
        both = [place for place in range(truth.size) if truth[place] != 255 != mapped[place]]
        found = Confusion.of(truth, mapped, K)

        def share(part: set[int], whole: set[int]) -> float | None:
            return len(part) / len(whole) if whole else None

        for index in range(K):
            true = {place for place in both if truth[place] == index}
            said = {place for place in both if mapped[place] == index}
            assert found.iou[index] == share(true & said, true | said)
            assert of_class(found, "precision")[index] == share(true & said, said)
            assert of_class(found, "recall")[index] == share(true & said, true)
            f1, iou = of_class(found, "f1")[index], found.iou[index]
            assert (f1 is None) == (iou is None)
            assert f1 is None or iou is None or f1 == pytest.approx(2 * iou / (1 + iou))
        assert found.accuracy == share({place for place in both if truth[place] == mapped[place]}, set(both))

    @given(ARRAYS, st.data())
    def test_blocks_add_up_to_the_whole(
        self, arrays: tuple[NDArray[np.uint8], NDArray[np.uint8]], data: st.DataObject
    ) -> None:
        truth, mapped = arrays
        row = data.draw(st.integers(0, truth.shape[0]))
        col = data.draw(st.integers(0, truth.shape[1]))
        quarters = [(slice(row), slice(col)), (slice(row), slice(col, None))]
        quarters += [(slice(row, None), slice(col)), (slice(row, None), slice(col, None))]
        parts = [Confusion.of(truth[part], mapped[part], K) for part in data.draw(st.permutations(quarters))]
        total = sum(parts, Confusion.zeros(K))
        whole = Confusion.of(truth, mapped, K)
        np.testing.assert_array_equal(total.counts, whole.counts)
        assert total.excluded == whole.excluded

    def test_published_definitions_on_a_worked_case(self) -> None:
        first = Confusion.of(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 3)
        second = Confusion.of(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]), 3)
        assert (first + second).counts.tolist() == [[4, 2, 0], [0, 2, 0], [0, 0, 0]]
        assert (first + second).accuracy == 0.75
        expected = {
            "dataset": 0.583333,
            "cityscapes": 0.583333,
            "per-image": 0.666667,
            "faster-unet": 0.430556,
            "faster-unet-present": 0.645833,
        }
        found = {name: mean_iou([first, second], name) for name in DEFINITIONS}
        assert found == pytest.approx(expected, abs=1e-6)

    def test_a_class_only_the_map_has_counts_for_cityscapes_alone(self) -> None:
        one = Confusion.of(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]), 2)
        assert mean_iou([one], "dataset") == 0.75
        assert mean_iou([one], "cityscapes") == 0.375

    def test_what_is_undefined_is_none(self) -> None:
        nothing = Confusion.zeros(2)
        undefined = (None, None)
        assert nothing.iou == undefined
        assert {of_class(nothing, name) for name in ("f1", "precision", "recall")} == {undefined}
        assert nothing.accuracy is None
        assert {mean_iou([nothing], name) for name in DEFINITIONS} == {None}
        assert mean_iou([], "dataset") is None
        missed = Confusion.of(np.array([1]), np.array([0]), 2)
        assert of_class(missed, "precision") == (0.0, None)
        assert of_class(missed, "recall") == (None, 0.0)
        assert of_class(missed, "f1") == missed.iou == (0.0, 0.0)

    def test_strange_values_are_refused(self) -> None:
        zero = np.zeros(3, np.int16)
        with pytest.raises(LabelError, match="labels hold 7, needed class ids 0 to 1"):
            Confusion.of(zero + 7, zero, 2)
        with pytest.raises(LabelError, match="map's pixels hold -1"):
            Confusion.of(zero, zero - 1, 2)
        with pytest.raises(LabelError, match="the same"):
            Confusion.of(zero, np.zeros(4, np.int16), 2)
        with pytest.raises(LabelError, match="no definition of mean IoU is called 'mine'"):
            mean_iou([Confusion.zeros(2)], "mine")  # type: ignore[arg-type]


class TestCells:
    @given(ARRAYS, st.integers(1, 12), st.data())
    def test_cells_are_the_same_for_any_blocks(
        self, arrays: tuple[NDArray[np.uint8], NDArray[np.uint8]], side: int, data: st.DataObject
    ) -> None:
        truth, mapped = arrays
        height, width = truth.shape
        expected = []
        for row in range(0, height, side):
            for col in range(0, width, side):
                cell = (slice(row, row + side), slice(col, col + side))
                expected.append(Confusion.of(truth[cell], mapped[cell], K).counts)
        kept = [matrix for matrix in expected if matrix.any()]
        step_rows, step_cols = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
        blocks = [(row, col) for row in range(0, height, step_rows) for col in range(0, width, step_cols)]
        most = data.draw(st.sampled_from([1, 4, 10_000]))
        counter = CellCounter(K, side, most)
        for row, col in data.draw(st.permutations(blocks)):
            block = (slice(row, row + step_rows), slice(col, col + step_cols))
            counter.add(row, col, truth[block], mapped[block])
        found = counter.tally("here")
        whole = Confusion.of(truth, mapped, K)
        np.testing.assert_array_equal(found.confusion.counts, whole.counts)
        assert found.confusion.excluded == whole.excluded
        if most == 10_000:
            np.testing.assert_array_equal(found.cells, np.reshape(kept, (-1, K, K)))
        assert len(found.cells) <= most
        fine = CellCounter(K, side)
        fine.add(0, 0, truth, mapped)
        np.testing.assert_array_equal(found.cells, fine.tally("here").coarser(found.side).cells)
        if found.side > side:
            assert len(fine.tally("here").coarser(found.side // 2).cells) > most, "no coarser than needed"

    def test_a_cell_has_a_size(self) -> None:
        with pytest.raises(GridError, match="at least 1×1"):
            CellCounter(2, 0)
        with pytest.raises(GridError, match="scene here: cells of 64 px do not make cells of 96 px"):
            CellCounter(2).tally("here").coarser(96)

    @pytest.mark.parametrize(
        ("shape", "side", "count"),
        [((3200, 2560), 512, 35), ((1000, 500), 128, 32), ((1000, 1000), 128, 64), ((90, 70), 64, 4)],
    )
    def test_cells_are_as_wide_as_leaves_enough_of_them(
        self, shape: tuple[int, int], side: int, count: int
    ) -> None:
        ones = np.ones(shape, np.uint8)
        counter = CellCounter(2)
        counter.add(0, 0, ones, ones)
        scene = counter.tally("here")
        cells = scene.coarser(widest_side([scene])).cells
        assert (widest_side([scene]), len(cells)) == (side, count)
        assert cells.sum() == ones.size


def bootstrap(cells: NDArray[np.int64], how: Bootstrap | None = None) -> Intervals:
    return intervals_of(Sums.of(cells), how)


class TestBootstrap:
    @given(MATRICES.filter(lambda matrix: bool(matrix.any())), st.integers(2, 20), st.integers(0, 9))
    def test_equal_cells_leave_no_doubt(self, matrix: NDArray[np.int64], count: int, seed: int) -> None:
        intervals = bootstrap(np.stack([matrix] * count), Bootstrap(draws=20, seed=seed))
        one = Confusion(matrix)
        for name in ("iou", "precision", "recall", "f1"):
            for value, interval in zip(of_class(one, name), getattr(intervals, name), strict=True):
                assert (interval is None) == (value is None)
                if interval is not None:
                    assert (interval.low, interval.high) == pytest.approx((value, value))
        assert intervals.accuracy is not None
        assert intervals.accuracy.low == pytest.approx(one.accuracy)

    @given(st.lists(MATRICES, min_size=2, max_size=12), st.integers(0, 5))
    def test_the_same_seed_gives_the_same_interval(self, cells: list[NDArray[np.int64]], seed: int) -> None:
        how = Bootstrap(draws=50, seed=seed)
        first = bootstrap(np.stack(cells), how)
        assert first == bootstrap(np.stack(cells), how)
        for interval in (*first.iou, *first.f1, first.mean_iou, first.accuracy):
            assert interval is None or 0 <= interval.low <= interval.high <= 1

    def test_cells_without_pixels_change_nothing(self) -> None:
        cells = np.random.default_rng(0).integers(0, 9, (30, K, K))
        empty = np.zeros((50, K, K), np.int64)
        assert bootstrap(np.concatenate((empty, cells))) == bootstrap(cells)

    @pytest.mark.parametrize("count", [0, 1])
    def test_fewer_than_two_cells_give_no_interval(self, count: int) -> None:
        intervals = bootstrap(np.ones((count, K, K), np.int64))
        assert intervals.iou == intervals.precision == intervals.recall == intervals.f1 == (None,) * K
        assert intervals.mean_iou is intervals.accuracy is None

    def test_a_class_in_one_cell_has_no_interval_but_the_others_have(self) -> None:
        cells = np.zeros((20, 2, 2), np.int64)
        cells[:, 0, 0] = 5
        cells[3, 1, 1] = 5
        intervals = bootstrap(cells)
        assert intervals.iou == (Interval(1.0, 1.0), None)

    def test_chunks_of_draws_do_not_show(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cells = np.random.default_rng(0).integers(0, 9, (30, K, K))
        whole = bootstrap(cells)
        monkeypatch.setattr("geoseg.score.bootstrap._CHUNK", 77)
        assert bootstrap(cells) == whole

    def test_the_interval_holds_the_truth_about_as_often_as_it_says(self) -> None:
        rng = np.random.default_rng(11)
        held = 0
        for seed in range(200):
            quality = rng.beta(8, 2, 60)  # each cell its own accuracy: pixels of a cell err together
            right = rng.binomial(400, quality)
            cells = np.zeros((60, 2, 2), np.int64)
            cells[:, 0, 0], cells[:, 0, 1] = right, 400 - right
            interval = bootstrap(cells, Bootstrap(draws=300, seed=seed)).accuracy
            assert interval is not None
            held += interval.low <= 0.8 <= interval.high
        # Percentile intervals of 60 cells hold 93 % of 1,500 such truths; of 200, four standard errors less.
        assert 0.86 <= held / 200 <= 0.99

    @pytest.mark.parametrize("wrong", [{"draws": 0}, {"level": 1.0}])
    def test_no_draws_no_interval(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(GridError, match="intervals need"):
            Bootstrap(**wrong)


class TestReport:
    @pytest.fixture
    def report(self) -> ScoreReport:
        rng = np.random.default_rng(4)
        cells = rng.integers(0, 40, (25, 3, 3)) + 400 * np.eye(3, dtype=np.int64)
        cells[:, 2, :] = cells[:, :, 2] = 0  # a class that nothing shows
        east = tally("east", cells[:15], excluded=120, repaired=1, features=40)
        return score_report(
            [east, tally("west", cells[15:])],
            ["background", "building", "water"],
            Bootstrap(draws=200),
            unscored=[Unscored(scene="north", reason="scene north: no map")],
        )

    def test_it_is_json_without_nan_and_comes_back_equal(self, report: ScoreReport) -> None:
        text = json.dumps(report.to_dict(), allow_nan=False)
        assert ScoreReport.model_validate_json(text) == report

    def test_figures_are_those_of_the_sum_of_all_scenes(self, report: ScoreReport) -> None:
        total = Confusion(np.array(report.confusion), report.excluded_pixels)
        assert [row.iou.value for row in report.classes] == list(total.iou)
        assert report.accuracy.value == total.accuracy
        assert report.labeled_pixels == total.pixels + 120 == sum(s.labeled_pixels for s in report.scenes)
        assert report.classes[2].iou == report.classes[2].precision == Measure(value=None)
        assert report.mean_iou_by_definition["dataset"] == report.mean_iou.value
        assert sum(row.reference_share for row in report.classes) == pytest.approx(1)
        for row in report.classes[:2]:
            for measure in (row.iou, row.f1, row.precision, row.recall):
                assert measure.value is not None
                assert measure.low is not None
                assert measure.high is not None
                assert measure.low <= measure.value <= measure.high

    def test_the_tables_hold_every_class_and_the_notes_what_was_counted(self, report: ScoreReport) -> None:
        classes, means, *_ = report_tables(report)
        lines = table_text(classes).splitlines()
        assert lines[0].split() == ["class", "IoU", "F1", "precision", "recall", "reference", "map"]
        assert len({len(line) for line in lines}) == 1
        building = report.classes[1].iou
        assert f"building    {building.value:.3f} [{building.low:.3f}, {building.high:.3f}]" in lines[2]
        assert lines[3].split() == ["water", "–", "–", "–", "–", "0.0%", "0.0%"]
        assert "mean over the reference's classes ('dataset')" in table_text(means)
        notes = "\n".join(report_notes(report))
        assert "120 labeled px without a map (nodata) left out" in notes
        assert "40 reference polygons; 1 invalid, repaired" in notes
        assert "25 cells of 512×512 px, seed 0" in notes
        assert "not scored: scene north: no map" in notes
        assert max(map(len, report_text(report).splitlines())) <= 100

    def test_what_cannot_be_scored_is_refused(self) -> None:
        nothing = tally("dark", np.zeros((0, 2, 2), np.int64), excluded=9)
        with pytest.raises(LabelError, match="no scene to score"):
            score_report([], ["a", "b"])
        with pytest.raises(LabelError, match=r"scene dark: no labeled pixel is mapped \(9 labeled"):
            score_report([nothing], ["a", "b"])
        with pytest.raises(LabelError, match="counted 2 classes, needed 3"):
            score_report([nothing], ["a", "b", "c"])


CLASSES = (
    ClassSpec(id=0, name="background", title="Background", color="#000000", background=True),
    ClassSpec(id=1, name="building", title="Building", color="#ff0000"),
)
GRID = GeoBox(
    700, 900, Affine.translation(617000, 3344000) @ Affine.rotation(9) @ Affine.scale(0.3, -0.3), "EPSG:26914"
)


def write_map(path: Path, classes: NDArray[np.uint8], grid: GeoBox) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_cog(path, grid, ["class"], [(grid.window, classes[None])])
    return path


@pytest.fixture(scope="module")
def truth() -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    classes = np.zeros(GRID.shape, np.uint8)
    for row, col in rng.integers(0, (660, 860), (60, 2)).tolist():
        classes[row : row + 40, col : col + 30] = 1
    return classes


@pytest.fixture(scope="module")
def guess(truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    wrong = np.roll(truth, (5, 7), (0, 1))
    wrong[:, :50] = 255
    return wrong


@pytest.fixture
def mask(tmp_path: Path, truth: NDArray[np.uint8]) -> Path:
    return write_raster(tmp_path / "mask.tif", truth * 255, GRID)


class TestEvaluate:
    def test_streaming_equals_the_whole(
        self,
        tmp_path: Path,
        mask: Path,
        truth: NDArray[np.uint8],
        guess: NDArray[np.uint8],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        path = write_map(tmp_path / "classes.tif", guess, GRID)
        pair = Pair("here", path, LabelRef(str(mask), classes=((255, 1),)), lambda: GRID)
        expected = Confusion.of(truth, guess, 2)
        whole = evaluate_scene(pair, CLASSES)
        monkeypatch.setattr("geoseg.io.raster.cog._STRIP_PIXELS", 37 * GRID.width)
        strips = evaluate_scene(pair, CLASSES)
        np.testing.assert_array_equal(whole.cells, strips.cells)
        np.testing.assert_array_equal(whole.confusion.counts, expected.counts)
        assert whole.excluded == strips.excluded == expected.excluded == 50 * 700

    def test_polygons_inside_a_labelled_area(
        self, tmp_path: Path, truth: NDArray[np.uint8], guess: NDArray[np.uint8]
    ) -> None:
        path = write_map(tmp_path / "classes.tif", guess, GRID)
        window = (100, 200, 300, 400)
        pixels = np.argwhere(truth[90:410, 190:610])[:, ::-1] + np.array((190, 90))
        squares = shapely.union_all(shapely.box(*pixels.T, *(pixels + 1).T))
        roofs = shapely.transform(squares, lambda xy: np.array([GRID.transform @ (x, y) for x, y in xy]))
        layer = tmp_path / "reference.gpkg"
        pyogrio.raw.write(
            layer,
            geometry=np.array(shapely.to_wkb([roofs]), object),
            field_data=[],
            fields=[],
            layer="roofs",
            geometry_type="Unknown",
            crs=GRID.crs,
        )
        report = evaluate_pairs(
            [Pair("here", path, LabelRef(str(layer), area_window=window), lambda: GRID)], CLASSES
        ).report
        inside = (slice(100, 400), slice(200, 600))
        assert report.confusion == tuple(
            map(tuple, Confusion.of(truth[inside], guess[inside], 2).counts.tolist())
        )
        assert report.reference_polygons == 1

    def test_a_run_folder_is_scored_and_the_report_lies_beside_it(
        self, tmp_path: Path, mask: Path, truth: NDArray[np.uint8], guess: NDArray[np.uint8]
    ) -> None:
        run = tmp_path / "run"
        label = LabelRef(str(mask), classes=((255, 1),))
        broken = LabelRef(str(tmp_path / "absent.tif"))
        write_map(run / "here" / "classes.tif", guess, GRID)
        write_map(run / "there" / "classes.tif", guess, GRID)
        write_map(run / "bare" / "classes.tif", guess, GRID)
        scenes = [
            SceneRef("here", (), labels=(("buildings", label),)),
            SceneRef("there", (), labels=(("buildings", broken),)),
            SceneRef("bare", ()),
            SceneRef("later", (), labels=(("buildings", label),)),
        ]
        report = evaluate_run(run, scenes, CLASSES).report
        assert ScoreReport.model_validate_json((run / "score.json").read_text()) == report
        assert [scene.scene for scene in report.scenes] == ["here"]
        assert {scene.scene for scene in report.unscored} == {"there", "bare", "later"}
        assert all(f"scene {scene.scene}: " in scene.reason for scene in report.unscored)
        expected = Confusion.of(truth, guess, 2)
        assert report.confusion == tuple(map(tuple, expected.counts.tolist()))

        both = evaluate_run(run, scenes[:3], CLASSES, reference=label).report
        assert [scene.scene for scene in both.scenes] == ["here", "there", "bare"]
        assert both.labeled_pixels == 3 * truth.size

    def test_a_labelled_area_counts_in_the_pixels_of_the_bands_that_were_mapped(
        self, tmp_path: Path, mask: Path, truth: NDArray[np.uint8], guess: NDArray[np.uint8]
    ) -> None:
        write_map(tmp_path / "run" / "here" / "classes.tif", guess, GRID)
        fine = GRID.zoom(2 * GRID.height, 2 * GRID.width)
        for name, grid in (("mapped", GRID), ("finer", fine)):
            write_map(tmp_path / f"{name}.tif", np.zeros(grid.shape, np.uint8), grid)
        files = tuple(BandRef(str(tmp_path / f"{name}.tif"), 1, name) for name in ("mapped", "finer"))
        label = LabelRef(str(mask), classes=((255, 1),), area_window=(100, 200, 300, 400))
        scene = SceneRef("here", files, labels=(("buildings", label),))
        report = evaluate_run(tmp_path / "run", [scene], CLASSES, reading=Reading(("mapped",))).report
        inside = (slice(100, 400), slice(200, 600))
        expected = Confusion.of(truth[inside], guess[inside], 2)
        assert report.confusion == tuple(map(tuple, expected.counts.tolist()))

    def test_mistakes_are_told(self, tmp_path: Path, mask: Path, guess: NDArray[np.uint8]) -> None:
        label = LabelRef(str(mask), classes=((255, 1),))
        write_map(tmp_path / "here" / "classes.tif", guess, GRID)
        two = SceneRef("here", (), labels=(("roofs", label), ("roads", label)))
        with pytest.raises(LabelError, match="label assets roofs, roads; name the one"):
            evaluate_run(tmp_path, [two], CLASSES)
        with pytest.raises(LabelError, match=r"no label asset 'roof'.*did you mean 'roofs'"):
            evaluate_run(tmp_path, [two], CLASSES, asset="roof")
        with pytest.raises(LabelError, match=r"scene away: there is no map .* run the workflow first"):
            evaluate_run(tmp_path, [SceneRef("away", (), labels=two.labels)], CLASSES, asset="roofs")
        far = LabelRef(str(mask), classes=((255, 1),), area_window=(5000, 0, 9, 9))
        with pytest.raises(LabelError, match=r"scene here: labels .*outside the scene.* \(1 more cannot"):
            evaluate_pairs(
                [Pair("here", tmp_path / "here" / "classes.tif", far, lambda: GRID)],
                CLASSES,
                without=[Unscored(scene="x", reason="scene x: none")],
            )
