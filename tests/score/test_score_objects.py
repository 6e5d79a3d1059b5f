"""Objects: matching, precision over recall, kinds of errors, calibration; by hand and by brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import affinity
from support.vectors import geoms

from geoseg.arrays import Float64, Objects
from geoseg.errors import GridError
from geoseg.score.objects.matching import LEAST_IOU, Matching, Outcome, match_objects, overlaps
from geoseg.score.objects.tally import (
    COCO_IOUS,
    ObjectTally,
    average_precision,
    binned_confidence,
    object_tally,
)
from geoseg.score.pixels.calibration import calibration_errors
from geoseg.score.pixels.isotonic import fit_isotonic

box = shapely.box

sides = st.integers(1, 8)
places = st.integers(0, 20)


@st.composite
def rectangles(draw: st.DrawFn, most: int = 8) -> Objects:
    """Rectangles on a lattice, which may overlap each other and be equal."""
    rows = draw(st.lists(st.tuples(places, places, sides, sides), max_size=most))
    out = np.empty(len(rows), np.object_)
    out[:] = [box(x, y, x + width, y + height) for x, y, width, height in rows]
    return out


def names(outcomes: NDArray[np.int8]) -> list[str]:
    return [Outcome(code).name for code in outcomes.tolist()]


def iou(one: shapely.Geometry, other: shapely.Geometry) -> float:
    return float(one.intersection(other).area / one.union(other).area)


def paired_by_hand(mapped: Objects, reference: Objects) -> list[tuple[int, int]]:
    free = {(p, r) for p in range(len(mapped)) for r in range(len(reference))}
    found = []
    while free:
        best = min(free, key=lambda pair: (-round(iou(mapped[pair[0]], reference[pair[1]]), 12), *pair))
        if iou(mapped[best[0]], reference[best[1]]) < LEAST_IOU:
            break
        found.append(best)
        free = {(p, r) for p, r in free if p != best[0] and r != best[1]}
    return sorted(found)


def tally(mapped: Objects, reference: Objects, confidence: Float64 | None = None) -> ObjectTally:
    return object_tally(
        match_objects(mapped, reference),
        confidence=np.full(len(mapped), 0.5) if confidence is None else confidence,
        area=shapely.area(mapped),
        reference_area=shapely.area(reference),
    )


class TestMatching:
    @given(rectangles(), rectangles())
    def test_it_is_that_of_a_slow_loop(self, mapped: Objects, reference: Objects) -> None:
        found = match_objects(mapped, reference)
        pairs = [(p, r) for p, r in enumerate(found.partner.tolist()) if r >= 0]
        assert pairs == paired_by_hand(mapped, reference)
        assert [(p, r) for r, p in enumerate(found.reference_partner.tolist()) if p >= 0] == sorted(
            pairs, key=lambda pair: pair[1]
        )
        for p, r in pairs:
            assert found.iou[p] == found.reference_iou[r] == pytest.approx(iou(mapped[p], reference[r]))
        for p in set(range(len(mapped))) - {p for p, _ in pairs}:
            best = max((iou(mapped[p], other) for other in reference), default=0)
            assert found.iou[p] == pytest.approx(best)

    @given(rectangles(), rectangles())
    def test_overlaps_are_those_of_all_pairs(self, mapped: Objects, reference: Objects) -> None:
        found = overlaps(mapped, reference)
        given = {
            (p, r): (value, one, other)
            for p, r, value, one, other in zip(
                *(getattr(found, name).tolist() for name in found.__dataclass_fields__), strict=True
            )
        }
        for p, one in enumerate(mapped):
            for r, other in enumerate(reference):
                both = one.intersection(other).area
                assert ((p, r) in given) == (both > 0)
                if both:
                    assert given[p, r] == pytest.approx((iou(one, other), both / one.area, both / other.area))

    @given(rectangles(), rectangles(), st.integers(9, 20))
    def test_polygons_cut_into_pieces_overlap_as_whole_ones(
        self, mapped: Objects, reference: Objects, most: int
    ) -> None:
        both = shapely.union_all(reference)
        holed = geoms(*(shape.difference(both.buffer(-0.4)) for shape in mapped))
        round_ones = geoms(*(shape.buffer(1.5) for shape in reference))
        holed = holed[~shapely.is_empty(holed)]
        whole = overlaps(holed, round_ones)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("geoseg.score.objects.matching._MOST_VERTICES", most)
            cut = overlaps(holed, round_ones)
        found = {
            (p, r): (iou, share)
            for p, r, iou, share in zip(cut.mapped, cut.reference, cut.iou, cut.of_mapped, strict=True)
            if iou > 1e-9
        }
        expected = zip(whole.mapped, whole.reference, whole.iou, whole.of_mapped, strict=True)
        for p, r, iou, share in expected:
            if iou > 1e-9:
                assert found.pop((p, r)) == pytest.approx((iou, share), abs=1e-9)
        assert not found

    @given(rectangles(), rectangles())
    def test_both_sides_are_alike(self, mapped: Objects, reference: Objects) -> None:
        there, back = match_objects(mapped, reference), match_objects(reference, mapped)
        swapped = {
            Outcome.MISSED: Outcome.FALSE,
            Outcome.MERGED: Outcome.SPLIT,
            Outcome.SPLIT: Outcome.MERGED,
        }
        assert (there.partner >= 0).sum() == (back.partner >= 0).sum()
        values = overlaps(mapped, reference).iou.round(12).tolist()
        if len(set(values)) == len(values):  # of equal IoU, the first goes first
            for one, other in zip(there.outcome, back.reference_outcome, strict=True):
                kinds = {Outcome(one), swapped.get(Outcome(other), Outcome(other))}
                assert len(kinds) == 1 or kinds == {Outcome.MERGED, Outcome.SPLIT}  # merged goes before split

    @given(rectangles(), st.floats(0, 90), st.floats(0.1, 9), st.floats(-1, 1))
    def test_outcomes_do_not_depend_on_the_plane(
        self, mapped: Objects, turn: float, scale: float, shear: float
    ) -> None:
        reference = geoms(*(affinity.translate(shape, 0.9, 0.3) for shape in mapped))

        def moved(shapes: Objects) -> Objects:
            away = (affinity.rotate(shape, turn, origin=(0, 0)) for shape in shapes)
            matrix = [scale, shear, 0, scale, 7, 9]
            return geoms(*(affinity.affine_transform(shape, matrix) for shape in away))

        here, there = match_objects(mapped, reference), match_objects(moved(mapped), moved(reference))
        assert here.iou == pytest.approx(there.iou, abs=1e-9)

    @given(rectangles())
    def test_a_perfect_map_is_perfect(self, reference: Objects) -> None:
        apart = geoms(*(affinity.translate(shape, 100 * n, 0) for n, shape in enumerate(reference)))
        found = tally(apart, apart)
        if not len(apart):
            assert (found.counts.precision, found.counts.recall, found.counts.f1) == (None, None, None)
            assert found.precisions() == (None,) * 10
            return
        assert (found.counts.precision, found.counts.recall, found.counts.f1) == (1, 1, 1)
        assert found.precisions() == (1,) * 10

    def test_each_object_counts_once_and_the_best_pair_goes_first(self) -> None:
        # The second mapped one fits better, though it comes later.
        mapped = geoms(box(0, 0, 10, 8), box(0, 0, 10, 9))
        found = match_objects(mapped, geoms(box(0, 0, 10, 10)))
        assert found.partner.tolist() == [-1, 0]
        assert found.iou.tolist() == pytest.approx([0.8, 0.9])
        # Of equal ones, the first.
        twice = match_objects(geoms(box(0, 0, 9, 9), box(0, 0, 9, 9)), geoms(box(0, 0, 9, 9)))
        assert twice.partner.tolist() == [0, -1]

    def test_kinds_of_errors(self) -> None:
        mapped = geoms(
            box(0, 0, 10, 10),  # right
            box(100, 0, 121, 10),  # over two houses
            box(200, 0, 204, 10),  # a piece of a house
            box(206, 0, 210, 10),  # another
            box(300, 0, 310, 10),  # nothing is there
            box(400, 0, 410, 10),  # half beside a house
            box(500, 0, 520, 10),  # a house and the shed beside it
        )
        reference = geoms(
            box(0, 0, 10, 11),
            box(100, 0, 110, 10),
            box(111, 0, 121, 10),
            box(200, 0, 210, 10),
            box(405, 0, 415, 10),
            box(600, 0, 610, 10),
            box(500, 0, 517, 10),
            box(518, 0, 520, 10),
        )
        found = match_objects(mapped, reference)
        assert names(found.outcome) == ["MATCHED", "MERGED", "SPLIT", "SPLIT", "FALSE", "FALSE", "MATCHED"]
        assert names(found.reference_outcome) == [
            "MATCHED", "MERGED", "MERGED", "SPLIT", "MISSED", "MISSED", "MATCHED", "MERGED",
        ]  # fmt: skip
        assert found.iou.tolist() == pytest.approx([10 / 11, 10 / 21, 0.4, 0.4, 0, 1 / 3, 0.85])

    def test_what_the_edge_cuts_is_out_with_what_stands_for_it(self) -> None:
        mapped = geoms(box(0, 0, 10, 10), box(20, 0, 24, 4), box(40, 0, 50, 10), box(60, 0, 70, 10))
        reference = geoms(box(0, 0, 10, 9), box(20, 0, 40, 10), box(40, 0, 50, 9), box(60, 0, 70, 9))
        found = match_objects(
            mapped,
            reference,
            cut=np.array([False, False, True, False]),
            reference_cut=np.array([True, True, False, False]),
        )
        assert names(found.outcome) == ["EXCLUDED", "EXCLUDED", "EXCLUDED", "MATCHED"]
        assert names(found.reference_outcome) == ["EXCLUDED", "EXCLUDED", "EXCLUDED", "MATCHED"]

    def test_invalid_polygons_are_repaired(self) -> None:
        bow = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
        assert match_objects(geoms(bow), geoms(box(0, 0, 10, 10))).iou.tolist() == pytest.approx([0.5])

    def test_ten_thousand_objects_take_about_a_second(self) -> None:
        x, y = (grid.ravel() * 20.0 for grid in np.meshgrid(np.arange(100), np.arange(100)))
        mapped, reference = box(x, y, x + 12, y + 9), box(x + 1, y + 0.5, x + 13, y + 10)
        found: Matching = match_objects(mapped, reference)
        assert (found.outcome == Outcome.MATCHED).all()


def precision_by_hand(confidence: list[float], right: list[bool], references: int) -> float:
    """COCO's own loop, over distinct confidences."""
    points = []
    for least in sorted(set(confidence), reverse=True):
        chosen = [hit for value, hit in zip(confidence, right, strict=True) if value >= least]
        points.append((sum(chosen) / references, sum(chosen) / len(chosen)))
    total = 0.0
    for step in range(101):
        total += max((p for r, p in points if r >= step / 100 - 1e-12), default=0)
    return total / 101


class TestMeasures:
    def test_counts_by_hand(self) -> None:
        mapped = geoms(box(0, 0, 10, 10), box(20, 0, 30, 10), box(40, 0, 44, 4))
        reference = geoms(box(0, 0, 10, 9), box(60, 0, 80, 20))
        found = tally(mapped, reference)
        assert found.counts.precision == 1 / 3
        assert found.counts.recall == 1 / 2
        assert found.counts.f1 == pytest.approx(2 / 5)
        small, middle, large = (found.of_size(*span) for span in ((0, 50), (50, 200), (200, np.inf)))
        assert (small.matched, small.mapped, small.reference) == (0, 1, 0)
        assert (middle.matched, middle.mapped, middle.reference) == (1, 2, 1)
        assert (large.matched, large.mapped, large.reference) == (0, 0, 1)
        assert (large.precision, large.recall, small.recall) == (None, 0, None)

    def test_a_pair_is_as_large_as_its_reference(self) -> None:
        found = tally(geoms(box(0, 0, 10, 6)), geoms(box(0, 0, 7, 6)))  # 60 m² for 42 m²
        assert found.of_size(0, 50).f1 == 1
        assert found.of_size(50, 200).f1 is None

    def test_scenes_add_up(self) -> None:
        one = tally(geoms(box(0, 0, 10, 10)), geoms(box(0, 0, 10, 9)))
        two = tally(geoms(box(0, 0, 10, 10)), geoms(box(50, 0, 60, 9), box(70, 0, 80, 9)))
        for both in (ObjectTally.joined([one, two]), ObjectTally.joined([two, one])):
            assert (both.counts.matched, both.counts.mapped, both.counts.reference) == (1, 2, 3)
            assert both.precisions() == ObjectTally.joined([one, two]).precisions()

    @given(
        st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.5, 0.9, 1.0]), st.booleans()), max_size=12),
        st.integers(0, 5),
    )
    def test_average_precision_is_coco_s(self, objects: list[tuple[float, bool]], missed: int) -> None:
        confidence, right = [value for value, _ in objects], [hit for _, hit in objects]
        references = sum(right) + missed
        found = average_precision(np.array(confidence), np.array(right, np.bool_), references)
        if not references:
            assert found is None
            return
        assert found == pytest.approx(precision_by_hand(confidence, right, references))
        turned = average_precision(np.array(confidence[::-1]), np.array(right[::-1], np.bool_), references)
        assert turned == found

    def test_average_precision_by_hand(self) -> None:
        right = np.array([True, True, False, True])
        found = average_precision(np.array([0.9, 0.8, 0.7, 0.6]), right, 4)
        assert found == pytest.approx((51 * 1 + 25 * 0.75) / 101)  # recalls 0 to .5, .51 to .75, none beyond
        last = average_precision(np.array([0.6, 0.7, 0.8, 0.9]), right, 4)
        assert last is not None
        assert found is not None
        assert last < found

    def test_precision_at_each_iou(self) -> None:
        ious = [0.52, 0.72, 0.97]
        mapped = geoms(*(box(100 * n, 0, 100 * n + 10, 10 * value) for n, value in enumerate(ious)))
        reference = geoms(*(box(100 * n, 0, 100 * n + 10, 10) for n in range(3)))
        found = tally(mapped, reference, np.array([0.9, 0.9, 0.9])).precisions()
        hits = [sum(value >= least for value in ious) for least in COCO_IOUS]
        assert hits == [3, 2, 2, 2, 2, 1, 1, 1, 1, 1]
        reached = {3: 101, 2: 67, 1: 34}  # per cent of recall that is reached, and 0
        assert found == pytest.approx([hit / 3 * reached[hit] / 101 for hit in hits])

    def test_excluded_objects_are_in_no_figure(self) -> None:
        mapped, reference = geoms(box(0, 0, 9, 9), box(20, 0, 29, 9)), geoms(box(0, 0, 9, 9))
        matching = match_objects(mapped, reference, cut=np.array([False, True]))
        found = object_tally(
            matching,
            confidence=np.array([0.5, 0.9]),
            area=np.array([81.0, 81]),
            reference_area=np.array([81.0]),
        )
        assert found.counts.f1 == 1
        assert found.precisions() == (1,) * 10
        assert found.reliability()[..., 0].sum() == 1
        assert (found.outcome == Outcome.EXCLUDED).sum() == 1
        assert (found.reference_outcome == Outcome.EXCLUDED).sum() == 0

    def test_a_confidence_is_a_share(self) -> None:
        with pytest.raises(GridError, match="is 0 to 1"):
            tally(geoms(box(0, 0, 1, 1)), geoms(), np.array([np.nan]))


class TestCalibration:
    @given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30))
    def test_the_expected_error_is_that_of_a_slow_loop(self, objects: list[tuple[float, bool]]) -> None:
        confidence, right = (np.array(values) for values in zip(*objects, strict=True))
        sums = binned_confidence(confidence, right)
        edges = np.linspace(0, 1, 11)
        total = 0.0
        for low, high in pairwise(edges):
            inside = (confidence * 10 > low * 10) & (confidence * 10 <= high * 10)
            inside |= (low == 0) & (confidence == 0)
            if inside.any():
                total += abs(right[inside].sum() - confidence[inside].sum())
        assert float(calibration_errors(sums)[0]) == pytest.approx(
            total / len(objects), abs=0.15 / len(objects)
        )
        assert sums[:, 0].sum() == len(objects)
        assert sums[:, 1].sum() == right.sum()

    @given(
        st.lists(
            st.tuples(st.sampled_from([0.0, 0.2, 0.3, 0.5, 0.8, 1.0]), st.booleans(), st.integers(1, 4)),
            min_size=1,
            max_size=20,
        )
    )
    def test_isotonic_is_the_min_max_of_means(self, objects: list[tuple[float, bool, int]]) -> None:
        """The closed form of Robertson, Wright & Dykstra (1988): max over lower, min over upper ends."""
        said, right, weight = (np.array(values) for values in zip(*objects, strict=True))
        found = fit_isotonic(said, right, weight)
        levels = np.unique(said)

        def mean(low: float, high: float) -> float:
            inside = (said >= low) & (said <= high)
            return float(np.average(right[inside], weights=weight[inside]))

        expected = [
            max(min(mean(low, high) for high in levels if high >= level) for low in levels if low <= level)
            for level in levels
        ]
        assert found.apply(levels) == pytest.approx(expected)
        assert np.average(found.apply(said), weights=weight) == pytest.approx(
            np.average(right, weights=weight)
        )

    @given(
        st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=20),
        st.lists(st.floats(-1, 2), min_size=2, max_size=9),
    )
    def test_calibrated_confidences_keep_their_order(
        self, objects: list[tuple[float, bool]], asked: list[float]
    ) -> None:
        said, right = (np.array(values) for values in zip(*objects, strict=True))
        found = fit_isotonic(said, right).apply(np.sort(asked))
        assert (np.diff(found) >= 0).all()
        assert ((found >= 0) & (found <= 1)).all()

    def test_what_cannot_be_fitted_is_refused(self) -> None:
        with pytest.raises(GridError, match="at least one"):
            fit_isotonic(np.zeros(0), np.zeros(0))
        with pytest.raises(GridError, match="1 of 2 objects cannot be fitted"):
            fit_isotonic(np.array([0.1, np.nan]), np.array([True, False]))
