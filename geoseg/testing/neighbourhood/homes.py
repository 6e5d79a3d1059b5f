"""Houses and what belongs to them: garages, drives, sheds, pools, fences, cars."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import shapely
from shapely.affinity import affine_transform

from geoseg.testing.neighbourhood.plan import Box, Building, Car, Frame, Lot, Pool, Slab, Wing, chance
from geoseg.testing.neighbourhood.streets import Town

__all__ = ["CAR_COLORS", "Builder", "build_home"]

SNAP = 1 / 256
"""Corners of footprints lie on this grid of canvas pixels, so that they are exact in any file."""
CAR_COLORS: tuple[tuple[float, float, float], ...] = (
    (0.75, 0.76, 0.76), (0.80, 0.80, 0.78), (0.03, 0.03, 0.035), (0.10, 0.11, 0.12), (0.35, 0.36, 0.37),
    (0.28, 0.02, 0.02), (0.03, 0.07, 0.20), (0.22, 0.20, 0.16), (0.05, 0.10, 0.07),
)  # fmt: skip
FENCE = (0.20, 0.15, 0.10)


class Builder:
    """Places buildings where nothing stands yet.

    Attributes:
        town: what is built so far, in ``town.plan``.
        materials: names and probabilities of roofs.
    """

    def __init__(self, town: Town, resolution: float, palette: dict[str, float]) -> None:
        self.town = town
        self.resolution = resolution
        self.materials = list(palette)
        shares = np.array(list(palette.values()))
        self.shares = shares / shares.sum()

    def material(self, rng: np.random.Generator) -> str:
        """Draw a roof."""
        return str(rng.choice(self.materials, p=self.shares))

    def outline(self, frame: Frame, wings: Sequence[Wing]) -> shapely.Polygon:
        """The union of wings in canvas pixels, its corners on the snapping grid."""
        boxes = [shapely.box(w.a - w.half_a, w.b - w.half_b, w.a + w.half_a, w.b + w.half_b) for w in wings]
        union = shapely.union_all(boxes).simplify(0)
        c, s = math.cos(frame.angle) / self.resolution, math.sin(frame.angle) / self.resolution
        placed = affine_transform(union, [c, -s, s, c, frame.x / self.resolution, frame.y / self.resolution])
        return shapely.transform(placed, lambda xy: np.round(xy / SNAP) * SNAP)

    def fits(self, outline: shapely.Polygon, gap: float = 1.0, kerb: float = 2.0) -> bool:
        """Whether a building may stand here: whole, clear of others (metres), of streets and of water."""
        if not (isinstance(outline, shapely.Polygon) and outline.is_valid):
            return False
        ring = shapely.get_coordinates(outline) * self.resolution
        if bool((self.town.clearance(ring[:, 0], ring[:, 1]) < kerb).any()):
            return False
        others = [building.outline for building in self.town.plan.buildings]
        return not bool(shapely.dwithin(outline, others, gap / self.resolution).any()) if others else True

    def add(
        self,
        rng: np.random.Generator,
        frame: Frame,
        wings: Sequence[Wing],
        material: str,
        boxes: Sequence[Box] = (),
        gap: float = 1.0,
    ) -> bool:
        """Build, if it fits."""
        outline = self.outline(frame, wings)
        if not self.fits(outline, gap):
            return False
        seed = int(rng.integers(2**31))
        self.town.plan.buildings.append(Building(outline, frame, tuple(wings), material, seed, tuple(boxes)))
        return True


def _wings(rng: np.random.Generator, room: float) -> list[Wing]:
    """The roof of a house at most ``room`` wide: a rectangle, an L, a T or a U, its front at b = 0."""
    half_a = min(room, rng.uniform(10, 19)) / 2
    half_b = rng.uniform(3.6, 5.6)
    pitch, eave, hip = rng.uniform(0.25, 0.6), rng.uniform(2.7, 3.2), chance(rng, 0.45)
    if chance(rng, 0.15):
        eave += 2.8
    wings = [Wing(0, half_b, half_a, half_b, True, hip, pitch, eave)]
    if half_a < 4.2:  # noqa: PLR2004 (metres: a narrow house turns its gable to the street)
        half_b = rng.uniform(5.5, 8)
        return [Wing(0, half_b, half_a, half_b, False, hip, pitch, eave)]
    shape = str(rng.choice(["I", "L", "T", "U", "Z"], p=[0.28, 0.34, 0.14, 0.10, 0.14]))
    side = 1 if chance(rng, 0.5) else -1
    arm = min(rng.uniform(2.6, 3.6), half_a * 0.45)
    out = rng.uniform(1.8, 4.5)
    inner = (
        2 * half_b if hip else half_b
    )  # a hipped wing slopes on its inner end too: hide that under the main roof
    front, back = (-out, inner), (2 * half_b - inner, 2 * half_b + out)
    spans = {
        "I": [],
        "L": [(side, front)],
        "T": [(0, back)],
        "U": [(1, back), (-1, back)],
        "Z": [(side, front), (-side, back)],
    }
    for where, (low, high) in spans[shape]:
        wings.append(
            Wing(where * (half_a - arm), (low + high) / 2, arm, (high - low) / 2, False, hip, pitch, eave)
        )
    return wings


def _roof_things(rng: np.random.Generator, frame: Frame, wings: Sequence[Wing]) -> list[Box]:
    main = wings[0]
    boxes = []
    for _ in range(int(rng.integers(1, 5))):
        place = frame.at(
            main.a + main.half_a * rng.uniform(-0.8, 0.8), main.b + main.half_b * rng.uniform(-0.7, 0.7)
        )
        tone = float(rng.choice([0.04, 0.35, 0.6]))
        boxes.append(Box(place, 0.17, 0.17, 0.45, (tone, tone, tone)))
    if chance(rng, 0.3):
        place = frame.at(
            main.a + main.half_a * rng.uniform(-0.8, 0.8), main.b + main.half_b * rng.uniform(-0.3, 0.3)
        )
        boxes.append(Box(place, 0.45, 0.35, 1.2, (0.22, 0.12, 0.09)))
    if chance(rng, 0.08):
        for index in range(int(rng.integers(2, 6))):
            place = frame.at(main.a - main.half_a * 0.6 + 1.1 * index, main.b + main.half_b * 0.45)
            boxes.append(Box(place, 0.5, 0.85, 0.06, (0.012, 0.016, 0.035)))
    return boxes


def _car(rng: np.random.Generator, frame: Frame) -> Car:
    index = int(rng.integers(len(CAR_COLORS)))
    return Car(frame, rng.uniform(4.2, 5.3), CAR_COLORS[index])


def build_home(rng: np.random.Generator, builder: Builder, lot: Lot) -> None:
    """Build one lot: the house facing the street, and its garden."""
    plan = builder.town.plan
    side = 1 if chance(rng, 0.5) else -1
    drive = rng.uniform(2.7, 3.3) if chance(rng, 0.65) else rng.uniform(4.8, 6.0)
    room = lot.width - 2.4 - (drive if chance(rng, 0.5) else 0.4)
    if room < 6 or lot.depth < 16:  # noqa: PLR2004 (metres: too small to build on)
        return
    shift = -side * (lot.width - room - 2.2) / 2
    setback = rng.uniform(4, 9)
    turn = rng.normal(0, 0.025) if chance(rng, 0.8) else rng.normal(0, 0.15)
    house = lot.frame.at(shift, setback, turn)
    wings = _wings(rng, room)
    material = builder.material(rng)
    built = builder.add(rng, house, wings, material, _roof_things(rng, house, wings))
    _drive(rng, builder, lot, side, drive, setback)
    if not built:
        return
    if chance(rng, 0.5):
        at = lot.frame.at(shift + rng.uniform(-1, 1), (setback - lot.kerb) / 2, math.pi / 2)
        plan.slabs.append(Slab(at, (setback + lot.kerb) / 2 - 0.2, 0.55, rng.uniform(0.25, 0.42)))
    _yard(rng, builder, lot, wings[0].half_b * 2 + setback, material)
    _fences(rng, builder, lot, setback + rng.uniform(3, 8))


def _drive(
    rng: np.random.Generator, builder: Builder, lot: Lot, side: int, width: float, setback: float
) -> None:
    """The drive, a garage at its end on some lots, and cars."""
    plan = builder.town.plan
    a = side * (lot.width / 2 - width / 2 - 0.6)
    end = setback + rng.uniform(0, 3)
    if chance(rng, 0.4):
        deep = rng.uniform(3, 4)
        back = min(setback + rng.uniform(9, 16), lot.depth - 2 * deep - 1)
        half = rng.uniform(1.9, 3.2)
        garage = lot.frame.at(side * (lot.width / 2 - half - 0.8), back)
        wing = Wing(0, deep, half, deep, chance(rng, 0.3), chance(rng, 0.3), rng.uniform(0.2, 0.5), 2.5)
        if builder.add(rng, garage, [wing], builder.material(rng), gap=0.6):
            end = back
    middle = (end - lot.kerb) / 2
    length = (end + lot.kerb) / 2
    soil = chance(rng, 0.15)
    tone = rng.uniform(0.2, 0.3) if soil else rng.uniform(0.24, 0.48)
    tint = (1.0, 0.84, 0.62) if soil else (1.0, 0.98, 0.93)
    plan.slabs.append(Slab(lot.frame.at(a, middle, math.pi / 2), length, width / 2, tone, tint, soil))
    places = [rng.uniform(1, max(1.5, end - 2.5))] if chance(rng, 0.6) else []
    for b in places:
        turn = math.pi / 2 * (1 if chance(rng, 0.5) else -1) + rng.normal(0, 0.05)
        plan.cars.append(_car(rng, lot.frame.at(a + rng.normal(0, 0.2), b, turn)))


def _yard(rng: np.random.Generator, builder: Builder, lot: Lot, back: float, material: str) -> None:
    """What stands behind the house."""
    plan = builder.town.plan
    free = lot.depth - back
    if free < 5:  # noqa: PLR2004 (metres: no yard)
        return
    half = lot.width / 2
    if chance(rng, 0.45):
        shed = lot.frame.at(
            rng.uniform(-half + 2.5, half - 2.5), lot.depth - rng.uniform(2.2, 5), rng.normal(0, 0.1)
        )
        size = rng.uniform(1.2, 2.6), rng.uniform(1.2, 2.0)
        wing = Wing(0, 0, *size, True, False, rng.uniform(0.1, 0.4), rng.uniform(2.0, 2.4))
        kind = material if chance(rng, 0.3) else builder.material(rng)
        builder.add(rng, shed, [wing], kind, gap=0.4)
    if chance(rng, 0.55):
        place = lot.frame.at(rng.uniform(-half / 2, half / 2), back + rng.uniform(0.5, 2.0))
        plan.slabs.append(Slab(place, rng.uniform(1.5, 3.5), rng.uniform(1.2, 2.2), rng.uniform(0.2, 0.4)))
    if chance(rng, 0.1) and free > 12:  # noqa: PLR2004 (metres)
        pool = lot.frame.at(rng.uniform(-half / 3, half / 3), back + free * 0.5, rng.normal(0, 0.1))
        sizes = rng.uniform(3.2, 5.2), rng.uniform(1.8, 2.8)
        ring = shapely.Point(pool.x, pool.y).buffer(7)
        if not any(
            b.outline.intersects(shapely.transform(ring, lambda xy: xy / builder.resolution))
            for b in plan.buildings[-3:]
        ):
            plan.pools.append(Pool(pool, *sizes))
    for _ in range(int(rng.poisson(2.5))):
        place = lot.frame.at(rng.uniform(-half, half), rng.uniform(back, lot.depth), rng.uniform(0, 3))
        color = rng.uniform(0.03, 0.7) * (1 + rng.normal(0, 0.15, 3))
        red, green, blue = (float(c) for c in np.clip(color, 0.02, 0.85))
        plan.boxes.append(
            Box(
                place, rng.uniform(0.2, 1.1), rng.uniform(0.2, 0.7), rng.uniform(0.1, 1.2), (red, green, blue)
            )
        )


def _fences(rng: np.random.Generator, builder: Builder, lot: Lot, start: float) -> None:
    boxes = builder.town.plan.boxes
    tone = rng.uniform(0.7, 1.5)
    color = (FENCE[0] * tone, FENCE[1] * tone, FENCE[2] * tone)
    half, long = lot.width / 2, (lot.depth - start) / 2
    for sign in (-1, 1):
        if chance(rng, 0.4):
            boxes.append(Box(lot.frame.at(sign * half, start + long), 0.07, long, 1.7, color))
    if chance(rng, 0.5):
        boxes.append(Box(lot.frame.at(0, lot.depth), half, 0.07, 1.7, color))
