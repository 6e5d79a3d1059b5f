"""The raster that is painted on: reflectance, height, slope and class on cells finer than the image's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import shapely
from scipy import ndimage

from geoseg.arrays import Bool, Float32, Float64, UInt8
from synthetic.neighborhood.plan import Frame

__all__ = ["Canvas", "Fields", "Patch", "blur", "inside"]

Pixel = TypeVar("Pixel", bound=np.generic)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Float32:
    """Noise of zero mean and unit deviation that varies over ``scale`` pixels, float32 ``shape``."""
    coarse = (math.ceil(shape[0] / scale) + 4, math.ceil(shape[1] / scale) + 4)
    grid = rng.standard_normal(coarse, dtype=np.float32)
    rows = np.arange(shape[0], dtype=np.float64) / scale + rng.uniform(1, 2)
    columns = np.arange(shape[1], dtype=np.float64) / scale + rng.uniform(1, 2)
    field = _cubic(_cubic(grid, rows).T, columns).T
    return np.ascontiguousarray((field - field.mean()) / field.std())


def _cubic(grid: Float32, at: Float64) -> Float32:
    """Cubic B-spline along the first axis: smooth, and the same bits everywhere."""
    low = np.floor(at).astype(np.intp)
    t = (at - low).astype(np.float32)[:, None]
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    total = np.zeros((len(at), grid.shape[1]), np.float32)
    for step, weight in zip((-1, 0, 1, 2), weights, strict=True):
        total += weight * grid[np.clip(low + step, 0, len(grid) - 1)]
    total /= np.float32(6)
    return total


@dataclass(frozen=True, slots=True)
class Fields:
    """Noise on the image's pixels (canvas size), shared by all painters."""

    grain: Float32
    fine: Float32
    medium: Float32
    coarse: Float32
    broad: Float32

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, int], resolution: float) -> Fields:
        """Draw noise at 0.3, 0.8, 2.5, 8 and 30 meters."""
        scales = [max(1.0, meters / resolution) for meters in (0.35, 0.8, 2.5, 8.0, 30.0)]
        grain = rng.standard_normal(shape, dtype=np.float32)
        return cls(grain, *(smooth_noise(rng, shape, scale) for scale in scales[1:]))


@dataclass(frozen=True, slots=True)
class Patch:
    """A rectangle of cells with local coordinates in meters."""

    rows: slice
    columns: slice
    a: Float32
    b: Float32


class Canvas:
    """Cells of ``resolution / factor`` meters; ``factor`` is odd, so that a pixel's center is a cell's.

    Attributes:
        albedo: float32 (H, W, 3), linear reflectance.
        height: float32 (H, W), meters above ground.
        slope: float32 (2, H, W), rise per meter to the right and down.
        kind: uint8 (H, W), class ids.
    """

    def __init__(self, shape: tuple[int, int], resolution: float, factor: int) -> None:
        self.shape = shape
        self.resolution = resolution
        self.factor = factor
        self.cell = resolution / factor
        fine = (shape[0] * factor, shape[1] * factor)
        self.fine_shape = fine
        self.albedo: Float32 = np.zeros((*fine, 3), np.float32)
        self.height: Float32 = np.zeros(fine, np.float32)
        self.slope: Float32 = np.zeros((2, *fine), np.float32)
        self.kind: UInt8 = np.zeros(fine, np.uint8)

    def axes(self, rows: slice, columns: slice) -> tuple[Float32, Float32]:
        """X (1, w) and y (h, 1) of the cells' centers, meters."""
        x = (np.arange(columns.start, columns.stop, dtype=np.float64) + 0.5) * self.cell
        y = (np.arange(rows.start, rows.stop, dtype=np.float64) + 0.5) * self.cell
        return x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]

    def cells(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice] | None:
        """Rows and columns that cover a box in meters, or None where it misses the canvas."""
        height, width = self.fine_shape
        r0, r1 = max(0, math.floor(top / self.cell)), min(height, math.ceil(bottom / self.cell))
        c0, c1 = max(0, math.floor(left / self.cell)), min(width, math.ceil(right / self.cell))
        return (slice(r0, r1), slice(c0, c1)) if r0 < r1 and c0 < c1 else None

    def pixels(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice] | None:
        """Rows and columns of the pixels that cover a box in pixels, or None where it misses the canvas."""
        r0, r1 = max(0, math.floor(top)), min(self.shape[0], math.ceil(bottom))
        c0, c1 = max(0, math.floor(left)), min(self.shape[1], math.ceil(right))
        return (slice(r0, r1), slice(c0, c1)) if r0 < r1 and c0 < c1 else None

    def patch(self, frame: Frame, half_a: float, half_b: float) -> Patch | None:
        """The cells about a frame's rectangle, with their local coordinates."""
        c, s = math.cos(frame.angle), math.sin(frame.angle)
        reach_x = abs(c) * half_a + abs(s) * half_b
        reach_y = abs(s) * half_a + abs(c) * half_b
        found = self.cells(frame.x - reach_x, frame.y - reach_y, frame.x + reach_x, frame.y + reach_y)
        if found is None:
            return None
        x, y = self.axes(*found)
        dx, dy = x - np.float32(frame.x), y - np.float32(frame.y)
        fc, fs = np.float32(c), np.float32(s)
        return Patch(*found, dx * fc + dy * fs, dy * fc - dx * fs)

    def sample(self, field: Float32, rows: slice, columns: slice) -> Float32:
        """A pixel field at cells."""
        r = np.arange(rows.start, rows.stop) // self.factor
        c = np.arange(columns.start, columns.stop) // self.factor
        sampled: Float32 = field[np.ix_(r, c)]
        return sampled

    def enlarge(self, field: npt.NDArray[Pixel]) -> npt.NDArray[Pixel]:
        """A pixel field on all cells."""
        return np.repeat(np.repeat(field, self.factor, axis=0), self.factor, axis=1)

    def reduce(self, field: Float32) -> Float32:
        """Means of the cells of each pixel; (H, W) or (H, W, 3)."""
        h, w = self.shape
        blocks = field.reshape(h, self.factor, w, self.factor, *field.shape[2:])
        means: Float32 = blocks.mean(axis=(1, 3), dtype=np.float32)
        return means

    def centers(self, field: UInt8) -> UInt8:
        """The cells at the pixels' centers."""
        start = self.factor // 2
        return np.ascontiguousarray(field[start :: self.factor, start :: self.factor])

    def inside(self, outline: shapely.Polygon) -> tuple[slice, slice, Bool] | None:
        """The cells whose centers lie in a polygon in pixels: rows, columns, mask."""
        left, top, right, bottom = (edge * self.resolution for edge in outline.bounds)
        found = self.cells(left, top, right, bottom)
        if found is None:
            return None
        rows, columns = found
        x = (np.arange(columns.start, columns.stop) + 0.5) / self.factor
        y = (np.arange(rows.start, rows.stop) + 0.5) / self.factor
        return rows, columns, inside(outline, x[None, :], y[:, None])


def inside(outline: shapely.Polygon, x: Float64, y: Float64) -> Bool:
    """Even-odd test of places against a polygon's rings; x and y broadcast."""
    mask: Bool = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.bool_)
    for ring in (outline.exterior, *outline.interiors):
        points = shapely.get_coordinates(ring)
        for (x0, y0), (x1, y1) in zip(points[:-1].tolist(), points[1:].tolist(), strict=True):
            if y0 == y1:
                continue
            spans = (y0 > y) != (y1 > y)
            mask ^= spans & (x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))
    return mask


def blur(field: Float32, sigma: float) -> Float32:
    """Gaussian blur, float32."""
    blurred: Float32 = ndimage.gaussian_filter(field, sigma, mode="nearest", output=np.float32)
    return blurred
