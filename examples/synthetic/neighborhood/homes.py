"""Houses: their roofs, drives and garages, set on lots."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from synthetic.neighborhood.builder import Builder, some_car
from synthetic.neighborhood.gardens import lay_garden
from synthetic.neighborhood.plan import Box, Frame, Lot, Slab, Tree, Wing, chance

__all__ = ["build_home"]

SMALLEST = (6.0, 16.0)
"""Meters: the least room across, and the least depth of a lot, that a house needs."""
NARROW = 4.2
"""Half the width, in meters, below which a house turns its gable to the street."""


def _wings(rng: np.random.Generator, room: float) -> list[Wing]:
    """The roof of a house at most ``room`` wide: a rectangle, an L, a T, a U or a Z, its front at b = 0."""
    half_a = min(room, rng.uniform(9, 20)) / 2
    half_b = rng.uniform(3.6, 5.6)
    pitch, eave, hip = rng.uniform(0.22, 0.6), rng.uniform(2.7, 3.2), chance(rng, 0.45)
    if chance(rng, 0.15):
        eave += 2.8
    if half_a < NARROW:
        half_b = rng.uniform(5.5, 8)
        return [Wing(0, half_b, half_a, half_b, False, hip, pitch, eave)]
    wings = [Wing(0, half_b, half_a, half_b, True, hip, pitch, eave)]
    shape = str(rng.choice(["I", "L", "T", "U", "Z"], p=[0.28, 0.34, 0.14, 0.10, 0.14]))
    side = 1 if chance(rng, 0.5) else -1
    arm = min(rng.uniform(2.6, 3.6), half_a * 0.45)
    out = rng.uniform(1.8, 4.5)
    inner = (
        2 * half_b if hip else half_b
    )  # a hipped wing slopes on its inner end too: hide that under the main roof
    front, back = (-out, inner), (2 * half_b - inner, 2 * half_b + out)
    spans: dict[str, list[tuple[int, tuple[float, float]]]] = {
        "I": [],
        "L": [(side, front)],
        "T": [(0, back)],
        "U": [(1, back), (-1, back)],
        "Z": [(side, front), (-side, back)],
    }
    for where, (low, high) in spans[shape]:
        middle, half = (low + high) / 2, (high - low) / 2
        wings.append(Wing(where * (half_a - arm), middle, arm, half, False, hip, pitch, eave))
    if chance(rng, 0.2):  # a flat porch or patio roof at the back
        half = rng.uniform(1.6, 3.0)
        place = rng.uniform(-0.4, 0.4) * half_a
        wings.append(Wing(place, 2 * half_b + 1.0, half, 1.6, True, False, 0.03, eave - 0.25))
    return wings


def _roof_things(rng: np.random.Generator, frame: Frame, wings: Sequence[Wing]) -> list[Box]:
    """Vents, a chimney, solar panels."""
    main = wings[0]

    def spot(a: float, b: float) -> Frame:
        return frame.at(main.a + main.half_a * a, main.b + main.half_b * b)

    boxes = []
    for _ in range(int(rng.integers(1, 5))):
        tone = float(rng.choice([0.04, 0.35, 0.6]))
        boxes.append(
            Box(spot(rng.uniform(-0.8, 0.8), rng.uniform(-0.7, 0.7)), 0.17, 0.17, 0.45, (tone, tone, tone))
        )
    if chance(rng, 0.3):
        boxes.append(
            Box(spot(rng.uniform(-0.8, 0.8), rng.uniform(-0.3, 0.3)), 0.45, 0.35, 1.2, (0.22, 0.12, 0.09))
        )
    if chance(rng, 0.07):
        for index in range(int(rng.integers(2, 6))):
            place = frame.at(main.a - main.half_a * 0.6 + 1.1 * index, main.b + main.half_b * 0.45)
            boxes.append(Box(place, 0.5, 0.85, 0.06, (0.012, 0.016, 0.035)))
    return boxes


def build_home(rng: np.random.Generator, builder: Builder, lot: Lot) -> None:
    """Build one lot: the house facing the street, and its garden."""
    side = 1 if chance(rng, 0.5) else -1
    drive = rng.uniform(2.7, 3.3) if chance(rng, 0.65) else rng.uniform(4.8, 6.0)
    room = lot.width - 2.4 - (drive if chance(rng, 0.5) else 0.4)
    if room < SMALLEST[0] or lot.depth < SMALLEST[1]:
        return
    shift = -side * (lot.width - room - 2.2) / 2
    setback = rng.uniform(3.5, 9) + (rng.uniform(3, 8) if chance(rng, 0.12) else 0)
    turn = rng.normal(0, 0.03) if chance(rng, 0.75) else rng.normal(0, 0.2)
    house = lot.frame.at(shift, setback, turn)
    wings = _wings(rng, room)
    material = builder.material(rng)
    built = builder.add(rng, house, wings, material, boxes=_roof_things(rng, house, wings))
    _drive(rng, builder, lot, a=side * (lot.width / 2 - drive / 2 - 0.6), width=drive, setback=setback)
    if not built:
        return
    if chance(rng, 0.5):
        at = lot.frame.at(shift + rng.uniform(-1, 1), (setback - lot.kerb) / 2, math.pi / 2)
        builder.plan.slabs.append(Slab(at, (setback + lot.kerb) / 2 - 0.2, 0.55, rng.uniform(0.25, 0.42)))
    _shrubs(rng, builder, house, wings[0])
    lay_garden(rng, builder, lot, back=wings[0].half_b * 2 + setback, material=material)


def _shrubs(rng: np.random.Generator, builder: Builder, house: Frame, main: Wing) -> None:
    """Bushes along the walls."""
    for _ in range(int(rng.poisson(3))):
        front = chance(rng, 0.7)
        b = -rng.uniform(0.8, 1.6) if front else 2 * main.half_b + rng.uniform(0.8, 1.6)
        x, y = house.world(rng.uniform(-1, 1) * main.half_a, b)
        radius = rng.uniform(0.5, 1.2)
        builder.plan.trees.append(Tree(x, y, radius, radius * 1.4, "oak", rng.uniform(0.8, 1.3)))


def _drive(
    rng: np.random.Generator, builder: Builder, lot: Lot, *, a: float, width: float, setback: float
) -> None:
    """The drive along ``a``, a garage at its end on some lots, and cars."""
    plan = builder.plan
    side = math.copysign(1, a)
    end = setback + rng.uniform(0, 3)
    if chance(rng, 0.4):
        deep, half = rng.uniform(3, 4), rng.uniform(1.9, 3.2)
        back = min(setback + rng.uniform(9, 16), lot.depth - 2 * deep - 1)
        garage = lot.frame.at(side * (lot.width / 2 - half - 0.8), back)
        wing = Wing(0, deep, half, deep, chance(rng, 0.3), chance(rng, 0.3), rng.uniform(0.2, 0.5), 2.5)
        if builder.add(rng, garage, [wing], builder.material(rng), gap=0.6):
            end = back
    soil = chance(rng, 0.2)
    tone = rng.uniform(0.18, 0.28) if soil else rng.uniform(0.24, 0.5)
    tint = (1.0, 0.84, 0.66) if soil else (1.0, 0.98, 0.93)
    middle, half = (end - lot.kerb) / 2, (end + lot.kerb) / 2
    plan.slabs.append(Slab(lot.frame.at(a, middle, math.pi / 2), half, width / 2, tone, tint, soil))
    if chance(rng, 0.6):
        turn = math.pi / 2 * (1 if chance(rng, 0.5) else -1) + rng.normal(0, 0.06)
        b = rng.uniform(1, max(1.5, end - 2.5))
        plan.cars.append(some_car(rng, lot.frame.at(a + rng.normal(0, 0.2), b, turn)))
