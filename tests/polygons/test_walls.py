"""Walls are straight, corners square, buildings keep their place; what fits no walls says so."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import contourpy
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from shapely import Polygon
from shapely.affinity import affine_transform, rotate, translate
from synthetic.rooftops import CELL, NOISE, RESOLUTION, Rooftops, make_rooftops, signed_distance

from geoseg.arrays import Bool, Float64, Objects
from geoseg.errors import GridError
from geoseg.polygons.walls.align import align_directions
from geoseg.polygons.walls.fit import KINDS, Fits, WallOptions, fit_rectangles, fit_walls
from geoseg.polygons.walls.rings import close_ring
from geoseg.polygons.walls.segments import LEANS, roughness, sample, split
from geoseg.score.objects.shapes import ShapeMeasures, shape_measures

SIDE = 10
SHARP = 40
PLAIN = ("rectangle", "rectilinear")


def contours(probability: NDArray[np.floating]) -> Objects:
    """Outlines of at least 20 px² where the probability crosses 0.5, in pixel coordinates."""
    rows, cols = probability.shape
    lines = contourpy.contour_generator(
        np.arange(cols) + 0.5,
        np.arange(rows) + 0.5,
        probability.astype(np.float64),
        name="serial",
        fill_type=contourpy.FillType.OuterOffset,
    )
    out = []
    for points, offsets in zip(*lines.filled(0.5, 10.0), strict=True):
        rings = [points[first:end] for first, end in pairwise(offsets)]
        if shapely.area(shapely.polygons(rings[0])) >= 20:
            out.append(Polygon(rings[0], [ring for ring in rings[1:] if Polygon(ring).area >= 20]))
    return np.array(out, np.object_)


def largest_contours(town: Rooftops) -> Objects:
    out = np.empty(len(town.truth), np.object_)
    side = town.probability.shape[0] // CELL
    for i in range(len(out)):
        row, col = (CELL * cell for cell in divmod(i, side))
        found = contours(town.probability[row : row + CELL, col : col + CELL])
        out[i] = translate(found[shapely.area(found).argmax()], col, row)
    return out


@pytest.fixture(scope="module", params=list(NOISE))
def town(request: pytest.FixtureRequest) -> tuple[str, Rooftops, Objects, Fits]:
    made = make_rooftops(SIDE, request.param, seed=3)
    outlines = largest_contours(made)
    return request.param, made, outlines, fit_walls(outlines)


def rings(polygon: Polygon) -> list[Float64]:
    return [np.asarray(ring.coords)[:-1] for ring in (polygon.exterior, *polygon.interiors)]


def angles(ring: Float64) -> Float64:
    """Angles between the edges that meet at each vertex, degrees, 0: straight on."""
    into, out = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    cross = into[:, 0] * out[:, 1] - into[:, 1] * out[:, 0]
    return np.degrees(np.abs(np.arctan2(cross, (into * out).sum(axis=1))))


def as_sharp(ring: Float64, contour: Polygon) -> bool:
    """Whether a contour reaches into each sharp angle of a ring that was fitted to it."""
    tips = shapely.points(ring[angles(ring) > 180 - SHARP + 1e-6])
    return bool(shapely.distance(tips, contour.boundary).max(initial=0) <= 2.5)


def assert_sound(fits: Fits, given: Objects) -> None:
    """What holds for any fit of any contour."""
    assert shapely.is_valid(fits.polygons).all()
    assert set(shapely.get_type_id(fits.polygons)) <= {shapely.GeometryType.POLYGON}
    assert set(fits.kind) <= set(KINDS)
    both, either = (operation(fits.polygons, given) for operation in (shapely.intersection, shapely.union))
    np.testing.assert_allclose(fits.iou, shapely.area(both) / shapely.area(either), atol=1e-12)
    change = np.abs(shapely.area(fits.polygons) / shapely.area(given) - 1)
    free = fits.kind == "free"
    assert change[~free].max(initial=0) <= 0.02
    assert change[free].max(initial=0) <= 1e-9
    assert not ((fits.direction < 0) | (fits.direction >= np.pi)).any()
    assert (np.isnan(fits.direction) == np.isin(fits.kind, ["circle", "free"])).all()
    for polygon, kind, contour in zip(fits.polygons, fits.kind, given, strict=True):
        assert polygon.exterior.is_ccw
        assert not any(hole.is_ccw for hole in polygon.interiors)
        for ring in rings(polygon):
            assert np.hypot(*(ring - np.roll(ring, 1, axis=0)).T).min() > 1e-6
            assert angles(ring).min() > 1e-6
            assert kind == "free" or as_sharp(ring, contour)
            if kind in PLAIN:
                assert np.abs(angles(ring) - 90).max() <= 0.01
        if kind == "rectangle":
            assert [len(ring) for ring in rings(polygon)] == [4]


def assert_fitted(fits: Fits) -> None:
    """Fitting again changes nothing."""
    walls = fits.polygons[fits.kind != "free"]
    again = fit_walls(walls)
    assert (again.kind == fits.kind[fits.kind != "free"]).all()
    assert again.iou.min(initial=1) >= 0.999
    assert (shapely.get_num_coordinates(again.polygons) == shapely.get_num_coordinates(walls)).all()


def assert_same(one: Objects, other: Objects, tolerance: float = 1e-6) -> None:
    """The same polygons, wherever their rings start."""
    assert (shapely.get_num_coordinates(one) == shapely.get_num_coordinates(other)).all()
    for first, second in zip(one, other, strict=True):
        for a, b in ((first, second), (second, first)):
            points, others = (shapely.points(np.concatenate(rings(polygon))) for polygon in (a, b))
            assert shapely.distance(points[:, None], others).min(axis=1).max() <= tolerance


TURNS: dict[str, tuple[Callable[[Float64], Float64], tuple[float, ...]]] = {
    "a quarter turn": (lambda p: np.rot90(p, -1), (0, -1, 1, 0, CELL, 0)),
    "a half turn": (lambda p: np.rot90(p, 2), (-1, 0, 0, -1, CELL, CELL)),
    "a flip": (lambda p: p[:, ::-1], (-1, 0, 0, 1, CELL, 0)),
    "a transposition": (lambda p: p.T, (0, 1, 1, 0, 0, 0)),
}


def test_whatever_the_noise_fits_are_sound(town: tuple[str, Rooftops, Objects, Fits]) -> None:
    _, _, outlines, fits = town
    assert_sound(fits, outlines)
    assert fits.iou.min() >= WallOptions().min_iou


def test_a_fit_is_its_own_fit(town: tuple[str, Rooftops, Objects, Fits]) -> None:
    assert_fitted(town[-1])


def test_neighbors_and_repetition_change_nothing(town: tuple[str, Rooftops, Objects, Fits]) -> None:
    _, _, outlines, fits = town
    order = np.random.default_rng(0).permutation(len(outlines))[:40]
    some = fit_walls(outlines[order])
    assert (shapely.to_wkb(some.polygons) == shapely.to_wkb(fits.polygons[order])).all()
    np.testing.assert_array_equal(some.direction, fits.direction[order])


@pytest.mark.parametrize("turn", TURNS)
def test_fits_turn_with_the_raster(town: tuple[str, Rooftops, Objects, Fits], turn: str) -> None:
    _, made, _, _ = town
    turned, matrix = TURNS[turn]
    for i in range(12):
        row, col = (CELL * cell for cell in divmod(i, SIDE))
        cell = made.probability[row : row + CELL, col : col + CELL].astype(np.float64)
        here, there = fit_walls(contours(cell)), fit_walls(contours(turned(cell)))
        walls = here.kind != "free"
        expected = np.array([affine_transform(polygon, matrix) for polygon in here.polygons])
        by_place = [np.lexsort(np.round(shapely.bounds(x)[:, :2], 3).T) for x in (expected, there.polygons)]
        assert_same(
            expected[by_place[0]][walls[by_place[0]]], there.polygons[by_place[1]][walls[by_place[0]]]
        )


def test_fits_move_with_the_raster(town: tuple[str, Rooftops, Objects, Fits]) -> None:
    _, _, outlines, fits = town
    away = np.array([54_321.0, 9_876.0])
    moved = fit_walls(shapely.transform(outlines, lambda at: at + away))
    assert_same(shapely.transform(fits.polygons, lambda at: at + away), moved.polygons)


BOUNDS = {  # IoU, PoLiS (m), C-IoU, share of right angles where the truth has nothing else
    "clean": (0.996, 0.01, 0.99, 0.999),
    "mid": (0.958, 0.11, 0.95, 0.97),
    "hard": (0.918, 0.24, 0.89, 0.9),
}


def test_quality_on_the_generated_town(town: tuple[str, Rooftops, Objects, Fits]) -> None:
    noise, made, _, fits = town

    def measured(chosen: Bool) -> ShapeMeasures:
        return shape_measures(fits.polygons[chosen], made.truth[chosen], step=1.0)

    every = measured(np.ones(len(made.truth), np.bool_))
    square = measured(~np.isin(made.kinds, ["circle", "cut corner"]))
    overlap, polis, c_iou, right = BOUNDS[noise]
    assert every.iou.mean() >= overlap
    assert every.polis.mean() * RESOLUTION <= polis
    assert every.c_iou.mean() >= c_iou
    assert np.average(square.right_angles, weights=square.vertices) >= right
    assert abs(every.area.sum() / every.true_area.sum() - 1) <= (0.005 if noise == "hard" else 0.003)


@pytest.mark.parametrize(("blur", "smallest", "off"), [(0.0, 12, 0.05), (1.2, 16, 0.08), (1.2, 12, 0.15)])
@given(data=st.data(), angle=st.floats(0, 180))
@settings(max_examples=25, deadline=None)
def test_a_rectangle_comes_back(
    data: st.DataObject, angle: float, blur: float, smallest: float, off: float
) -> None:
    wide, high = (data.draw(st.floats(smallest, 40)) for _ in range(2))
    x, y = (data.draw(st.floats(79, 81)) for _ in range(2))
    truth = rotate(shapely.box(x - wide / 2, y - high / 2, x + wide / 2, y + high / 2), angle)
    distance = signed_distance(truth).astype(np.float64)
    if blur:
        distance = ndimage.gaussian_filter(distance, blur)
    fits = fit_walls(contours(1 / (1 + np.exp(-1.5 * distance))))
    assert fits.kind.tolist() == ["rectangle"]
    assert_same(fits.polygons, np.array([truth]), off)


@st.composite
def rectilinear(draw: st.DrawFn) -> Polygon:
    """A building of right angles whose walls are at least 8 px long, at any angle."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    built = np.zeros((6, 6), np.bool_)
    built[2, 2] = True
    for _ in range(int(random.integers(0, 8))):
        built.flat[random.choice(np.flatnonzero(ndimage.binary_dilation(built) & ~built))] = True
    # Two blocks that only touch at a corner would make a building that no ring can follow.
    touch = [np.array([[1, 0], [0, 1]]), np.array([[0, 1], [1, 0]])]
    while any((hit := ndimage.binary_hit_or_miss(built, one)).any() for one in touch):
        r, c = np.argwhere(hit)[0]
        built[r - 1 : r + 1, c - 1 : c + 1] = True
    x, y = (np.concatenate([[0.0], np.cumsum(random.uniform(8, 16, 6))]) for _ in range(2))
    whole = shapely.union_all([shapely.box(x[c], y[r], x[c + 1], y[r + 1]) for r, c in np.argwhere(built)])
    plain = shapely.simplify(whole, 1e-9)
    # A ring's first vertex always stays; with another one first, it goes if it is no corner.
    rings = [np.roll(np.asarray(ring.coords)[:-1], 1, axis=0) for ring in (plain.exterior, *plain.interiors)]
    turned = rotate(shapely.simplify(Polygon(rings[0], rings[1:]), 1e-9), draw(st.floats(0, 180)))
    assert isinstance(turned, Polygon)
    return turned


@given(truth=rectilinear())
@settings(max_examples=60, deadline=None)
def test_any_building_of_right_angles_comes_back(truth: Polygon) -> None:
    contour = np.array([shapely.segmentize(truth, 0.7)])
    fits = fit_walls(contour, WallOptions(min_diagonal=0))
    assert_sound(fits, contour)
    assert fits.kind[0] in PLAIN
    assert shapely.get_num_coordinates(fits.polygons[0]) == shapely.get_num_coordinates(truth)
    assert fits.iou[0] >= 0.999


@given(seed=st.integers(0, 2**32 - 1), blur=st.floats(0.6, 6), share=st.floats(0.2, 0.8))
@settings(max_examples=60, deadline=None)
def test_any_contour_gives_sound_fits(seed: int, blur: float, share: float) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((72, 72)), blur)
    field = np.pad(0.5 + noise - np.quantile(noise, share), 1, constant_values=0)
    outlines = contours(field)
    outlines = outlines[shapely.is_valid(outlines)]
    fits = fit_walls(outlines)
    assert_sound(fits, outlines)
    assert_fitted(fits)


@given(
    seed=st.integers(0, 2**32 - 1),
    blur=st.floats(0.6, 6),
    direction=st.floats(0, np.pi / 2),
    wall=st.sampled_from([1.0, 4.0, 12.0]),
    diagonal=st.sampled_from([0.0, 3.0, 9.0]),
)
def test_the_walls_of_a_split_are_the_cheapest_and_go_once_round_the_ring(
    seed: int, blur: float, direction: float, wall: float, diagonal: float
) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((40, 50)), blur)
    outlines = contours(np.pad(0.5 + noise - np.median(noise), 1, constant_values=0))
    for outline in outlines[shapely.area(outlines) > 9][:4]:
        ring = shapely.get_coordinates(outline.exterior)[:-1]
        curve = close_ring(ring - ring.mean(axis=0))
        points, sums = sample(curve, 0.75)
        begins, _, _, cost = split(points, sums, curve[1][-1], direction, 4.0, wall, diagonal)
        expected = cheapest((points, sums, curve[1][-1]), direction, 4.0, (wall, diagonal))
        assert cost == pytest.approx(expected, 1e-9, 1e-9)
        if np.isfinite(cost):
            assert begins[0] == 0
            assert (np.diff(begins) > 0).all()
        else:
            assert len(begins) == 0


def cheapest(
    samples: tuple[Float64, Float64, float], direction: float, price: float, shortest: tuple[float, float]
) -> float:
    """Cost of the cheapest split: all walls from each sample to each later one, nothing left out."""
    (points, sums, length), (wall, diagonal) = samples, shortest
    c, s = np.cos(direction), np.sin(direction)
    turned = points @ np.array([[c, -s], [s, c]])
    first = sums[:, :2] @ np.array([[c, -s], [s, c]])
    xx, xy, yy = sums[:, 2:].T
    second = c * c * xx + 2 * c * s * xy + s * s * yy, s * s * xx - 2 * c * s * xy + c * c * yy
    mixed = c * s * (yy - xx) + (c * c - s * s) * xy
    count = len(points) - 1
    best = np.full((3, count + 1), np.inf)
    before = np.zeros(3)[:, None] + np.where(np.arange(count + 1) == 0, 0, np.inf)
    for j in range(1, count + 1):
        run = (j - np.arange(j)) * length / count
        extent, (u, v) = (turned[j] - turned[:j]).T, (first[j] - first[:j]).T
        uu, vv = (part[j] - part[:j] - m * m / run for part, m in zip(second, (u, v), strict=True))
        uv = mixed[j] - mixed[:j] - u * v / run
        leans = 2 * abs(uv) < np.tan(np.radians(40)) * abs(uu - vv)
        for kind, off, size, least, fee in (
            (0, vv, abs(extent[0]), wall, price),
            (1, uu, abs(extent[1]), wall, price),
            (2, (uu + vv - np.hypot(uu - vv, 2 * uv)) / 2, np.hypot(*extent), diagonal, price * 4),
        ):
            if kind == 2 and diagonal == 0:
                continue
            own = np.where(leans, LEANS * price, fee) if kind == 2 else fee
            cost = np.where(size >= least, before[kind, :j] + np.maximum(off, 0) + own, np.inf)
            best[kind, j] = cost.min()
        before[:, j] = [min(best[1, j], best[2, j]), min(best[0, j], best[2, j]), best[:, j].min()]
    return float(best[:, count].min())


def seen(outline: Polygon, noise: float = 0.0, seed: int = 0) -> Objects:
    """The contour of a building in the middle of a cell, blurred and moved by a correlated noise (px)."""
    wave = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((CELL, CELL)), 2.5)
    distance = signed_distance(outline).astype(np.float64)
    distance = ndimage.gaussian_filter(distance, 1.2) + noise * wave / wave.std()
    found = contours(1 / (1 + np.exp(-1.5 * distance)))
    return found[[shapely.area(found).argmax()]]


def leaning(wide: float, high: float, lean: float, angle: float) -> Polygon:
    """A house of right angles but for one wall, which leans by some degrees."""
    far = wide + high * np.tan(np.radians(lean))
    corners = np.array([(0, 0), (wide, 0), (far, high), (0, high)]) - (wide / 2, high / 2) + CELL / 2
    turned = rotate(Polygon(corners), angle, origin=(CELL / 2, CELL / 2))
    assert isinstance(turned, Polygon)
    return turned


@given(
    wide=st.floats(35, 60),
    high=st.floats(40, 60),
    lean=st.floats(8, 16),
    side=st.sampled_from([-1, 1]),
    angle=st.floats(0, 180),
)
@settings(max_examples=25, deadline=None)
def test_a_wall_that_leans_keeps_its_direction(
    wide: float, high: float, lean: float, side: int, angle: float
) -> None:
    truth = leaning(wide, high, side * lean, angle)
    outlines = seen(truth)
    fits = fit_walls(outlines)
    assert_sound(fits, outlines)
    assert fits.kind.tolist() == ["diagonal"]
    assert_same(fits.polygons, np.array([truth]), 0.3)


@pytest.mark.parametrize("noise", [0.6, 1.2])
def test_noise_makes_no_wall_lean(noise: float) -> None:
    def fitted(lean: float) -> tuple[Objects, Fits]:
        houses = np.array([leaning(45, 60, lean, 7 * seed) for seed in range(30)])
        return houses, fit_walls(np.concatenate([seen(h, noise, seed) for seed, h in enumerate(houses)]))

    _, straight = fitted(0)
    assert np.isin(straight.kind, PLAIN).mean() >= 0.9
    houses, leans = fitted(12)
    assert (leans.kind == "diagonal").mean() >= (0.9 if noise == 0.6 else 0.6)
    assert shape_measures(leans.polygons, houses, step=1).iou.mean() >= (0.97 if noise == 0.6 else 0.94)


@given(
    size=st.tuples(st.floats(24, 60), st.floats(24, 50)),
    angle=st.floats(0, 180),
    shadow=st.floats(0, 180),
    noise=st.floats(0, 1.2),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=50, deadline=None)
def test_half_a_roof_in_the_dark_makes_no_spike(
    size: tuple[float, float], angle: float, shadow: float, noise: float, seed: int
) -> None:
    (wide, high), middle = size, CELL / 2
    roof = shapely.box(middle - wide / 2, middle - high / 2, middle + wide / 2, middle + high / 2)
    light = rotate(shapely.box(0, middle, CELL, 2 * CELL), shadow, origin=(middle, middle))
    outlines = seen(rotate(shapely.intersection(roof, light), angle), noise, seed)
    fits = fit_walls(outlines)
    assert_sound(fits, outlines)
    assert_fitted(fits)


def test_a_sharp_corner_that_the_contour_fills_stays() -> None:
    gable = Polygon([(0, 0), (80, 0), (80, 40)])
    outlines = np.array([shapely.segmentize(gable, 0.7)])
    fits = fit_walls(outlines)
    assert fits.kind.tolist() == ["diagonal"]
    assert_same(fits.polygons, np.array([gable]), 0.01)


@given(truth=rectilinear())
@settings(max_examples=30, deadline=None)
def test_corners_are_not_rough(truth: Polygon) -> None:
    ring = 3 * np.asarray(truth.exterior.coords)[:-1]
    arc = close_ring(ring - ring.mean(axis=0))
    assert roughness(sample(arc, 1.5)[1], arc[1][-1]) < 1e-6


def test_parallel_neighbors_correct_directions() -> None:
    made = make_rooftops(SIDE, "hard", seed=5, street=17.0)
    outlines = largest_contours(made)
    own = fit_walls(outlines)
    known = align_directions(own, outlines, reach=2.5 * CELL)
    joined = ~np.isnan(known)
    assert np.count_nonzero(joined) > 80
    aligned = fit_walls(outlines, direction=known)
    assert_sound(aligned, outlines)
    angular = joined & ~np.isin(made.kinds, ["circle"]) & ~np.isnan(aligned.direction)
    # Rows run down, so a street of 17 degrees has walls of -17.
    off = [
        np.abs((np.degrees(fits.direction[angular]) + 17 + 45) % 90 - 45).mean() for fits in (own, aligned)
    ]
    assert off[1] < 0.8 * off[0]
    better = [shape_measures(fits.polygons, made.truth, step=1.0) for fits in (own, aligned)]
    assert better[1].polis.mean() < 0.97 * better[0].polis.mean()


def test_strangers_keep_their_directions() -> None:
    outlines = largest_contours(make_rooftops(SIDE, "hard", seed=5))
    known = align_directions(fit_walls(outlines), outlines, reach=2.5 * CELL)
    assert np.count_nonzero(~np.isnan(known)) <= 2


def test_alignment_turns_with_the_block() -> None:
    outlines = largest_contours(make_rooftops(5, "mid", seed=5, street=89.0))
    known = align_directions(fit_walls(outlines), outlines, reach=3 * CELL)
    for degrees in (90, 37):
        turned = np.array([rotate(p, degrees, origin=(0, 0)) for p in outlines])
        there = align_directions(fit_walls(turned), turned, reach=3 * CELL)
        off = np.degrees(there - known) - degrees
        assert (np.isnan(there) == np.isnan(known)).all()
        assert np.nanmax(np.abs((off + 45) % 90 - 45)) < (1e-6 if degrees == 90 else 0.01)


def test_alignment_needs_its_contours() -> None:
    outlines = np.array([shapely.box(0, 0, 30, 20)])
    fits = fit_walls(outlines)
    assert np.isnan(align_directions(fits, outlines, reach=9)).all()
    with pytest.raises(GridError, match="got reach 9, 0 contours and 1 fits"):
        align_directions(fits, outlines[:0], reach=9)
    with pytest.raises(GridError, match="each of 1 polygons needs a direction"):
        fit_walls(outlines, direction=np.zeros(2))
    turned = fit_walls(shapely.segmentize(outlines, 0.7), direction=np.radians([45.0]))
    assert set(turned.kind) <= {"diagonal", "free"}


def test_options_rule_kinds_out() -> None:
    made = make_rooftops(6, "mid", seed=20)
    outlines = largest_contours(made)
    assert {"diagonal", "circle"} <= set(fit_walls(outlines).kind)
    assert "diagonal" not in fit_walls(outlines, WallOptions(min_diagonal=0)).kind
    assert "circle" not in fit_walls(outlines, WallOptions(circle_cv=0)).kind
    long = fit_walls(outlines, WallOptions(min_wall=15)).polygons
    edges = [np.hypot(*(ring - np.roll(ring, 1, axis=0)).T).min() for p in long for ring in rings(p)]
    assert np.quantile(edges, 0.5) >= 15


def test_what_fits_no_walls_keeps_its_contour() -> None:
    outlines = largest_contours(make_rooftops(4, "hard", seed=2))
    fits = fit_walls(outlines, WallOptions(min_iou=1.0))
    assert set(fits.kind) == {"free"}
    assert_sound(fits, outlines)
    assert fits.iou.min() > 0.93
    assert shapely.get_num_coordinates(fits.polygons).sum() < shapely.get_num_coordinates(outlines).sum() / 4


def test_a_building_cut_by_the_frame_keeps_the_frame() -> None:
    building = rotate(shapely.box(10, 10, 60, 40), 30)
    cut = shapely.intersection(building, shapely.box(0, 0, 45, 100))
    fits = fit_walls(np.array([shapely.segmentize(cut, 0.7)]))
    assert fits.kind.tolist() == ["diagonal"]
    assert fits.iou[0] > 0.99
    assert shapely.bounds(fits.polygons[0])[2] == pytest.approx(45, abs=0.1)


def test_the_smallest_rectangle() -> None:
    outlines = largest_contours(make_rooftops(4, "mid", seed=2))
    fits = fit_rectangles(outlines)
    assert set(fits.kind) == {"rectangle"}
    assert shapely.covers(shapely.buffer(fits.polygons, 1e-9), outlines).all()
    assert all(polygon.exterior.is_ccw for polygon in fits.polygons)
    turned = np.array(
        [
            rotate(p, -d, origin=(0, 0), use_radians=True)
            for p, d in zip(fits.polygons, fits.direction, strict=True)
        ]
    )
    left, top, right, bottom = shapely.bounds(turned).T
    np.testing.assert_allclose((right - left) * (bottom - top), shapely.area(fits.polygons))
    assert (right - left >= bottom - top - 1e-9).all()


def test_nothing_gives_nothing() -> None:
    for fit in (fit_walls, fit_rectangles):
        fits = fit(np.zeros(0, np.object_))
        assert [len(values) for values in (fits.polygons, fits.kind, fits.iou, fits.direction)] == [0] * 4


@pytest.mark.parametrize(
    "shape",
    [None, shapely.Point(0, 0), Polygon(), shapely.MultiPolygon(), Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])],
)
def test_only_valid_polygons_have_walls(shape: object) -> None:
    with pytest.raises(GridError, match="valid polygons with an area; 1 of 2"):
        fit_walls(np.array([shapely.box(0, 0, 9, 9), shape], np.object_))


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(GridError, match=r"tolerance 0, min_iou 2"):
        WallOptions(tolerance=0, min_iou=2)
