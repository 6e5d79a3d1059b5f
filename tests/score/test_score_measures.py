"""Boundary IoU, calibration and categories: laws on random maps, with a plain whole-image oracle of each."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage
from support.reports import report_text

from geoseg.arrays import Array, Bool, Float32, UInt8
from geoseg.errors import GridError, LabelError
from geoseg.grid.encoding import SCALE
from geoseg.grid.geobox import GeoBox
from geoseg.score.bootstrap import Bootstrap, Interval, differences, drawn, intervals_of
from geoseg.score.pixels.boundary import BoundaryWidth, Reach, near_contour
from geoseg.score.pixels.calibration import BINS, Reliability
from geoseg.score.pixels.confusion import Confusion, mean_iou
from geoseg.score.pixels.sums import Sums
from geoseg.score.report.report import score_report
from geoseg.score.report.tables import report_tables
from geoseg.score.report.values import ScoreReport
from geoseg.score.tally import CellCounter, Extra, SceneTally

K = 3
IDS = st.sampled_from([*range(K), 255])
SHAPES = npst.array_shapes(min_dims=2, max_dims=2, max_side=24)
REACHES = st.builds(Reach, st.integers(1, 9), st.integers(1, 9))


@st.composite
def blobs(draw: st.DrawFn, shape: tuple[int, int]) -> UInt8:
    """Class ids in patches, so that pixels far from any contour exist, with holes of 255."""
    coarse = draw(npst.arrays(np.uint8, (-(-shape[0] // 5), -(-shape[1] // 5)), elements=IDS))
    ids = np.kron(coarse, np.ones((5, 5), np.uint8))[: shape[0], : shape[1]]
    specks = draw(npst.arrays(np.uint8, shape, elements=st.integers(0, 30)))
    return np.where(specks < K, specks, ids).astype(np.uint8)


PAIRS = SHAPES.flatmap(lambda shape: st.tuples(blobs(shape), blobs(shape)))


def boundary_by_erosion(ids: UInt8, counted: Bool, reach: Reach) -> Bool:
    """As the authors' code: a mask less its erosion; what is not counted and the outside erode nothing."""
    square = np.ones((2 * reach.rows + 1, 2 * reach.cols + 1), bool)
    near = np.zeros(ids.shape, bool)
    for index in range(K):
        mask = counted & (ids == index)
        near |= mask & ~ndimage.binary_erosion(mask | ~counted, square, border_value=1)
    return near


def boundary_iou(truth: UInt8, mapped: UInt8, reach: Reach) -> list[float | None]:
    """The paper's formula on whole masks."""
    counted = (truth != 255) & (mapped != 255)
    near = [boundary_by_erosion(ids, counted, reach) for ids in (truth, mapped)]
    found: list[float | None] = []
    for index in range(K):
        one, other = near[0] & (truth == index), near[1] & (mapped == index)
        union = int((one | other).sum())
        found.append(int((one & other).sum()) / union if union else None)
    return found


class TestBoundary:
    @given(PAIRS, REACHES)
    def test_it_is_the_mask_less_its_erosion(self, pair: tuple[UInt8, UInt8], reach: Reach) -> None:
        truth, mapped = pair
        counted = (truth != 255) & (mapped != 255)
        for ids in pair:
            np.testing.assert_array_equal(
                near_contour(ids, counted, reach), boundary_by_erosion(ids, counted, reach)
            )

    @given(PAIRS, REACHES, st.data())
    def test_blocks_with_a_margin_add_up_to_the_whole(
        self, pair: tuple[UInt8, UInt8], reach: Reach, data: st.DataObject
    ) -> None:
        truth, mapped = pair
        height, width = truth.shape
        rows, cols = data.draw(st.integers(1, 24)), data.draw(st.integers(1, 24))
        counter = CellCounter(K, data.draw(st.integers(1, 12)), data.draw(st.sampled_from([2, 1000])))
        places = [(row, col) for row in range(0, height, rows) for col in range(0, width, cols)]
        for row, col in data.draw(st.permutations(places)):
            top, left = max(0, row - reach.rows), max(0, col - reach.cols)
            wide = (slice(top, row + rows + reach.rows), slice(left, col + cols + reach.cols))
            core = (slice(row - top, row - top + rows), slice(col - left, col - left + cols))
            counted = (truth[wide] != 255) & (mapped[wide] != 255)
            near = tuple(near_contour(ids[wide], counted, reach)[core] for ids in pair)
            block = (slice(row, row + rows), slice(col, col + cols))
            counter.add(row, col, truth[block], mapped[block], Extra(near=(near[0], near[1])))
        sums = counter.tally("here", reach=reach).sums.total()
        expected = boundary_iou(truth, mapped, reach)
        found = sums.measures()["boundary_iou"][0].tolist()
        assert [None if np.isnan(value) else value for value in found] == expected

    @given(PAIRS)
    def test_a_boundary_wider_than_the_scene_is_the_mask(self, pair: tuple[UInt8, UInt8]) -> None:
        truth, mapped = pair
        counted = (truth != 255) & (mapped != 255)
        several = len(np.unique(truth[counted])) > 1
        near = near_contour(truth, counted, Reach(24, 24))
        np.testing.assert_array_equal(near, counted if several else np.zeros_like(counted))

    def test_a_ragged_outline_costs_more_than_in_the_mask(self) -> None:
        truth = np.zeros((80, 80), np.uint8)
        truth[10:70, 10:70] = 1
        ragged = truth.copy()
        ragged[10:12, 10:70:2] = ragged[10:70:2, 10:12] = 0
        counted = np.ones(truth.shape, bool)
        near = [near_contour(ids, counted, Reach(2, 2)) for ids in (truth, ragged)]
        counter = CellCounter(2)
        counter.add(0, 0, truth, ragged, Extra(near=(near[0], near[1])))
        found = counter.tally("here", reach=Reach(2, 2)).sums.total().measures()
        assert found["iou"][0, 1] > 0.96
        assert found["boundary_iou"][0, 1] < 0.8

    def test_widths_are_pixels_meters_or_shares_of_the_diagonal(self) -> None:
        grid = GeoBox(300, 400, Affine.scale(0.5, -0.25), "EPSG:26914")
        assert BoundaryWidth.parse("5 px").reach(grid) == Reach(5, 5)
        assert BoundaryWidth.parse("2 %").reach(grid) == Reach(10, 10)
        assert str(BoundaryWidth.parse(" 1.5m ")) == "1.5 m"
        moved = GeoBox(300, 400, Affine.translation(500000, 3e6) @ Affine.scale(0.5, -0.25), "EPSG:26914")
        assert BoundaryWidth.parse("1.5 m").reach(moved) == Reach(6, 3)
        assert BoundaryWidth(0.01, "px").reach(grid) == Reach(1, 1)
        for wrong in ("5", "px", "-1 m", "0 px", "3 ft"):
            with pytest.raises(GridError, match=r"such as 5 px, 1\.5 m or 2 %"):
                BoundaryWidth.parse(wrong)


LOGITS = SHAPES.flatmap(
    lambda shape: st.tuples(
        npst.arrays(np.uint8, shape, elements=IDS),
        npst.arrays(np.float32, (K, *shape), elements=st.floats(-6, 6, width=32)),
    )
)


def stored_of(logits: Array) -> UInt8:
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=0))
    return np.rint(odds / odds.sum(axis=0) * SCALE).astype(np.uint8)


def reliability_of(truth: UInt8, logits: Array) -> Reliability:
    return Reliability.of(truth, logits.argmax(axis=0), stored_of(logits))


def naive_calibration(said: list[int], hit: list[bool], bins: int) -> tuple[float, float]:
    """Guo et al. 2017, equations 3 and 5, one bin after another."""
    expected = largest = 0.0
    for lower, upper in pairwise(range(bins + 1)):
        inside = [
            place
            for place, value in enumerate(said)
            if lower * SCALE < value * bins <= upper * SCALE or (lower == 0 and value == 0)
        ]
        if inside:
            accuracy = sum(hit[place] for place in inside) / len(inside)
            confidence = sum(said[place] for place in inside) / len(inside) / SCALE
            expected += len(inside) / len(said) * abs(accuracy - confidence)
            largest = max(largest, abs(accuracy - confidence))
    return expected, largest


class TestCalibration:
    @given(LOGITS, st.sampled_from([1, 10, 15, 200]))
    def test_measures_equal_those_of_a_loop(self, case: tuple[UInt8, Float32], bins: int) -> None:
        truth, logits = case
        found = reliability_of(truth, logits)
        labeled = truth != 255
        if not labeled.any():
            assert found.expected_error() == found.largest_error() == (None,) * (K + 1)
            assert found.brier == (None,) * K
            assert found.brier_score is None
            return
        stored, true = stored_of(logits)[:, labeled].astype(int), truth[labeled]
        chosen = logits.argmax(axis=0)[labeled]
        rows = [(stored[index], true == index) for index in range(K)]
        rows.append((np.take_along_axis(stored, chosen[None], axis=0)[0], true == chosen))
        for index, (said, hit) in enumerate(rows):
            expected, largest = naive_calibration(said.tolist(), hit.tolist(), bins)
            assert found.expected_error(bins)[index] == pytest.approx(expected, abs=1e-12)
            assert found.largest_error(bins)[index] == pytest.approx(largest, abs=1e-12)
        squares = [float(((said / SCALE - hit) ** 2).mean()) for said, hit in rows[:K]]
        assert found.brier == pytest.approx(squares, abs=1e-12)
        assert found.brier_score == pytest.approx(sum(squares), abs=1e-12)

    @given(LOGITS, st.integers(0, 24), st.integers(1, 9))
    def test_parts_and_cells_add_up_to_the_whole(
        self, case: tuple[UInt8, Float32], cut: int, side: int
    ) -> None:
        truth, logits = case
        stored, mapped = stored_of(logits), logits.argmax(axis=0).astype(np.uint8)
        whole = reliability_of(truth, logits)
        parts = [reliability_of(truth[rows], logits[:, rows]) for rows in (slice(cut), slice(cut, None))]
        np.testing.assert_array_equal((parts[0] + parts[1]).counts, whole.counts)
        np.testing.assert_array_equal((Reliability.zeros(K) + whole).counts, whole.counts)
        counter = CellCounter(K, side)
        confidence = np.take_along_axis(stored, mapped[None].astype(int), axis=0)[0]
        for rows in (slice(cut, None), slice(cut)):
            row = rows.start or 0
            if truth[rows].size:
                extra = Extra(stored=stored[:, rows], confidence=confidence[rows])
                counter.add(row, 0, truth[rows], mapped[rows], extra)
        tally = counter.tally("here")
        if not (truth != 255).any():
            assert tally.reliability is None
            return
        assert tally.reliability is not None
        np.testing.assert_array_equal(tally.reliability.counts, whole.counts)
        found = tally.sums.total().measures()
        errors = [*found["class_calibration_error"][0], found["calibration_error"][0]]
        assert errors == pytest.approx(whole.expected_error(), abs=1e-12)

    def test_what_is_said_and_true_as_often_has_no_error(self) -> None:
        rng = np.random.default_rng(0)
        chance = rng.random(400_000)
        truth = (rng.random(chance.size) < chance).astype(np.uint8)
        logits = np.log(np.stack((1 - chance, chance)))
        assert max(reliability_of(truth, logits).expected_error()) < 0.005  # type: ignore[type-var]
        sure = reliability_of(truth, 9 * logits)
        assert min(sure.expected_error()) > 0.1  # type: ignore[type-var]
        assert sure.brier_score > 0.4  # type: ignore[operator]

    def test_a_confidence_alone_says_nothing_of_the_classes(self) -> None:
        truth, mapped = np.array([[0, 1, 1]], np.uint8), np.array([[0, 1, 0]], np.uint8)
        counter = CellCounter(2)
        counter.add(0, 0, truth, mapped, Extra(confidence=np.array([[200, 200, 120]], np.uint8)))
        found = counter.tally("here").reliability
        assert found is not None
        assert found.expected_error() == (None, None, pytest.approx(0.2))
        assert found.brier_score is None

    def test_strange_values_are_refused(self) -> None:
        with pytest.raises(LabelError, match="a stored probability is 255, needed 0 to 200"):
            Reliability.of(np.array([0]), np.array([0]), np.array([[255], [0]], np.uint8))
        with pytest.raises(GridError, match="1 to 200 bins, got 201"):
            Reliability.zeros(2).expected_error(201)


class TestCategories:
    @given(PAIRS, st.permutations(range(K)), st.integers(0, K))
    def test_categories_of_counts_are_counts_of_categories(
        self, pair: tuple[UInt8, UInt8], order: list[int], cut: int
    ) -> None:
        groups = [tuple(order[: min(cut, K - 1)]), tuple(order[cut : K - 1])]  # the last class is in none
        table = np.full(256, 255, np.uint8)
        for index, group in enumerate(groups):
            table[list(group)] = index
        truth, mapped = table[pair[0]], table[pair[1]]
        expected = Confusion.of(truth, mapped, 2)
        found = Confusion.of(*pair, K).grouped(groups)
        np.testing.assert_array_equal(found.counts, expected.counts)
        unmapped_outside = int(((pair[0] == order[-1]) & (pair[1] == 255)).sum())
        assert found.excluded == expected.excluded + unmapped_outside

    def test_a_mean_over_categories(self) -> None:
        matrix = Confusion(np.array([[5, 3, 0], [1, 4, 2], [0, 0, 6]]))
        assert mean_iou([matrix], "cityscapes", groups=[[0, 1], [2]]) == (13 / 15 + 6 / 8) / 2
        assert mean_iou([matrix], "cityscapes", groups=[[0], [1], [2]]) == mean_iou([matrix], "cityscapes")
        with pytest.raises(LabelError, match="each once at most"):
            mean_iou([matrix], groups=[[0, 1], [1]])
        with pytest.raises(LabelError, match="needed ids 0 to 2"):
            mean_iou([matrix], groups=[[3]])

    def test_a_report_has_the_categories_that_are_asked_for(self) -> None:
        truth, mapped = np.array([[0, 0, 1, 2, 2, 3]], np.uint8), np.array([[0, 1, 0, 2, 3, 3]], np.uint8)
        counter = CellCounter(4)
        counter.add(0, 0, truth, mapped)
        names, tallies = ["road", "path", "tree", "roof"], [counter.tally("here")]
        plain = score_report(tallies, names).to_dict()
        report = score_report(tallies, names, categories={"flat": (0, 1), "green": (2,)})
        assert [(one.name, one.classes, one.iou) for one in report.categories] == [
            ("flat", ("road", "path"), 1.0),
            ("green", ("tree",), 1.0),  # what is mapped as a class of no category is left out
        ]
        assert report.category_mean_iou == 1.0
        both = score_report(tallies, names, categories={"flat": (0, 1), "other": (3, 2)})
        assert both.category_mean_iou == 1.0
        assert score_report(tallies, names, categories={"a": (0, 2), "b": (1, 3)}).category_mean_iou == 0.325
        shown = report.to_dict()
        assert shown.keys() - plain.keys() == {"categories", "category_mean_iou"}
        assert shown["definitions"].keys() - plain["definitions"].keys() == {"category_mean_iou"}
        assert {key: shown[key] for key in plain if key != "definitions"} == {
            key: value for key, value in plain.items() if key != "definitions"
        }
        text = [" ".join(row) for table in report_tables(report) for row in table.rows]
        assert "flat 1.000 road, path" in text
        assert any(line.startswith("category mIoU 1.000 ") for line in text)


def random_sums(cells: int, seed: int = 0, **skill: float) -> Sums:
    rng = np.random.default_rng(seed)
    matrices = rng.integers(0, 40, (cells, 2, 2)) + round(skill.get("right", 0)) * np.eye(2, dtype=np.int64)
    boundary = np.stack((rng.integers(0, 9, (cells, 2)), *rng.integers(9, 20, (2, cells, 2))), axis=1)
    pixels = rng.integers(1, 50, (cells, 3, BINS))
    calibration = np.stack((pixels, pixels // 2, pixels * 120), axis=-1)
    return Sums.of(matrices.astype(np.int64), boundary, calibration)


class TestDifferences:
    def test_a_map_does_not_differ_from_itself(self) -> None:
        sums = random_sums(40)
        for away, interval in differences(sums, sums, Bootstrap(draws=50)).values():
            assert not away.any()
            for one in interval if isinstance(interval, tuple) else (interval,):
                assert one == Interval(0, 0)

    def test_pairing_tells_what_separate_intervals_do_not(self) -> None:
        """Cells differ far more than the two maps of each: only the paired interval leaves zero out."""
        rng = np.random.default_rng(3)
        quality = rng.integers(100, 900, 60)
        counts = np.zeros((2, 60, 2, 2), np.int64)
        for index, gain in enumerate((0, 25)):
            counts[index, :, 0, 0] = quality + gain + rng.integers(0, 9, 60)
            counts[index, :, 0, 1] = 1000 - counts[index, :, 0, 0]
            counts[index, :, 1, 1] = 10
        base, better = Sums.of(counts[0]), Sums.of(counts[1])
        how = Bootstrap(draws=300)
        apart = [intervals_of(sums, how).accuracy for sums in (base, better)]
        assert apart[0] is not None
        assert apart[1] is not None
        assert apart[0].high > apart[1].low
        away, interval = differences(better, base, how)["accuracy"]
        assert isinstance(interval, Interval)
        assert 0 < interval.low < away < interval.high

    def test_every_measure_has_an_interval_around_it(self) -> None:
        sums = random_sums(50, right=30)
        found = intervals_of(sums, Bootstrap(draws=200))
        value = sums.total().measures()
        assert set(value) == set(drawn(sums, Bootstrap(draws=2))) == set(sums.bearing())
        for name in value:
            intervals = getattr(found, name)
            each = intervals if isinstance(intervals, tuple) else (intervals,)
            for one, true in zip(each, np.atleast_1d(value[name][0]), strict=True):
                assert one.low - 1e-3 <= true <= one.high + 1e-3, name

    def test_one_cell_differs_without_an_interval(self) -> None:
        found = differences(random_sums(1, seed=1), random_sums(1), Bootstrap(draws=5))
        assert not np.isnan(found["mean_iou"][0])
        assert found["mean_iou"][1] is None
        assert found["iou"][1] == (None, None)

    def test_scenes_without_probabilities_join_those_with_them(self) -> None:
        whole = random_sums(5)
        bare = Sums(whole.pixels)
        joined = Sums.joined([bare, whole])
        assert len(joined) == 10
        assert joined.total().measures()["calibration_error"] == whole.total().measures()["calibration_error"]
        assert Sums.joined([bare, bare]).calibration is None

    def test_cells_of_a_tally_grow_together(self) -> None:
        sums = random_sums(16)
        places = np.stack(np.divmod(np.arange(16), 4), axis=1)
        cells = np.ones((16, 2, 2), np.int64)
        fine = SceneTally("here", 64, places, cells, boundary=sums.boundary, calibration=sums.calibration)
        coarse = fine.coarser(128)
        assert coarse.places.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
        np.testing.assert_array_equal(coarse.sums.total().boundary, fine.sums.total().boundary)  # type: ignore[arg-type]
        np.testing.assert_array_equal(coarse.sums.total().calibration, fine.sums.total().calibration)  # type: ignore[arg-type]


class TestReport:
    @pytest.fixture
    def report(self) -> ScoreReport:
        rng = np.random.default_rng(7)
        scenes = []
        for name, shape in {"east": (300, 400), "west": (200, 260)}.items():
            logits = rng.normal(size=(K, *shape)).astype(np.float32)
            logits += 2 * np.kron(rng.normal(size=(K, shape[0] // 20, shape[1] // 20)), np.ones((1, 20, 20)))
            stored, mapped = stored_of(logits), logits.argmax(axis=0).astype(np.uint8)
            truth = np.where(rng.random(shape) < 0.2, 0, mapped).astype(np.uint8)
            counted = np.ones(shape, bool)
            near = (near_contour(truth, counted, Reach(3, 3)), near_contour(mapped, counted, Reach(3, 3)))
            counter = CellCounter(K)
            counter.add(0, 0, truth, mapped, Extra(near, stored, stored.max(axis=0)))
            scenes.append(counter.tally(name, reach=Reach(3, 3)))
        return score_report(scenes, ["ground", "roof", "road"], Bootstrap(draws=100), boundary_width="3 px")

    def test_it_is_json_without_nan_and_comes_back_equal(self, report: ScoreReport) -> None:
        text = json.dumps(report.to_dict(), allow_nan=False)
        assert ScoreReport.model_validate_json(text) == report

    def test_every_figure_has_its_interval_and_every_scene_its_line(self, report: ScoreReport) -> None:
        for row in report.classes:
            for measure in (row.boundary_iou, row.calibration_error):
                assert measure.low is not None
                assert measure.high is not None
                assert measure.low <= measure.high
            assert row.largest_calibration_error is not None
            assert row.calibration_error.value <= row.largest_calibration_error  # type: ignore[operator]
        assert report.brier == pytest.approx(sum(row.brier for row in report.classes))  # type: ignore[misc]
        lines = report_text(report).splitlines()
        scenes = [line for line in lines if line.startswith(("east  ", "west  "))]
        assert [line.split()[0] for line in scenes] == ["east", "west"]
        boundary = report.boundary_iou
        shown = f"boundary     {boundary.value:.3f} [{boundary.low:.3f}, {boundary.high:.3f}]"
        (means,) = (line for line in lines if line.startswith(shown))
        assert "mean IoU within 3 px of contours" in means
        assert max(map(len, lines)) <= 110

    def test_curves_hold_every_pixel_once_and_say_the_error(self, report: ScoreReport) -> None:
        assert [curve.name for curve in report.reliability] == ["ground", "roof", "road", "confidence"]
        pixels = report.labeled_pixels
        for curve in report.reliability:
            assert sum(one.pixels for one in curve.bins) == pixels
        away = sum(
            one.pixels / pixels * abs(one.said - one.true)
            for one in report.reliability[-1].bins
            if one.said is not None and one.true is not None
        )
        assert report.calibration_error.value == pytest.approx(away)
