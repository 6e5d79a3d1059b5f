"""What stands and lies on the streets: poles, cars, patches, manholes."""

from __future__ import annotations

import math

import numpy as np

from synthetic.neighborhood.builder import some_car
from synthetic.neighborhood.plan import Box, Frame, Street, chance
from synthetic.neighborhood.streets import Town

__all__ = ["furnish_streets"]

APART = 6.0
"""Cars on the street keep this distance from any other, meters between their middles."""


def furnish_streets(rng: np.random.Generator, town: Town, reach: float) -> None:
    """Set utility poles along the long streets, cars on and patches in all of them.

    Args:
        rng: the source of chance.
        town: its plan receives the things.
        reach: meters from the middle within which they are wanted.
    """
    for street in town.plan.streets:
        low, high = max(street.start, -reach), min(street.stop, reach)
        if low >= high:
            continue
        if street.along_v:
            _poles(rng, town, street, reach)
        for _ in range(int(rng.poisson((high - low) / 40))):
            side = 1 if chance(rng, 0.5) else -1
            across = side * (street.half - 1.2 if chance(rng, 0.7) else street.half * 0.45)
            car = some_car(rng, _spot(town, street, across, rng.uniform(low, high)))
            others = (math.dist((car.frame.x, car.frame.y), (c.frame.x, c.frame.y)) for c in town.plan.cars)
            if min(others, default=APART) >= APART:
                town.plan.cars.append(car)
        for _ in range(int(rng.poisson((high - low) / 30))):
            spot = _spot(town, street, rng.uniform(-0.7, 0.7) * street.half, rng.uniform(low, high))
            tone = street.tone * rng.uniform(0.55, 1.25)
            half = rng.uniform(0.3, 4.5), rng.uniform(0.3, 1.4)
            town.plan.boxes.append(Box(spot, *half, 0.0, (tone, tone, 0.97 * tone)))


def _spot(town: Town, street: Street, across: float, along: float) -> Frame:
    """A frame on a street, its ``a`` along it."""

    def place(shift: float) -> tuple[float, float]:
        if street.along_v:
            return town.warp.place(street.at + across, along + shift)
        return town.warp.place(along + shift, street.at + across)

    (x, y), (ahead_x, ahead_y) = place(0.0), place(1.0)
    return Frame(x, y, math.atan2(ahead_y - y, ahead_x - x))


def _poles(rng: np.random.Generator, town: Town, street: Street, reach: float) -> None:
    v = -reach + rng.uniform(0, 40)
    while v < reach:
        x, y = town.warp.place(street.at + street.half + 1.2, v)
        town.plan.boxes.append(Box(Frame(x, y, 0.0), 0.16, 0.16, rng.uniform(8, 11), (0.2, 0.17, 0.14)))
        v += rng.uniform(32, 46)
