"""Putting buildings and cars into a plan, where there is room."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import shapely
from shapely.affinity import affine_transform

from synthetic.neighborhood.plan import Box, Building, Car, Color, Frame, Plan, Wing
from synthetic.neighborhood.streets import Town

__all__ = ["Builder", "some_car"]

SNAP = 1 / 256
"""Corners of footprints lie on this grid of canvas pixels, so that they are exact in any file."""
CAR_COLORS: tuple[Color, ...] = (
    (0.75, 0.76, 0.76), (0.80, 0.80, 0.78), (0.75, 0.75, 0.72), (0.03, 0.03, 0.035), (0.04, 0.04, 0.04),
    (0.10, 0.11, 0.12), (0.35, 0.36, 0.37), (0.45, 0.46, 0.47), (0.22, 0.03, 0.03), (0.04, 0.07, 0.16),
    (0.26, 0.24, 0.20), (0.06, 0.09, 0.08),
)  # fmt: skip
"""As they stand on the road: mostly white, black and gray."""


def some_car(rng: np.random.Generator, frame: Frame) -> Car:
    """A car of any make."""
    return Car(frame, rng.uniform(4.2, 5.3), CAR_COLORS[int(rng.integers(len(CAR_COLORS)))])


class Builder:
    """Places buildings where nothing stands yet.

    Attributes:
        town: what is laid out and built so far.
        resolution: meters per canvas pixel, the unit of footprints.
    """

    def __init__(self, town: Town, resolution: float, palette: dict[str, float]) -> None:
        self.town = town
        self.resolution = resolution
        self._materials = list(palette)
        shares = np.array(list(palette.values()))
        self._shares = shares / shares.sum()

    @property
    def plan(self) -> Plan:
        """The plan that is being filled."""
        return self.town.plan

    def material(self, rng: np.random.Generator) -> str:
        """Draw a roof."""
        return str(rng.choice(self._materials, p=self._shares))

    def outline(self, frame: Frame, wings: Sequence[Wing]) -> shapely.Polygon | None:
        """The union of wings in canvas pixels, on the snapping grid; None if it is not one polygon."""
        boxes = [shapely.box(w.a - w.half_a, w.b - w.half_b, w.a + w.half_a, w.b + w.half_b) for w in wings]
        union = shapely.union_all(boxes).simplify(0)
        c, s = math.cos(frame.angle) / self.resolution, math.sin(frame.angle) / self.resolution
        placed = affine_transform(union, [c, -s, s, c, frame.x / self.resolution, frame.y / self.resolution])
        snapped = shapely.transform(placed, lambda xy: np.round(xy / SNAP) * SNAP)
        return snapped if isinstance(snapped, shapely.Polygon) and snapped.is_valid else None

    def fits(self, outline: shapely.Polygon, gap: float = 1.0, kerb: float = 2.0) -> bool:
        """Whether a building may stand here.

        It must be clear of others by ``gap`` and of streets and water by ``kerb`` meters. A negative gap
        allows buildings that touch, and none that overlap.
        """
        ring = shapely.get_coordinates(outline) * self.resolution
        if bool((self.town.clearance(ring[:, 0], ring[:, 1]) < kerb).any()):
            return False
        others = [building.outline for building in self.plan.buildings]
        if gap < 0:
            return not any(bool(outline.intersection(other).area > 0) for other in others)
        return not others or not bool(shapely.dwithin(outline, others, gap / self.resolution).any())

    def add(
        self,
        rng: np.random.Generator,
        frame: Frame,
        wings: Sequence[Wing],
        material: str,
        *,
        boxes: Sequence[Box] = (),
        gap: float = 1.0,
    ) -> bool:
        """Build, if it fits."""
        seed = int(rng.integers(2**31))
        outline = self.outline(frame, wings)
        if outline is None or not self.fits(outline, gap):
            return False
        self.plan.buildings.append(Building(outline, frame, tuple(wings), material, seed, tuple(boxes)))
        return True
