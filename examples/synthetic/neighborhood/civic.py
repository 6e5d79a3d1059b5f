"""Larger places: terraces of houses, shops and schools with their parking."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from synthetic.neighborhood.builder import Builder, some_car
from synthetic.neighborhood.plan import Box, Frame, Lot, Slab, Wing, chance

__all__ = ["build_civic", "build_row"]

LINE = (0.55, 0.55, 0.53)
BAY = 2.7
"""Width of a parking bay, meters."""
ROOM, FAR = (8.0, 6.0), 16.0
"""Half the least length and depth of a large roof, and the yard that a second row of bays needs, meters."""


def build_row(rng: np.random.Generator, builder: Builder, lot: Lot, alley: float = 0.0) -> None:
    """Build a terrace: units that share whole walls, so that their footprints touch, or with alleys."""
    units = int(rng.integers(3, 6))
    width = (lot.width - 4) / units
    half_b = rng.uniform(4.5, 6)
    setback = rng.uniform(5, 8)
    pitch = 0.0 if chance(rng, 0.25) else rng.uniform(0.3, 0.5)
    base = builder.material(rng)
    edges = np.linspace(-units * width / 2, units * width / 2, units + 1).tolist()
    for index, (low, high) in enumerate(pairwise(edges)):
        middle = (low + high) / 2
        wing = Wing(
            middle, half_b, (high - low - alley) / 2, half_b, True, False, pitch, 5.4 + 0.4 * (index % 2)
        )
        vent = Box(lot.frame.at(middle, setback + half_b * 1.5), 0.3, 0.3, 0.6, (0.4, 0.4, 0.4))
        kind = base if chance(rng, 0.75) else builder.material(rng)
        gap = (0.9 * alley or -1.0) if index else 1.0
        builder.add(rng, lot.frame.at(0, setback), [wing], kind, boxes=[vent], gap=gap)
        drive = lot.frame.at(middle - 0.8, (setback - lot.kerb) / 2, math.pi / 2)
        builder.plan.slabs.append(Slab(drive, (setback + lot.kerb) / 2, 1.4, 0.36))
        if chance(rng, 0.5):
            builder.plan.cars.append(
                some_car(rng, lot.frame.at(middle - 0.8, rng.uniform(0.5, 2), math.pi / 2))
            )


def build_civic(rng: np.random.Generator, builder: Builder, lot: Lot) -> None:
    """Build a shop, hall or school: a large roof, its parking with stripes and cars."""
    half_a = min(lot.width / 2 - 9, rng.uniform(14, 28))
    half_b = min(lot.depth / 2 - 13, rng.uniform(8, 15))
    if half_a < ROOM[0] or half_b < ROOM[1]:
        return
    b = lot.depth - half_b - rng.uniform(6, 10)
    frame = lot.frame.at(rng.uniform(-2, 2), b)
    tone = rng.uniform(0.10, 0.2) if chance(rng, 0.45) else rng.uniform(0.32, 0.48)
    half_w, half_d = lot.width / 2 - rng.uniform(2, 4), lot.depth / 2 - rng.uniform(2, 4)
    slabs = builder.plan.slabs
    slabs.append(Slab(lot.frame.at(0, lot.depth / 2), half_w, half_d, tone))
    for a in (-half_w * 0.55, half_w * 0.55):
        slabs.append(Slab(lot.frame.at(a, -lot.kerb / 2 + 1.2, math.pi / 2), lot.kerb / 2 + 2, 3.2, tone))
    if not _hall(rng, builder, frame, half_a, half_b):
        return
    front = b - half_b - 12
    rows = [5.2, 22.0] if front > FAR else [5.2]
    for row in rows:
        if row <= front + 3:
            _bays(rng, builder, lot.frame.at(0, row), half_w - 8)


def _hall(rng: np.random.Generator, builder: Builder, frame: Frame, half_a: float, half_b: float) -> bool:
    """A large roof of one or two wings, flat with machines on it, or pitched."""
    pitched = chance(rng, 0.4)
    pitch, eave = (rng.uniform(0.15, 0.32), 3.6) if pitched else (0.0, rng.uniform(4.5, 7.5))
    wings = [Wing(0, 0, half_a, half_b, True, chance(rng, 0.5), pitch, eave)]
    if chance(rng, 0.75):
        arm, out = rng.uniform(5.5, 8), rng.uniform(6, 11)
        reach = (half_b + out) / 2 if pitched else out / 2 + 0.5
        place = float(rng.choice([-1.0, 1.0])) * (half_a - arm)
        lower = 0.0 if pitched else 0.6
        wings.append(Wing(place, -half_b - out + reach, arm, reach, False, False, pitch, eave - lower))
    boxes = []
    for _ in range(0 if pitched else int(rng.integers(3, 10))):
        spot = frame.at(rng.uniform(-0.85, 0.85) * half_a, rng.uniform(-0.8, 0.8) * half_b)
        gray = rng.uniform(0.3, 0.65)
        boxes.append(Box(spot, rng.uniform(0.6, 1.5), rng.uniform(0.5, 1.1), 1.2, (gray, gray, gray)))
    flat = str(rng.choice(["membrane", "gravel", "tar"], p=[0.5, 0.3, 0.2]))
    return builder.add(rng, frame, wings, builder.material(rng) if pitched else flat, boxes=boxes)


def _bays(rng: np.random.Generator, builder: Builder, frame: Frame, half: float) -> None:
    """A row of parking bays, some taken."""
    count = int(2 * half / BAY)
    crowd = rng.uniform(0.15, 0.65)
    for index in range(count + 1):
        a = -half + index * BAY
        builder.plan.boxes.append(Box(frame.at(a, 0), 0.06, 2.5, 0.0, LINE))
        if index < count and chance(rng, crowd):
            turn = math.pi / 2 * (1 if chance(rng, 0.5) else -1) + rng.normal(0, 0.03)
            builder.plan.cars.append(some_car(rng, frame.at(a + BAY / 2, rng.normal(0, 0.25), turn)))
