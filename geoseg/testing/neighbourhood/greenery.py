"""Trees, where they would grow: in yards, along streets and creeks, in thickets."""

from __future__ import annotations

import numpy as np
import shapely

from geoseg.testing.neighbourhood.homes import CAR_COLORS
from geoseg.testing.neighbourhood.plan import Box, Car, Floats, Frame, Tree, chance
from geoseg.testing.neighbourhood.streets import Town
from geoseg.testing.neighbourhood.style import Style

__all__ = ["plant", "street_furniture"]

DENSITY = {"home": 0.0105, "row": 0.006, "civic": 0.0035, "wood": 0.03, "meadow": 0.006}
"""Trees per square metre of each kind of lot, at density 1."""


def _scatter(rng: np.random.Generator, corners: Floats, density: float) -> Floats:
    """Random points of a quadrilateral, (n, 2)."""
    area = float(shapely.Polygon(corners).area)
    count = int(rng.poisson(density * area))
    a, b = rng.uniform(0, 1, (2, count, 1))
    top = corners[0] * (1 - a) + corners[1] * a
    bottom = corners[3] * (1 - a) + corners[2] * a
    points: Floats = top * (1 - b) + bottom * b
    return points


def _creekside(rng: np.random.Generator, town: Town, reach: float, density: float) -> list[Floats]:
    groups = []
    for creek in town.creeks:
        count = int(rng.poisson(density * 26 * 2 * reach))
        u, v = creek.at + rng.normal(0, 12, count), rng.uniform(-reach, reach, count)
        x, y = town.warp.inverse(u, v)
        groups.append(np.stack([x, y], axis=1))
    return groups


def plant(rng: np.random.Generator, town: Town, style: Style, resolution: float, reach: float) -> None:
    """Plant trees whose trunks are clear of roofs, streets and drives; crowns may hang over anything.

    Args:
        rng: the source of chance.
        town: receives the trees.
        style: density and kinds.
        resolution: metres per canvas pixel, the unit of footprints.
        reach: metres from the middle within which trees are wanted.
    """
    plan = town.plan
    groups = [_scatter(rng, lot.corners, DENSITY[lot.kind] * style.trees) for lot in plan.lots]
    groups += _creekside(rng, town, reach, 0.035 * style.trees)
    if style.trees <= 0:
        return
    points = np.concatenate(groups)
    sizes = np.exp(rng.normal(1.15, 0.38, len(points))).clip(1.2, 6.5)
    clear = town.clearance(points[:, 0], points[:, 1]) > 0.8  # noqa: PLR2004 (metres: the kerb)
    solid = [building.outline for building in plan.buildings]
    for slab in plan.slabs:
        corners = [
            slab.frame.world(a * slab.half_a, b * slab.half_b)
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
        ]
        solid.append(shapely.Polygon(np.array(corners) / resolution))
    near = shapely.STRtree(solid)
    hit = near.query(shapely.points(points / resolution), predicate="dwithin", distance=0.8 / resolution)[0]
    clear[hit] = False
    groves = rng.uniform(0, 1, 8)
    for (x, y), radius in zip(points[clear].tolist(), sizes[clear].tolist(), strict=True):
        grove = 0.5 + 0.5 * float(np.sin(x / 23 + 6 * groves[0]) * np.sin(y / 19 + 6 * groves[1]))
        if chance(rng, min(1.0, style.evergreen * (0.4 + 1.2 * grove))):
            species = "oak" if chance(rng, 0.7) else "juniper"
        else:
            species = "leaf" if chance(rng, style.leaf) else "bare"
        height = radius * rng.uniform(1.3, 1.9) + 1.5
        plan.trees.append(Tree(x, y, radius, height, species, rng.uniform(0.75, 1.3)))


def street_furniture(rng: np.random.Generator, town: Town, reach: float) -> None:
    """Utility poles along the long streets, and cars on all of them."""
    plan, warp = town.plan, town.warp
    for street in plan.streets:
        if not street.along_v:
            continue
        v = -reach + rng.uniform(0, 40)
        while v < reach:
            x, y = warp.place(street.at + street.half + 1.2, v)
            plan.boxes.append(Box(Frame(x, y, 0.0), 0.16, 0.16, rng.uniform(8, 11), (0.2, 0.17, 0.14)))
            v += rng.uniform(32, 46)
        for _ in range(int(rng.poisson(reach / 22))):
            v = rng.uniform(-reach, reach)
            side = 1 if chance(rng, 0.5) else -1
            parked = chance(rng, 0.7)
            u = street.at + side * (street.half - 1.2 if parked else street.half * 0.45)
            x, y = warp.place(u, v)
            ahead = warp.place(u, v + 1)
            angle = float(np.arctan2(ahead[1] - y, ahead[0] - x))
            color = CAR_COLORS[int(rng.integers(len(CAR_COLORS)))]
            plan.cars.append(Car(Frame(x, y, angle), rng.uniform(4.2, 5.3), color))
