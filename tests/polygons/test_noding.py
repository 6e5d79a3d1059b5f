"""Objects that were cut apart share their border to the bit, wherever the scene lies on the ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from shapely.affinity import rotate, translate
from synthetic.neighborhood import generate

from geoseg.flow.vectorize import vectorize
from geoseg.polygons.objects.overlaps import crossings, cut_overlaps, snapped, with_vertices
from geoseg.polygons.trace.regions import to_ground

GROUND = Affine.translation(621_000, 3_350_000) @ Affine.rotation(17) @ Affine.scale(0.3, -0.3)


@st.composite
def roofs(draw: st.DrawFn) -> NDArray[np.object_]:
    """Rectangles at any angle, some across others."""
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    out = []
    for _ in range(draw(st.integers(2, 7))):
        x, y = random.uniform(0, 40, 2)
        wide, high, turn = random.uniform(4, 16), random.uniform(4, 16), random.uniform(0, 180)
        out.append(rotate(shapely.box(x - wide / 2, y - high / 2, x + wide / 2, y + high / 2), turn))
    return snapped(shapely.orient_polygons(np.array(out)))


def cores(fits: NDArray[np.object_]) -> NDArray[np.object_]:
    """What they were fitted to: of each the middle, without that of those before."""
    middle = shapely.buffer(shapely.centroid(fits), 3.0)
    before = [shapely.union_all(middle[:n]) for n in range(len(fits))]
    return snapped(
        np.array([shapely.difference(one, other) for one, other in zip(middle, before, strict=True)])
    )


@given(roofs())
def test_objects_cut_apart_are_a_valid_coverage_on_the_ground(fits: NDArray[np.object_]) -> None:
    contours = cores(fits)
    assume((shapely.area(contours) > 1).all())
    parted, lost = cut_overlaps(fits, contours, np.ones(len(fits), np.bool_))
    assume(not shapely.equals(parted, contours).any())  # of one of them nothing was left
    ground = to_ground(parted, GROUND)
    assert shapely.is_valid(ground).all()
    assert shapely.coverage_is_valid(ground)
    assert shapely.equals_exact(shapely.simplify(parted, 1e-4), fits, 1e-4)[~lost].all()
    assert shapely.within(parted, shapely.buffer(fits, 1e-4)).all()


@given(roofs())
def test_neither_order_nor_company_matters_for_a_cut(fits: NDArray[np.object_]) -> None:
    contours = cores(fits)
    assume((shapely.area(contours) > 1).all())
    parted, _ = cut_overlaps(fits, contours, np.ones(len(fits), np.bool_))
    far = np.array([translate(shapely.box(0, 0, 5, 5), 100)])
    for index in range(len(fits)):
        near = shapely.intersects(fits, fits[index])
        own = np.flatnonzero(near).tolist().index(index)
        few = np.concatenate([far, fits[near]]), np.concatenate([far, contours[near]])
        alone, _ = cut_overlaps(*few, np.arange(len(few[0])) == own + 1)
        assert alone[0].wkb == parted[index].wkb


def test_crossings_become_vertices_of_both() -> None:
    one, other = shapely.box(0, 0, 10, 10), shapely.Polygon([(5, 5), (20, 5.3), (20, 20), (5.00001, 10)])
    points = crossings(one, other)
    assert np.abs(points - [[5.00001, 10.0], [10, 5.1]]).max() < 1e-4
    both = with_vertices(one, points), with_vertices(other, points)
    for polygon in both:
        assert {tuple(p) for p in points.tolist()} <= set(polygon.exterior.coords)
    assert len(both[0].exterior.coords) == 7
    assert with_vertices(both[0], points).equals_exact(both[0])
    assert len(crossings(one, shapely.box(20, 20, 30, 30))) == 0
    hole = shapely.Polygon(one.exterior, [shapely.box(2, 2, 8, 8).exterior.coords])
    inside = with_vertices(hole, np.array([[2.0, 5.0], [0, 3]]))
    assert [len(ring.coords) for ring in (inside.exterior, *inside.interiors)] == [6, 6]


@pytest.mark.parametrize("width", [1e-12, 1e-9, 1e-7])
def test_what_is_narrower_than_a_rounding_is_gone_before_it_is_invalid(width: float) -> None:
    spike = shapely.Polygon([(0, 0), (10, 0), (10, 10), (width, 10), (width, 20), (0, 30)])
    (out,) = snapped(np.array([spike]))
    assert out.equals(shapely.box(0, 0, 10, 10))
    assert shapely.is_valid(to_ground(np.array([out]), GROUND)).all()


@pytest.mark.parametrize("seed", [6, 7])
def test_objects_of_many_classes_that_fill_a_scene_share_their_borders(seed: int, tmp_path: Path) -> None:
    ids = generate(size=(200, 220), seed=seed).landcover
    noise = np.random.default_rng(seed).normal(size=(int(ids.max()) + 1, *ids.shape))
    scores = np.stack(
        [
            ndimage.gaussian_filter((ids == k).astype(np.float32), 1.2)
            + abs(ndimage.gaussian_filter(n, 2)) / 4
            for k, n in enumerate(noise)
        ]
    )
    shape = dict(zip(("count", "height", "width"), scores.shape, strict=True))
    path = tmp_path / "scores.tif"
    with rasterio.open(
        path, "w", driver="GTiff", dtype="float32", crs="EPSG:26914", transform=GROUND, **shape
    ) as target:
        target.write((scores / scores.sum(axis=0)).astype(np.float32))
    made = vectorize(path, tmp_path / "objects.gpkg", {"vectorize.mode": "objects"})
    layer = pyogrio.read_dataframe(made.file, layer=made.layer)
    assert len(layer) > 20
    assert shapely.is_valid(layer.geometry.to_numpy()).all()
    invalid = shapely.coverage_invalid_edges(layer.geometry.to_numpy())
    # Where three outlines nearly meet in one point, a step of 1/256 px may remain.
    assert (shapely.length(invalid) > 0).mean() < 0.1
    assert shapely.length(invalid).sum() < 1e-3 * layer.geometry.length.sum()
