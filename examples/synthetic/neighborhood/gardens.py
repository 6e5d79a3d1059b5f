"""Behind the house: sheds, patios, pools, fences, and what people leave on the lawn."""

from __future__ import annotations

import numpy as np
import shapely

from synthetic.neighborhood.builder import Builder, some_car
from synthetic.neighborhood.plan import Box, Lot, Pool, Slab, Wing, chance

__all__ = ["lay_garden"]

FENCE = np.array((0.20, 0.16, 0.115))
"""Reflectance of weathered planks."""
SMALL, LARGE = 5.0, 12.0
"""Meters of garden behind the house that a shed and a pool need."""


def lay_garden(rng: np.random.Generator, builder: Builder, lot: Lot, *, back: float, material: str) -> None:
    """Furnish a lot behind ``back`` meters from its front; the house's roof is of ``material``."""
    plan = builder.plan
    free, half = lot.depth - back, lot.width / 2
    if free < SMALL:
        return
    if chance(rng, 0.55):
        shed = lot.frame.at(
            rng.uniform(-half + 2.5, half - 2.5), lot.depth - rng.uniform(2.2, 6), rng.normal(0, 0.12)
        )
        size = rng.uniform(1.2, 3.0), rng.uniform(1.2, 2.2)
        wing = Wing(0, 0, *size, True, False, rng.uniform(0.05, 0.4), rng.uniform(2.0, 2.4))
        kind = material if chance(rng, 0.3) else builder.material(rng)
        builder.add(rng, shed, [wing], kind, gap=0.4)
    if chance(rng, 0.55):
        place = lot.frame.at(rng.uniform(-half / 2, half / 2), back + rng.uniform(0.5, 2.0))
        plan.slabs.append(Slab(place, rng.uniform(1.5, 3.5), rng.uniform(1.2, 2.2), rng.uniform(0.2, 0.4)))
    if chance(rng, 0.1) and free > LARGE:
        _pool(rng, builder, lot, back + free * 0.5)
    if chance(rng, 0.1):
        place = lot.frame.at(rng.uniform(-half / 2, half / 2), back + rng.uniform(3, free), rng.uniform(0, 6))
        plan.cars.append(some_car(rng, place))
    for _ in range(int(rng.poisson(3.0))):
        place = lot.frame.at(rng.uniform(-half, half), rng.uniform(back, lot.depth), rng.uniform(0, 3))
        color = rng.uniform(0.03, 0.6) * (1 + rng.normal(0, 0.12, 3))
        red, green, blue = (float(c) for c in np.clip(color, 0.02, 0.85))
        sizes = rng.uniform(0.2, 1.1), rng.uniform(0.2, 0.7)
        plan.boxes.append(Box(place, *sizes, rng.uniform(0.1, 1.2), (red, green, blue)))
    _fences(rng, builder, lot, back - rng.uniform(0, 6))


def _pool(rng: np.random.Generator, builder: Builder, lot: Lot, b: float) -> None:
    """A pool, where no building is near."""
    place = lot.frame.at(rng.uniform(-0.15, 0.15) * lot.width, b, rng.normal(0, 0.1))
    sizes = rng.uniform(3.2, 5.2), rng.uniform(1.8, 2.8)
    water = shapely.Point(place.x / builder.resolution, place.y / builder.resolution)
    others = [building.outline for building in builder.plan.buildings]
    if not others or not bool(shapely.dwithin(water, others, (sizes[0] + 1.5) / builder.resolution).any()):
        builder.plan.pools.append(Pool(place, *sizes))


def _fences(rng: np.random.Generator, builder: Builder, lot: Lot, start: float) -> None:
    """Plank fences that shade, and wire ones that are only a line of weeds."""
    half, long = lot.width / 2, (lot.depth - start) / 2
    sides = [(lot.frame.at(sign * half, start + long), 0.07, long) for sign in (-1, 1)]
    sides.append((lot.frame.at(0, lot.depth), half, 0.07))
    planks = chance(rng, 0.4)
    red, green, blue = (float(c) for c in FENCE * rng.uniform(0.6, 1.7))
    for frame, half_a, half_b in sides:
        if chance(rng, 0.6):
            height = rng.uniform(1.2, 1.8) if planks else 0.35
            color = (red, green, blue) if planks else (0.07, 0.07, 0.05)
            builder.plan.boxes.append(Box(frame, half_a, half_b, height, color))
