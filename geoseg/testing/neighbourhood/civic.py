"""Larger places: terraces of houses, shops and schools with their parking."""

from __future__ import annotations

import math

import numpy as np

from geoseg.testing.neighbourhood.homes import CAR_COLORS, Builder
from geoseg.testing.neighbourhood.plan import Box, Car, Frame, Lot, Slab, Wing, chance

__all__ = ["build_civic", "build_row"]

LINE = (0.62, 0.62, 0.60)
BAY = 2.7
"""Width of a parking bay, metres."""


def build_row(rng: np.random.Generator, builder: Builder, lot: Lot) -> None:
    """Build a terrace: units that share whole walls, so that their footprints touch."""
    units = int(rng.integers(3, 6))
    width = (lot.width - 4) / units
    half_b = rng.uniform(4.5, 6)
    setback = rng.uniform(5, 8)
    flat, hip, pitch = chance(rng, 0.3), False, rng.uniform(0.3, 0.5)
    base = builder.material(rng)
    edges = np.linspace(-units * width / 2, units * width / 2, units + 1)
    for index in range(units):
        low, high = float(edges[index]), float(edges[index + 1])
        eave = 5.4 + (0.5 if index % 2 else 0.0) + rng.uniform(-0.1, 0.1)
        wing = Wing(
            (low + high) / 2, half_b, (high - low) / 2, half_b, True, hip, 0.0 if flat else pitch, eave
        )
        kind = base if chance(rng, 0.6) else builder.material(rng)
        vent = lot.frame.at((low + high) / 2, setback + half_b * 1.5)
        builder.add(
            rng, lot.frame.at(0, setback), [wing], kind, [Box(vent, 0.3, 0.3, 0.6, (0.4, 0.4, 0.4))],
            gap=-1.0 if index else 1.0,
        )  # fmt: skip
        drive = lot.frame.at((low + high) / 2 - 0.8, (setback - lot.kerb) / 2, math.pi / 2)
        builder.town.plan.slabs.append(Slab(drive, (setback + lot.kerb) / 2, 1.4, 0.36))
        if chance(rng, 0.5):
            color = CAR_COLORS[int(rng.integers(len(CAR_COLORS)))]
            car = lot.frame.at((low + high) / 2 - 0.8, rng.uniform(0.5, 2), math.pi / 2)
            builder.town.plan.cars.append(Car(car, 4.6, color))


def build_civic(rng: np.random.Generator, builder: Builder, lot: Lot) -> None:
    """Build a shop, hall or school: a large roof, its parking with stripes and cars."""
    plan = builder.town.plan
    tone = rng.uniform(0.12, 0.2) if chance(rng, 0.4) else rng.uniform(0.34, 0.5)
    half_a = min(lot.width / 2 - 9, rng.uniform(16, 30))
    half_b = min(lot.depth / 2 - 13, rng.uniform(9, 15))
    if half_a < 8 or half_b < 6:  # noqa: PLR2004 (metres: no room)
        return
    b = lot.depth - half_b - rng.uniform(6, 10)
    frame = lot.frame.at(rng.uniform(-2, 2), b)
    pitched = chance(rng, 0.35)
    pitch, eave = (rng.uniform(0.2, 0.35), 3.6) if pitched else (0.0, rng.uniform(4.5, 7.5))
    wings = [Wing(0, 0, half_a, half_b, True, chance(rng, 0.5), pitch, eave)]
    if chance(rng, 0.7):
        arm = rng.uniform(5.5, 8)
        out = rng.uniform(6, 11)
        place = rng.choice([-1.0, 1.0]) * (half_a - arm)
        reach = (half_b + out) / 2 if pitched else out / 2 + 0.5
        wings.append(
            Wing(
                float(place),
                -half_b - out + reach,
                arm,
                reach,
                False,
                False,
                pitch,
                eave - 0.6 * (not pitched),
            )
        )
    material = builder.material(rng) if pitched else str(rng.choice(["membrane", "gravel", "membrane"]))
    boxes = []
    if not pitched:
        for _ in range(int(rng.integers(3, 9))):
            place_on = frame.at(rng.uniform(-0.85, 0.85) * half_a, rng.uniform(-0.8, 0.8) * half_b)
            gray = rng.uniform(0.3, 0.65)
            boxes.append(Box(place_on, rng.uniform(0.6, 1.5), rng.uniform(0.5, 1.1), 1.2, (gray, gray, gray)))
    half_w, half_d = lot.width / 2 - 2.5, lot.depth / 2 - 2.5
    plan.slabs.append(Slab(lot.frame.at(0, lot.depth / 2), half_w, half_d, tone))
    for a in (-half_w * 0.55, half_w * 0.55):
        plan.slabs.append(
            Slab(lot.frame.at(a, -lot.kerb / 2 + 1.2, math.pi / 2), lot.kerb / 2 + 2, 3.2, tone)
        )
    if not builder.add(rng, frame, wings, material, boxes):
        return
    front = b - half_b - 12
    for row in (2.6 + 2.6, min(front, 22.0)):
        if row > front + 3 or (row > 6 and front < 16):  # noqa: PLR2004 (metres)
            continue
        _bays(rng, builder, lot.frame.at(0, row), half_w - 8)


def _bays(rng: np.random.Generator, builder: Builder, frame: Frame, half: float) -> None:
    count = int(2 * half / BAY)
    crowd = rng.uniform(0.2, 0.7)
    for index in range(count + 1):
        a = -half + index * BAY
        builder.town.plan.boxes.append(Box(frame.at(a, 0), 0.07, 2.5, 0.0, LINE))
        if index < count and chance(rng, crowd):
            turn = math.pi / 2 * (1 if chance(rng, 0.5) else -1) + rng.normal(0, 0.03)
            color = CAR_COLORS[int(rng.integers(len(CAR_COLORS)))]
            car = Car(frame.at(a + BAY / 2, rng.normal(0, 0.25), turn), rng.uniform(4.3, 5.4), color)
            builder.town.plan.cars.append(car)
