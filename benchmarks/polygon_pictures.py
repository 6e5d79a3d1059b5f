"""The pictures of the polygon benchmark: the same objects as each method draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from polygon_methods import polygons_of
from polygon_scenes import Buildings
from synthetic.landcover_fields import FINER, LandCover
from synthetic.rooftops import CELL, make_rooftops

from geoseg.arrays import Objects
from geoseg.grid.encoding import SCALE

__all__ = ["PICTURED", "draw_buildings", "draw_landcover", "draw_place"]

PICTURED = (
    "shapes (stairs)",
    "shapes + simplify 0.6 m",
    "smoothify",
    "buildingregulariser",
    "geoseg objects",
)
"""Methods in the pictures of buildings."""
COVERED = ("regions (stairs)", "regions + nodes + coverage_simplify 1 px", "geoseg coverage 0.5 px")
"""Those in the picture of land cover."""

_KINDS = (
    ("rectangle", "mid"),
    ("T", "mid"),
    ("courtyard", "mid"),
    ("L", "hard"),
    ("Z", "hard"),
)
_LINE, _TRUE, _DOT = "#d1005d", "#1b6fb5", 60
_CLASSES = ListedColormap(["#dfe8c8", "#c7d9ea", "#f3e0b5", "#e7c9c4", "#d6cfe3"])


def draw_buildings(path: Path, methods: Sequence[str], side: int = 8) -> None:
    """Buildings of several kinds, a column per method, over the probability.

    Args:
        path: the PNG.
        methods: of :data:`polygon_methods.METHODS`.
        side: cells along the side of the town that they are taken from.
    """
    towns = {noise: make_rooftops(side, noise, seed=4) for noise in ("mid", "hard")}
    stored = {noise: np.rint(SCALE * town.probability).astype(np.uint8) for noise, town in towns.items()}
    drawn = {(m, noise): polygons_of(m, scene)[0] for m in methods for noise, scene in stored.items()}
    places = []
    for kind, noise in _KINDS:
        fitting = np.flatnonzero(towns[noise].kinds == kind)
        size = shapely.area(towns[noise].truth[fitting])
        places.append((noise, int(fitting[np.argsort(size)[len(size) // 2]])))
    figure, axes = _sheet(len(places), len(methods), 1.75)
    for line, (noise, number) in zip(axes, places, strict=True):
        truth = towns[noise].truth[number]
        for ax, method in zip(line, methods, strict=True):
            row, column = (CELL * cell for cell in divmod(number, side))
            window = slice(row, row + CELL), slice(column, column + CELL)
            ax.imshow(
                stored[noise][window],
                cmap="Greys",
                vmin=0,
                vmax=2 * SCALE,
                extent=(column, column + CELL, row + CELL, row),
                interpolation="nearest",
            )
            _outline(ax, [truth], _TRUE, 0.8)
            mine = drawn[method, noise]
            mine = mine[shapely.STRtree(mine).query(truth, predicate="intersects")]
            _outline(ax, mine, _LINE, 1.1, dots=True)
            _frame(ax, truth.bounds, 6)
            ax.text(0.03, 0.03, f"{_corners(mine)} vertices", transform=ax.transAxes, fontsize=6.5)
        line[0].set_ylabel(f"{towns[noise].kinds[number]}, noise {noise}", fontsize=8)
    for ax, method in zip(axes[0], methods, strict=True):
        ax.set_title(method, fontsize=8.5, fontweight="bold" if method.startswith("geoseg") else "normal")
    _save(figure, path, "red: polygons, with their vertices where they are few; blue: the true outline")


def draw_place(path: Path, place: Buildings, drawn: Mapping[str, Objects], side: float = 260) -> None:
    """A square of a place, a panel per method.

    Args:
        path: the PNG.
        place: the scene.
        drawn: polygons by method.
        side: of the square, px; it is where most footprints are.
    """
    center = shapely.get_coordinates(shapely.centroid(place.truth))
    near = (np.abs(center[:, None] - center[None]).max(axis=2) < side / 2).sum(axis=1)
    x, y = center[int(near.argmax())]
    figure, axes = _sheet(1, len(drawn), 3.4)
    for ax, (method, polygons) in zip(axes[0], drawn.items(), strict=True):
        rows, columns = place.stored.shape
        ax.imshow(place.stored, cmap="Greys", vmin=0, vmax=2 * SCALE, extent=(0, columns, rows, 0))
        _outline(ax, place.truth, _TRUE, 0.8)
        _outline(ax, polygons, _LINE, 1.1)
        _frame(ax, (x - side / 2, y - side / 2, x + side / 2, y + side / 2), 0)
        ax.set_title(method, fontsize=9)
    _save(figure, path, f"{place.name}: real footprints (blue) as each method draws them (red)")


def draw_landcover(path: Path, scene: LandCover, drawn: Mapping[str, Objects], side: int = 36) -> None:
    """A square of land cover, a panel per method, over the true classes.

    Args:
        path: the PNG.
        scene: the scene.
        drawn: polygons by method.
        side: of the square, px; it is the one, of some, with most boundaries.
    """
    classes = scene.classes
    edges = (classes[1:, 1:] != classes[:-1, 1:]) | (classes[1:, 1:] != classes[1:, :-1])
    squares = [
        (r, c) for r in range(0, len(classes) - side, side) for c in range(0, len(classes) - side, side)
    ]
    row, column = max(squares, key=lambda at: edges[at[0] : at[0] + side, at[1] : at[1] + side].sum())
    figure, axes = _sheet(1, len(COVERED), 3.3)
    for ax, method in zip(axes[0], COVERED, strict=True):
        ax.imshow(
            scene.truth[FINER * row : FINER * (row + side), FINER * column : FINER * (column + side)],
            cmap=_CLASSES,
            vmin=0,
            vmax=4,
            extent=(column, column + side, row + side, row),
            interpolation="nearest",
        )
        polygons = drawn[method]
        square = shapely.box(column, row, column + side, row + side)
        polygons = polygons[shapely.STRtree(polygons).query(square, predicate="intersects")]
        _outline(ax, polygons, "#222222", 0.9)
        _frame(ax, square.bounds, 0)
        ax.set_title(method, fontsize=8.5, fontweight="bold" if method.startswith("geoseg") else "normal")
    _save(figure, path, "colors: the true classes, four times finer than the pixels; lines: the polygons")


def _sheet(rows: int, columns: int, inches: float) -> tuple[Figure, Objects]:
    """Panels without space between them."""
    figure = Figure((columns * inches, rows * inches + 0.5), dpi=96, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _outline(
    ax: Axes, polygons: Sequence[object] | Objects, color: str, width: float, *, dots: bool = False
) -> None:
    """Rings, and their vertices where they are few."""
    parts = shapely.get_parts(np.asarray(polygons, np.object_))
    rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(parts)]
    ax.add_collection(LineCollection(rings, colors=color, linewidths=width))
    if dots and rings and sum(map(len, rings)) < _DOT:
        ax.plot(*np.concatenate(rings).T, ".", color=color, markersize=4)


def _corners(polygons: Objects) -> int:
    return int((shapely.get_num_coordinates(polygons) - shapely.get_num_interior_rings(polygons) - 1).sum())


def _frame(ax: Axes, bounds: tuple[float, float, float, float], margin: float) -> None:
    """A square round bounds, rows downwards."""
    left, top, right, bottom = bounds
    half = max(right - left, bottom - top) / 2 + margin
    ax.set_xlim((left + right) / 2 - half, (left + right) / 2 + half)
    ax.set_ylim((top + bottom) / 2 + half, (top + bottom) / 2 - half)
    ax.set_xticks([])
    ax.set_yticks([])


def _save(figure: Figure, path: Path, legend: str) -> None:
    figure.supxlabel(legend, fontsize=8)
    figure.savefig(path, pil_kwargs={"optimize": True})
