"""A neighborhood that never was, seen from the air: a scene whose truth is known exactly.

Streets bend, lots are cut along them, houses face the street under hipped and gabled roofs, trees hang over
eaves, and one sun lights it all. Nothing is drawn from imagery: everything comes from a seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from synthetic.neighborhood.branches import grow_branches
from synthetic.neighborhood.builder import Builder
from synthetic.neighborhood.canvas import Canvas, Fields
from synthetic.neighborhood.civic import build_civic, build_row
from synthetic.neighborhood.classes import LANDCOVER_CLASSES, LandcoverClass
from synthetic.neighborhood.crowns import paint_crowns
from synthetic.neighborhood.furniture import furnish_streets
from synthetic.neighborhood.greenery import plant
from synthetic.neighborhood.ground import paint_ground, paint_slabs, paint_streets
from synthetic.neighborhood.homes import build_home
from synthetic.neighborhood.light import shadow_of_a_meter, shine
from synthetic.neighborhood.roofs import paint_boxes, paint_buildings, paint_cars
from synthetic.neighborhood.sensor import expose
from synthetic.neighborhood.streets import Town, plan_town
from synthetic.neighborhood.style import ROOF_PALETTES, Style, random_style

__all__ = ["LANDCOVER_CLASSES", "LandcoverClass", "Neighborhood", "Style", "generate", "random_style"]

MARGIN = 20.0
"""Meters painted around the scene, so that what stands outside shades and hangs in."""
BARK = np.array((0.200, 0.180, 0.165), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Neighborhood:
    """An image and its exact truth."""

    image: npt.NDArray[np.uint8]
    """Red, green, blue: uint8 (3, H, W)."""
    buildings: list[shapely.Polygon]
    """Roof outlines in pixel coordinates: x right, y down; pixel (0, 0) covers [0, 1) × [0, 1). Complete
    below trees, cut at the scene's edge; valid, disjoint or touching along walls."""
    landcover: npt.NDArray[np.uint8]
    """Ids of `LANDCOVER_CLASSES`: uint8 (H, W), the topmost surface at each pixel's center."""
    resolution: float
    """Meters per pixel."""
    seed: int
    style: Style


def _plan(
    seeds: list[np.random.SeedSequence], shape: tuple[int, int], resolution: float, style: Style
) -> Town:
    """Plan all that stands on a canvas of ``shape`` pixels."""
    height, width = shape[0] * resolution, shape[1] * resolution
    streets, houses, trees, furniture = (np.random.default_rng(seed) for seed in seeds)
    town = plan_town(streets, width, height, style.lot_width, style.terraces)
    builder = Builder(town, resolution, ROOF_PALETTES[style.palette])
    for lot in town.plan.lots:
        rng = houses.spawn(1)[0]
        low, high = lot.corners.min(axis=0), lot.corners.max(axis=0)
        if high[0] < 0 or high[1] < 0 or low[0] > width or low[1] > height:
            continue
        if lot.kind == "home":
            build_home(rng, builder, lot)
        elif lot.kind == "row":
            build_row(rng, builder, lot, style.alley)
        elif lot.kind == "civic":
            build_civic(rng, builder, lot)
    reach = math.hypot(width, height) / 2
    plant(trees, builder, style, reach)
    furnish_streets(furniture, town, reach)
    return town


def generate(
    size: tuple[int, int] = (1024, 1024),
    resolution: float = 0.3,
    seed: int = 0,
    style: Style | None = None,
) -> Neighborhood:
    """Make a neighborhood.

    Args:
        size: height and width in pixels, each at least 1.
        resolution: meters per pixel, 0.05 to 2.
        seed: decides everything that ``style`` leaves open; any non-negative integer. The same arguments give
            the same plan, and the same pixels wherever floating point rounds alike.
        style: season, light, palette and sensor; the default resembles Austin in winter.

    Returns:
        Image, footprints and land cover on one grid.

    Raises:
        ValueError: a size or resolution outside these bounds.
    """
    if min(size) < 1 or not 0.05 <= resolution <= 2:  # noqa: PLR2004 (stated above)
        raise ValueError(
            f"a neighborhood needs at least 1×1 pixel of 0.05 to 2 m, got {size} of {resolution} m"
        )
    look = Style() if style is None else style
    seeds = np.random.SeedSequence(seed).spawn(8)
    margin = math.ceil(MARGIN / resolution)
    shape = (size[0] + 2 * margin, size[1] + 2 * margin)
    factor = 3 if resolution < 0.45 else 5  # noqa: PLR2004 (cells of at most 15 cm, up to three quarters of a meter)
    town = _plan(seeds[:4], shape, resolution, look)
    painting, crowns, twigs, noise = (np.random.default_rng(seed) for seed in seeds[4:])
    canvas = Canvas(shape, resolution, factor)
    fields = Fields.draw(painting, shape, resolution)
    paint_ground(canvas, town, fields, look)
    paint_slabs(canvas, town.plan.slabs, town.plan.pools, fields)
    paint_streets(canvas, town, fields)
    paint_boxes(canvas, town.plan.boxes, fields)
    paint_buildings(canvas, town.plan.buildings, fields)
    paint_cars(canvas, town.plan.cars)
    paint_crowns(crowns, canvas, town.plan.trees, fields)
    branches = grow_branches(twigs, canvas, town.plan.trees, fields, shadow=shadow_of_a_meter(look))
    light = shine(canvas, look, branches.shade)
    lit = np.float32(look.ambient) + (1 - np.float32(look.ambient)) * (1 - 0.5 * branches.shade)
    light += (BARK * lit[..., None] - light) * branches.cover[..., None]
    inner = slice(margin, margin + size[0]), slice(margin, margin + size[1])
    image = expose(noise, light[inner], look)
    landcover = np.ascontiguousarray(canvas.centers(canvas.kind)[inner])
    return Neighborhood(image, _cut(town, size, margin), landcover, resolution, seed, look)


def _cut(town: Town, size: tuple[int, int], margin: int) -> list[shapely.Polygon]:
    """Footprints in the scene's pixels, cut at its edge."""
    frame = shapely.box(0, 0, size[1], size[0])
    outlines: list[shapely.Polygon] = []
    for building in town.plan.buildings:
        moved = shapely.transform(building.outline, lambda xy: xy - margin)
        shown = moved if frame.contains(moved) else shapely.intersection(moved, frame, grid_size=1 / 1024)
        parts = shapely.get_parts(shown)
        outlines += [part for part in parts if isinstance(part, shapely.Polygon) and part.area > 0]
    return outlines
