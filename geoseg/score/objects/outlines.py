"""Boundaries of many polygons as flat arrays, and where they are nearest to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.compiled import compiled

__all__ = ["Outlines"]


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """The edges of N polygons, ring after ring; edges without length are left out.

    Laws: the edges of polygon ``i`` are ``first[i]`` to ``first[i + 1]``; its vertices are their starts.
    """

    start: NDArray[np.float64]
    """Where each edge starts, shape (E, 2): x, y."""
    way: NDArray[np.float64]
    """From there to its end, shape (E, 2)."""
    ring: NDArray[np.int64]
    """Which ring each belongs to, ascending, shape (E,)."""
    first: NDArray[np.int64]
    """Where each polygon's edges start, and E, shape (N + 1,)."""

    @classmethod
    def of(cls, polygons: NDArray[np.object_]) -> Self:
        """The outlines of polygons.

        Args:
            polygons: Polygons and MultiPolygons, valid or not, shape (N,); None and empty ones have no edges.
        """
        parts, owner = shapely.get_parts(polygons, return_index=True)
        rings, part = shapely.get_rings(parts, return_index=True)
        ends, ring = shapely.get_coordinates(rings, return_index=True)
        way = np.diff(ends, axis=0)
        kept = (ring[1:] == ring[:-1]) & way.any(axis=1)
        ring = ring[:-1][kept]
        first = np.searchsorted(owner[part][ring], np.arange(len(polygons) + 1))
        return cls(ends[:-1][kept], way[kept], ring.astype(np.int64), first.astype(np.int64))

    @property
    def vertices(self) -> NDArray[np.int64]:
        """Vertices of each polygon, without the repeated closing ones: int64, shape (N,)."""
        return np.diff(self.first)

    @property
    def polygon(self) -> NDArray[np.int64]:
        """Which polygon each edge belongs to, shape (E,)."""
        return np.repeat(np.arange(len(self.first) - 1), self.vertices)

    def turns(self) -> NDArray[np.float64]:
        """Change of direction at each edge's end, in degrees, 0 to 180, shape (E,)."""
        following = np.arange(1, len(self.ring) + 1)
        _, begins, counts = np.unique(self.ring, return_index=True, return_counts=True)
        following[begins + counts - 1] = begins
        here, there = self.way, self.way[following]
        cross = here[:, 0] * there[:, 1] - here[:, 1] * there[:, 0]
        found: NDArray[np.float64] = np.degrees(np.abs(np.arctan2(cross, (here * there).sum(axis=1))))
        return found

    def sampled(self, step: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Points along every ring, evenly spaced and no further apart than a step.

        Args:
            step: in the polygons' unit, above 0.

        Returns:
            The points, shape (P, 2), in the order of the edges; the edge that each lies on, shape (P,).
        """
        _, begins = np.unique(self.ring, return_index=True)
        ends = np.append(begins, len(self.ring)).astype(np.int64)
        return _sampled(self.start, self.way, np.hypot(self.way[:, 0], self.way[:, 1]), ends, step)

    def firsts(self, edge: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where each polygon's points start among points in the order of the edges, and their number.

        Args:
            edge: which edge each point lies on, ascending.
        """
        return np.searchsorted(edge, self.first).astype(np.int64)

    def nearest(
        self, points: NDArray[np.float64], first: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """How far points are from these outlines, each from the polygon of its own number.

        Args:
            points: shape (P, 2).
            first: where the points of each polygon start, and P, shape (N + 1,).

        Returns:
            Distances, float64 (P,), and the nearest edges, int64 (P,); NaN and -1 where a polygon has none.
        """
        distance, edge = _nearest(np.ascontiguousarray(points), first, self.start, self.way, self.first)
        return distance, edge


@compiled
def _sampled(
    start: NDArray[np.float64],
    way: NDArray[np.float64],
    length: NDArray[np.float64],
    rings: NDArray[np.int64],
    step: float,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Points of each ring, measured from its own start: the same bits in any company."""
    pieces = np.zeros(len(rings) - 1, np.int64)
    around = np.zeros(len(rings) - 1)
    for ring in range(len(pieces)):
        for edge in range(rings[ring], rings[ring + 1]):
            around[ring] += length[edge]
        # Blind to rounding: a whole number of steps is that number.
        pieces[ring] = max(1, int(np.ceil(around[ring] / step - 1e-9)))
    points, edges = np.empty((pieces.sum(), 2)), np.empty(pieces.sum(), np.int64)
    n = 0
    for ring in range(len(pieces)):
        edge, passed = rings[ring], 0.0
        for piece in range(pieces[ring]):
            place = (piece + 0.5) * around[ring] / pieces[ring]
            while edge + 1 < rings[ring + 1] and passed + length[edge] <= place:
                passed += length[edge]
                edge += 1
            share = min(max((place - passed) / length[edge], 0.0), 1.0)
            points[n, 0] = start[edge, 0] + way[edge, 0] * share
            points[n, 1] = start[edge, 1] + way[edge, 1] * share
            edges[n] = edge
            n += 1
    return points, edges


@compiled
def _nearest(
    points: NDArray[np.float64],
    first: NDArray[np.int64],
    start: NDArray[np.float64],
    way: NDArray[np.float64],
    edges: NDArray[np.int64],
) -> tuple[NDArray[Any], NDArray[Any]]:
    distance = np.full(len(points), np.nan)
    nearest = np.full(len(points), -1, np.int64)
    for polygon in range(len(first) - 1):
        for point in range(first[polygon], first[polygon + 1]):
            best = np.inf
            for edge in range(edges[polygon], edges[polygon + 1]):
                x, y = points[point, 0] - start[edge, 0], points[point, 1] - start[edge, 1]
                along = (x * way[edge, 0] + y * way[edge, 1]) / (way[edge, 0] ** 2 + way[edge, 1] ** 2)
                along = min(1.0, max(0.0, along))
                off = (x - along * way[edge, 0]) ** 2 + (y - along * way[edge, 1]) ** 2
                if off < best:
                    best = off
                    distance[point] = np.sqrt(off)
                    nearest[point] = edge
    return distance, nearest
