"""Trees, where they would grow: in yards, along streets and creeks, in thickets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely

from geoseg.arrays import Float64
from synthetic.neighborhood.builder import Builder
from synthetic.neighborhood.plan import Tree, chance
from synthetic.neighborhood.streets import Town
from synthetic.neighborhood.style import Style

__all__ = ["plant"]

DENSITY = {"home": 0.025, "row": 0.012, "civic": 0.006, "wood": 0.05, "meadow": 0.011}
"""Trees per square meter of each kind of lot, at density 1."""
CREEKSIDE = 0.045
"""The same along creeks."""
KERB, WALL = 0.8, 0.8
"""How far a trunk stays from the kerb, and from roofs and pavements, meters."""


def _scatter(rng: np.random.Generator, corners: Float64, density: float) -> Float64:
    """Random points of a quadrilateral, (n, 2)."""
    area = float(shapely.Polygon(corners).area)
    count = int(rng.poisson(density * area))
    a, b = rng.uniform(0, 1, (2, count, 1))
    top = corners[0] * (1 - a) + corners[1] * a
    bottom = corners[3] * (1 - a) + corners[2] * a
    points: Float64 = top * (1 - b) + bottom * b
    return points


def _creekside(rng: np.random.Generator, town: Town, reach: float, density: float) -> list[Float64]:
    groups = []
    for creek in town.creeks:
        count = int(rng.poisson(density * 26 * 2 * reach))
        u, v = creek.at + rng.normal(0, 12, count), rng.uniform(-reach, reach, count)
        x, y = town.warp.inverse(u, v)
        groups.append(np.stack([x, y], axis=1))
    return groups


def plant(rng: np.random.Generator, builder: Builder, style: Style, reach: float) -> None:
    """Plant trees whose trunks are clear of roofs, streets and drives; crowns may hang over anything.

    Args:
        rng: the source of chance.
        builder: the town to plant; its plan receives the trees.
        style: density and kinds.
        reach: meters from the middle within which trees are wanted.
    """
    town, plan = builder.town, builder.plan
    if style.trees <= 0:
        plan.trees.clear()
        return
    groups = [_scatter(rng, lot.corners, DENSITY[lot.kind] * style.trees) for lot in plan.lots]
    groups += _creekside(rng, town, reach, CREEKSIDE * style.trees)
    points = np.concatenate(groups)
    sizes = np.exp(rng.normal(1.22, 0.42, len(points))).clip(0.9, 7.0)
    phase = rng.uniform(0, 2 * np.pi, 4)
    x, y = points.T
    grove = np.sin(x / 23 + phase[0]) * np.sin(y / 19 + phase[1])
    gap = np.sin(x / 13 + y / 29 + phase[2]) * np.sin(y / 15 - x / 31 + phase[3])
    clear = (town.clearance(x, y) > KERB) & (rng.uniform(0, 1, len(points)) < 0.7 + 0.6 * gap)
    clear[_built(builder, points)] = False
    for index in np.flatnonzero(clear):
        radius = float(sizes[index])
        if chance(rng, style.evergreen * (1 + 0.75 * float(grove[index]))):
            species = "oak" if chance(rng, 0.75) else "juniper"
        else:
            species = "leaf" if chance(rng, style.leaf) else "bare"
        height = radius * rng.uniform(1.0, 1.6) + 1.2
        place = (float(x[index]), float(y[index]))
        plan.trees.append(Tree(*place, radius, height, species, rng.uniform(0.75, 1.35)))


def _built(builder: Builder, points: Float64) -> npt.NDArray[np.intp]:
    """Which points are on or near a roof or a pavement."""
    solid = [building.outline for building in builder.plan.buildings]
    for slab in builder.plan.slabs:
        signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        corners = [slab.frame.world(a * slab.half_a, b * slab.half_b) for a, b in signs]
        solid.append(shapely.Polygon(np.array(corners) / builder.resolution))
    places = shapely.points(points / builder.resolution)
    near = shapely.STRtree(solid).query(places, predicate="dwithin", distance=WALL / builder.resolution)
    return np.unique(near[0])
