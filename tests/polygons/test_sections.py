"""Objects found section by section and joined: those of the whole scene, bit for bit, wherever it is cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from support.towns import town

from geoseg.arrays import Objects, UInt8
from geoseg.config.vectorize import Regularization
from geoseg.engine.vectorize import realignment
from geoseg.grid.encoding import NODATA, ProbabilityEncoding
from geoseg.grid.geobox import GeoBox
from geoseg.polygons.objects import objects as module
from geoseg.polygons.objects import sections as joining
from geoseg.polygons.objects.objects import ObjectOptions, find_objects
from geoseg.polygons.objects.sections import Section, find_joint, find_section, join_sections
from geoseg.polygons.objects.watershed import Seeds
from geoseg.polygons.shapes import Shapes
from geoseg.polygons.trace import rings
from geoseg.polygons.trace.regions import Strip
from geoseg.polygons.walls.fit import Fits, fit_walls

PLACE = Affine(0.3, 0, 621_000, 0, -0.3, 3_350_000)
BINARY = ProbabilityEncoding(2, 0)


class Scene:
    """A scene of encoded probabilities, and all that finding its objects takes."""

    def __init__(self, stored: UInt8, encoding: ProbabilityEncoding, **options: Any) -> None:
        self.stored, self.encoding = stored, encoding
        self.box = GeoBox(*stored.shape[1:], PLACE, "EPSG:26914")
        self.options = ObjectOptions(**{"regularize": fit_walls} | options)
        self.read: list[tuple[int, int]] = []

    @property
    def args(self) -> tuple[GeoBox, list[int], float | None, ObjectOptions]:
        return self.box, self.encoding.class_ids[-2:], self.encoding.level, self.options

    def strips(self, first: int, stop: int, rows: int = 37) -> Iterator[Strip]:
        for row in range(first, stop, rows):
            stored = self.stored[:, row : min(row + rows, stop)]
            classes = self.encoding.classify(stored)
            count = len(self.encoding.class_ids)
            border = stored[-1] if self.encoding.border else None
            yield Strip(classes, self.encoding.confidence(stored, classes), stored[:count], border)

    def whole(self) -> Shapes:
        return Shapes.join(find_objects(self.strips(0, self.box.height), *self.args))

    def section(self, first: int, stop: int) -> Section:
        return find_section(self.strips(first, stop), (first, stop), *self.args)

    def joined(self, sections: list[Section]) -> Shapes:
        def strips(first: int, stop: int) -> Iterator[Strip]:
            self.read.append((first, stop))
            return self.strips(first, stop, 23)

        joints = [find_joint(*pair, strips, *self.args) for pair in pairwise(sections)]
        self.read_for_joints = len(self.read)
        return Shapes.join(join_sections(sections, joints, strips, *self.args))


def cut(height: int, rows: list[int]) -> list[tuple[int, int]]:
    """Rows of sections that are cut at some rows."""
    at = [0, *sorted({row % height for row in rows} - {0}), height]
    return list(pairwise(at))


def assert_same(one: Shapes, other: Shapes) -> None:
    assert len(one) == len(other)
    assert (shapely.to_wkb(one.polygons) == shapely.to_wkb(other.polygons)).all()
    for field in fields(Shapes):
        if field.name != "polygons":
            mine, theirs = getattr(one, field.name), getattr(other, field.name)
            assert mine.dtype == theirs.dtype
            assert np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f"), field.name


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if scenes were a hundred times larger: what is held, released, batched and too tall to be fitted."""
    monkeypatch.setattr(module, "TALLEST", 40)
    monkeypatch.setattr(module, "_PIECE", 16)
    monkeypatch.setattr(joining, "_STEP", 16)
    monkeypatch.setattr(rings, "_BATCH", 3)


def grown(contours: Objects) -> Fits:
    """Fits that overlap their neighbors' more than real ones do."""
    boxes = shapely.buffer(shapely.envelope(contours), 2.0, join_style="mitre")
    out: Objects = shapely.orient_polygons(boxes)
    kind = np.full(len(out), "rectangle", np.object_)
    return Fits(out, kind, np.ones(len(out)), np.full(len(out), np.nan))


ALIGN = Regularization.model_validate({"align": "30 px"})
WAYS: dict[str, dict[str, Any]] = {
    "seeds": {"seeds": Seeds(190, 10)},
    "whole": {"min_area": 4.0, "least_max_score": 150},
    "contours": {"regularize": None, "seeds": Seeds(190, 10)},
    "grown": {"regularize": grown, "seeds": Seeds(190, 10)},
    "aligned": {"realign": realignment(ALIGN, 0.3), "reach": 30.0, "seeds": Seeds(190, 10)},
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    holes=st.sampled_from([0.0, 0.004]),
    rows=st.lists(st.integers(0, 10**6), max_size=7),
)
def test_sections_cut_anywhere_give_the_bits_of_the_whole(
    way: str, seed: int, holes: float, rows: list[int]
) -> None:
    scene = Scene(town(seed, 260, 120, holes, roofs=20)[None], BINARY, **WAYS[way])
    whole = scene.whole()
    assert_same(scene.joined([scene.section(*piece) for piece in cut(260, rows)]), whole)


@pytest.mark.usefixtures("small")
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 10**6), max_size=5))
def test_classes_that_touch_and_borders_do_so_too(seed: int, rows: list[int]) -> None:
    towns = [town(seed + number, 150, 80, roofs=8) for number in range(3)]
    share = np.stack(towns).astype(np.float64)
    share = np.rint(200 * share / np.maximum(share.sum(axis=0), 1)).astype(np.uint8)
    share[:, towns[0] == NODATA] = NODATA
    for scene in (
        Scene(share, ProbabilityEncoding(3, 0)),
        Scene(
            np.stack(towns[:2]),
            ProbabilityEncoding(2, 0, border=True),
            seeds=Seeds(120, 4, border=150),
        ),
    ):
        whole = scene.whole()
        assert_same(scene.joined([scene.section(*piece) for piece in cut(150, rows)]), whole)


def test_only_what_meets_is_read_again_and_sections_survive_a_file(tmp_path: Path) -> None:
    stored = np.zeros((1, 400, 60), np.uint8)
    for row in (20, 70, 130, 190, 260, 330):
        stored[0, row : row + 24, 10:40] = 190
    scene = Scene(stored, BINARY, seeds=Seeds(190, 10))
    sections: list[Section] = []
    for number, piece in enumerate(cut(400, [100, 200, 300])):
        np.save(tmp_path / f"{number}.npy", scene.section(*piece).pack())
        sections.append(Section.unpack(np.load(tmp_path / f"{number}.npy", mmap_mode="r")))
    assert [len(section.objects) for section in sections] == [2, 1, 1, 1]
    assert_same(scene.joined(sections), scene.whole())
    assert scene.read == [(189, 215)], "one house lies across the rows where two sections meet"


def test_a_scene_without_objects_has_none_in_its_sections() -> None:
    scene = Scene(np.zeros((1, 30, 9), np.uint8), BINARY)
    assert not len(scene.joined([scene.section(0, 10), scene.section(10, 30)]))
    assert not scene.read


def beside_a_wall(height: int) -> UInt8:
    """Houses whose walls run straight over the bumps of a thin wall that is longer than all of them."""
    stored = np.zeros((1, height, 60), np.uint8)
    stored[0, 5 : height - 5, 10:13] = 190
    for row in range(10, height - 40, 40):
        stored[0, row : row + 30, 15:40] = 190
        stored[0, row + 12 : row + 17, 15:18] = 0
        stored[0, row + 13 : row + 16, 13:17] = 190
    return stored


@pytest.mark.usefixtures("small")
def test_what_is_too_tall_loses_what_its_neighbors_took_long_before_it_ended() -> None:
    scene = Scene(beside_a_wall(400), BINARY)
    whole = scene.whole()
    assert whole.kind[-1] == "contour"
    assert whole.fit[-1] < 1, "it lost its bumps"
    assert_same(scene.joined([scene.section(0, 400)]), whole)


def test_batches_of_regions_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TALLEST", 40)
    monkeypatch.setattr(module, "_NEAR", 3)
    houses = town(3, 512, 240, roofs=60)[None]
    scenes = [Scene(beside_a_wall(400), BINARY), Scene(houses, BINARY, regularize=grown)]
    wholes = [scene.whole() for scene in scenes]
    monkeypatch.setattr(rings, "_BATCH", 1)
    for scene, whole in zip(scenes, wholes, strict=True):
        assert_same(scene.whole(), whole)
        assert_same(Shapes.join(find_objects(scene.strips(0, scene.box.height, 256), *scene.args)), whole)
