"""Objects that were cut apart share their border to the bit, wherever the scene lies on the ground."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
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
from geoseg.polygons.objects.noding import Outlines, find_crossings, with_vertices
from geoseg.polygons.objects.overlaps import cut_overlaps, snapped
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
    rest = [shapely.difference(one, other) for one, other in zip(middle, before, strict=True)]
    return snapped(np.array([max(shapely.get_parts(left), key=shapely.area, default=left) for left in rest]))


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


@st.composite
def crowds(draw: st.DrawFn) -> NDArray[np.object_]:
    """Boxes, some with a hole, and triangles on whole pixels: edges touch and lie on each other."""
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    out = []
    for _ in range(draw(st.integers(2, 9))):
        x, y, wide, high = *random.integers(0, 20, 2), *random.integers(4, 14, 2)
        corners = [(x, y), (x + wide, y), (x + wide, y + high), (x, y + high)]
        hole = shapely.box(x + 1, y + 1, x + wide - 1, y + high - 2).exterior
        out.append(shapely.Polygon(corners, [hole]) if random.integers(2) else shapely.Polygon(corners[:3]))
    return np.array(shapely.orient_polygons(out))


def noded(polygon: shapely.Polygon, others: NDArray[np.object_]) -> shapely.Polygon:
    """A polygon with the vertices where it crosses others, in GEOS's arithmetic, edge by edge."""
    points = []
    for other in others:
        met = shapely.get_coordinates(shapely.intersection(polygon.boundary, other.boundary))
        ends = shapely.get_coordinates([polygon, other])
        for point in met:
            apart = np.hypot(*(ends - point).T)
            near = apart.min() <= 2.0**-16
            points.append(ends[apart.argmin()] if near else np.round(point * 2.0**16) / 2.0**16)
    rings = []
    for ring in (polygon.exterior, *polygon.interiors):
        rest = {tuple(p) for p in points} - set(ring.coords)
        filled = []
        for start, end in pairwise(ring.coords):
            edge = shapely.LineString([start, end])
            mine = [p for p in rest if edge.distance(shapely.Point(p)) < 2.0**-15]
            filled += [start, *sorted(mine, key=lambda p, start=start: np.hypot(*np.subtract(p, start)))]
        rings.append(filled)
    out = shapely.Polygon(rings[0], rings[1:])
    return out if out.is_valid else polygon


def cut_one(fits: NDArray[np.object_], contours: NDArray[np.object_], index: int) -> shapely.Polygon:
    """One of the fits without what others keep, pair by pair: the definition."""
    own, around, taken = fits[index], [], []
    for n in range(len(fits)):
        shared = shapely.intersection(*fits[sorted((index, n))])
        if n == index or shared.area <= 1e-9:
            continue
        around.append(n)
        theirs, mine = shared.intersection(contours[n]).area, shared.intersection(contours[index]).area
        if theirs > mine or (theirs == mine and n < index):
            taken.append(n)
    out = noded(own, fits[around])
    if taken:
        winners = [noded(fits[n], fits[[m for m in (*around, index) if m != n]]) for n in taken]
        parts = shapely.get_parts(shapely.difference(out, shapely.union_all(winners)))
        largest = max((part for part in parts if part.geom_type == "Polygon"), key=shapely.area, default=None)
        kept = largest is not None and largest.area > 1e-9
        (out,) = snapped(np.array([shapely.normalize(largest) if kept else contours[index]]))
    return shapely.orient_polygons(out)


@given(st.one_of(roofs(), crowds()))
def test_all_are_cut_at_once_as_they_are_one_by_one(fits: NDArray[np.object_]) -> None:
    contours = cores(fits)
    parted, _ = cut_overlaps(fits, contours, np.ones(len(fits), np.bool_))
    alone = [cut_one(fits, contours, index) for index in range(len(fits))]
    assert shapely.to_wkb(parted).tolist() == shapely.to_wkb(alone).tolist()


@given(st.one_of(roofs(), crowds()))
def test_crossings_are_where_geos_finds_them(fits: NDArray[np.object_]) -> None:
    pairs = np.array([(p, q) for q in range(len(fits)) for p in range(q)])
    outlines = Outlines.of(fits)
    found = find_crossings(outlines, pairs)
    for k, (p, q) in enumerate(pairs):
        mine = slice(found.start[k], found.start[k + 1])
        met = shapely.intersection(fits[p].boundary, fits[q].boundary)
        assert shapely.multipoints(found.xy[mine]).hausdorff_distance(
            shapely.multipoints(shapely.get_coordinates(met))
        ) < 2.0**-15 or (met.is_empty and mine.start == mine.stop)
        for polygon, edge in zip((p, q), found.edge[mine].T, strict=True):
            first, stop = outlines.first[polygon : polygon + 2]
            assert ((edge == -1) | ((first <= edge) & (edge < stop))).all()
            vertices = outlines.xy[first:stop]
            is_vertex = (found.xy[mine][:, None] == vertices).all(axis=2).any(axis=1)
            assert (is_vertex == (edge == -1)).all()
            ends = outlines.xy[edge[~is_vertex][:, None] + [0, 1]]
            assert (
                shapely.distance(shapely.linestrings(ends), shapely.points(found.xy[mine][~is_vertex]))
                < 2.0**-15
            ).all()


@given(st.integers(1, 1 << 31), st.integers(1, 1 << 31), st.sampled_from([-1, 0, 1]))
def test_the_side_of_an_edge_is_told_where_floats_are_too_coarse(p: int, q: int, side: int) -> None:
    """An edge from (0, 0) to 2 (p, q) steps, and the vertex nearest to it on a known side."""
    assume(np.gcd(p, q) == 1 and min(p, q) > 1000)
    x = (p - side * pow(q, -1, p)) % p or p
    y = (side + q * x) // p
    step = 2.0**-20
    left = shapely.Polygon(np.array([(0, 0), (2 * p, 2 * q), (0, 2 * q)]) * step)
    right = shapely.Polygon(np.array([(x, y), (x + q, y - p), (x + q + 1, y - p)]) * step)
    assume(right.is_valid)
    found = find_crossings(Outlines.of(np.array([left, right])), np.array([[0, 1]]))
    assert (found.xy == (x * step, y * step)).all(axis=1).any() == (side >= 0)


@given(*[st.integers(1 << 29, 1 << 31)] * 2, *[st.integers(1, 1 << 10)] * 2)
def test_edges_that_are_nearly_parallel_cross_in_the_right_place(p: int, q: int, up: int, down: int) -> None:
    """An edge from (0, 0) to (p, q) steps, and one from so far above it to so far below it."""
    step = 2.0**-20
    one = shapely.Polygon(np.array([(0, 0), (p, q), (p, -p)]) * step)
    other = shapely.Polygon(np.array([(0, up), (p, q - down), (p, 2 * q)]) * step)
    found = find_crossings(Outlines.of(np.array([one, other])), np.array([[0, 1]]))
    share = Fraction(up, up + down)
    exact = [float(Fraction(length, 1 << 20) * share) for length in (p, q)]
    assert np.abs(found.xy - exact).max(axis=1).min() <= 2.0**-17 + 2.0**-40


def test_crossings_become_vertices_of_both() -> None:
    one, other = shapely.box(0, 0, 10, 10), shapely.Polygon([(5, 5), (20, 5.3), (20, 20), (5.00001, 10)])
    both = snapped(np.array([one, other, shapely.box(20, 20, 30, 30)]))
    found = find_crossings(Outlines.of(both), np.array([[0, 1], [0, 2]]))
    assert found.start.tolist() == [0, 3, 3]  # a vertex on an edge is on two
    points = np.unique(found.xy, axis=0)
    assert np.abs(points - [[5.00001, 10.0], [10, 5.1]]).max() < 1e-4
    of, point = np.repeat([0, 1], 3), np.tile(np.arange(3), 2)
    out = with_vertices(both, Outlines.of(both), np.arange(2), of, found.edge[point, of], found.xy[point])
    for polygon in out:
        assert {tuple(p) for p in points.tolist()} <= set(polygon.exterior.coords)
    assert len(out[0].exterior.coords) == 7
    again = find_crossings(Outlines.of(out), np.array([[0, 1]]))
    assert (again.edge == -1).all()


def test_vertices_come_in_the_order_of_their_edges_and_once() -> None:
    hole = shapely.Polygon(shapely.box(0, 0, 10, 10).exterior, [shapely.box(2, 2, 8, 8).exterior])
    polygons = np.array([hole, shapely.box(20, 0, 30, 10)])
    outlines = Outlines.of(polygons)
    points = np.array([[2.0, 5.0], [0, 3], [2, 5], [2, 4], [10, 0], [30, 5]])
    edges = [
        int(
            np.flatnonzero(
                shapely.distance(
                    shapely.linestrings(np.stack([outlines.xy[:-1], outlines.xy[1:]], axis=1)),
                    shapely.Point(p),
                )
                == 0
            )[0]
        )
        for p in points
    ]
    edges[4] = -1
    owner = np.array([0, 0, 0, 0, 0, 2])
    out = with_vertices(polygons, outlines, np.array([0, 0, 1]), owner, np.array(edges), points)
    assert [len(ring.coords) for ring in (out[0].exterior, *out[0].interiors)] == [6, 7]
    assert out[1] is hole
    assert len(out[2].exterior.coords) == 6
    assert out[0].is_valid
    assert shapely.equals(out[0], hole)
    across = with_vertices(
        polygons, outlines, np.array([1]), np.array([0]), np.array([10]), np.array([[15.0, 20.0]])
    )
    assert across[0] is polygons[1]


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
