"""Streets, blocks and lots: a grid of streets bent by a smooth warp of the plane."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from geoseg.arrays import Array, Float64
from synthetic.neighborhood.plan import Frame, Lot, Plan, Street, chance

__all__ = ["Creek", "Town", "Warp", "plan_town"]

FILLET = 7.0
"""How wide the corner of two kerbs is rounded, meters."""
RIGHT_OF_WAY = 4.2
"""From the kerb to the front of a lot, meters."""
ROUNDS = 30
"""Of the inverse of the warp; each halves the error at least."""
MEET = 30.0
"""Crossings of two rows nearer than this along v become one, meters."""


@dataclass(frozen=True, slots=True)
class Warp:
    """A smooth one-to-one map between meters (x, y) and the straightened plan (u, v)."""

    x: float
    y: float
    angle: float
    waves: tuple[tuple[float, float, float, float], ...]
    """Amplitude, two wave numbers and phase; even ones bend u, odd ones v."""

    def _bend(self, p: Array, q: Array, parity: int) -> Array:
        near, far = (q, p) if parity == 0 else (p, q)
        waves = [
            a * np.sin(along * near + across * far + phase)
            for a, along, across, phase in self.waves[parity::2]
        ]
        bend: Array = sum(waves[1:], waves[0])
        return bend

    def forward(self, x: Array, y: Array) -> tuple[Array, Array]:
        """(u, v) of places; broadcasts, keeps the dtype."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        p = (x - self.x) * c + (y - self.y) * s
        q = (y - self.y) * c - (x - self.x) * s
        return p + self._bend(p, q, 0), q + self._bend(p, q, 1)

    def inverse(self, u: Array, v: Array) -> tuple[Array, Array]:
        """Places of (u, v): a fixed point, since the waves are gentle enough to contract."""
        p, q = np.array(u, dtype=float), np.array(v, dtype=float)
        for _ in range(ROUNDS):
            p, q = u - self._bend(p, q, 0), v - self._bend(p, q, 1)
        c, s = math.cos(self.angle), math.sin(self.angle)
        x: Array = self.x + p * c - q * s
        y: Array = self.y + p * s + q * c
        return x, y

    def place(self, u: float, v: float) -> tuple[float, float]:
        """The place of one (u, v)."""
        x, y = self.inverse(np.float64(u), np.float64(v))  # type: ignore[arg-type]  # arrays of no dimension
        return float(x), float(y)


@dataclass(frozen=True, slots=True)
class Creek:
    """Water that meanders along v about u = ``at``."""

    at: float
    half: float
    phase: float

    def distance(self, u: Array, v: Array) -> Array:
        """Meters from the bank, negative in the water."""
        middle = 7 * np.sin(v / 17 + self.phase) + 4 * np.sin(v / 7.3 + 2 * self.phase)
        bank: Array = np.abs(u - self.at - middle) - self.half * (1 + 0.35 * np.sin(v / 4.1 + self.phase))
        return bank


@dataclass(slots=True)
class Town:
    """The plan with the shapes that are given by equations rather than by lists."""

    warp: Warp
    plan: Plan
    creeks: list[Creek]
    ponds: list[tuple[float, float, float, float]]
    """x, y, radius in meters and phase."""
    kerb: float
    """How clear the concrete of kerb and gutter is, 0 (asphalt that frays into soil) to 1."""

    def street_distance(self, u: Array, v: Array) -> Array:
        """Meters from the kerb at places of the plan, negative on the street."""
        far = np.full_like(u, 1e3)
        long, cross = far, far
        for street in self.plan.streets:
            if street.along_v:
                long = np.minimum(long, np.abs(u - street.at) - street.half)
            else:
                ends = np.maximum(street.start - u, u - street.stop)
                cross = np.minimum(cross, np.maximum(np.abs(v - street.at) - street.half, ends))
        round_off = np.maximum(FILLET - np.abs(long - cross), 0)
        distance: Array = np.minimum(long, cross) - round_off * round_off / (4 * FILLET)
        return distance

    def clearance(self, x: Array, y: Array) -> Array:
        """Meters from the nearest street or water, at places."""
        u, v = self.warp.forward(x, y)
        clear = self.street_distance(u, v)
        for creek in self.creeks:
            clear = np.minimum(clear, creek.distance(u, v))
        for px, py, radius, _ in self.ponds:
            clear = np.minimum(clear, np.hypot(x - px, y - py) - 1.3 * radius)
        return clear


@dataclass(frozen=True, slots=True)
class _Block:
    low: float
    high: float
    start: float
    stop: float
    kind: str


def _warp(rng: np.random.Generator, width: float, height: float) -> Warp:
    waves = []
    for index in range(4):
        length = rng.uniform(200, 460)
        steep = rng.uniform(0.1, 0.3) * (1.0 if index % 2 == 0 else 0.5)
        number = 2 * math.pi / length
        waves.append((steep / number, number, number * rng.uniform(-0.25, 0.25), rng.uniform(0, 2 * math.pi)))
    return Warp(width / 2, height / 2, rng.uniform(0, math.pi), tuple(waves))


def _walks(rng: np.random.Generator, sidewalks: float) -> tuple[bool, bool]:
    return chance(rng, sidewalks), chance(rng, sidewalks)


def _rows(
    rng: np.random.Generator, reach: float, sidewalks: float
) -> tuple[list[Street], list[tuple[Street, Street, str]]]:
    """The long streets and the rows of blocks between them, each ``homes`` or ``creek``."""
    streets: list[Street] = []
    rows: list[tuple[Street, Street, str]] = []
    at, kind = -reach - rng.uniform(0, 70), "homes"
    while True:
        main = chance(rng, 0.2)
        half = rng.uniform(5.6, 7.0) if main else rng.uniform(3.4, 4.8)
        walks = (True, True) if main else _walks(rng, sidewalks)
        street = Street(True, at, -math.inf, math.inf, half, main, rng.uniform(0.07, 0.21), walks)
        if streets:
            rows.append((streets[-1], street, kind))
        streets.append(street)
        if at > reach:
            return streets, rows
        kind = "creek" if chance(rng, 0.22) else "homes"
        at += rng.uniform(108, 125) if kind == "creek" else rng.uniform(72, 92)


def _lot(town: Town, ends: tuple[float, float], span: tuple[float, float], kind: str, lawn: float) -> Lot:
    near, far = ends
    v = (span[0] + span[1]) / 2
    front, back = town.warp.place(near, v), town.warp.place(far, v)
    depth = math.dist(front, back)
    angle = math.atan2(front[0] - back[0], back[1] - front[1])
    left, right = town.warp.place(near, span[0]), town.warp.place(near, span[1])
    ring = [(near, span[0]), (near, span[1]), (far, span[1]), (far, span[0])]
    corners: Float64 = np.array([town.warp.place(*corner) for corner in ring])
    return Lot(Frame(*front, angle), math.dist(left, right), depth, RIGHT_OF_WAY, corners, kind, lawn)


def _cut(rng: np.random.Generator, start: float, stop: float, width: float) -> list[tuple[float, float]]:
    count = max(1, round((stop - start) / width))
    edges = np.linspace(start, stop, count + 1)
    edges[1:-1] += rng.uniform(-0.14, 0.14, count - 1) * (stop - start) / count
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _fill(rng: np.random.Generator, town: Town, block: _Block, lot_width: float, terraces: float) -> None:
    """Cut a block into lots."""
    start, stop = block.start, block.stop
    lawn = rng.uniform(0.2, 0.8)
    middle = (block.low + block.high) / 2 + rng.uniform(-3, 3)
    sides = [(block.low, middle), (block.high, middle)]
    if block.kind == "creek":
        sides = [(block.low, block.low + 36.0), (block.high, block.high - 36.0)]
    elif block.kind in ("civic", "meadow"):
        part = min(stop - start, rng.uniform(60, 90))
        cut = start + part if chance(rng, 0.5) else stop - part
        own = (start, cut) if cut - start == part else (cut, stop)
        town.plan.lots.append(_lot(town, (block.low, block.high), own, block.kind, lawn))
        start, stop = (cut, stop) if own[0] == start else (start, cut)
    for near, far in sides:
        span = start
        while stop - span > 0.7 * lot_width:
            if chance(rng, terraces) and stop - span > 2.2 * lot_width:
                kind, width = "row", rng.uniform(28, 44)
            else:
                kind, width = ("wood" if chance(rng, 0.06) else "home"), rng.uniform(0.8, 1.25) * lot_width
            end = min(span + width, stop)
            end = stop if stop - end < 0.7 * lot_width else end
            own_lawn = float(np.clip(lawn + rng.normal(0, 0.25), 0, 1))
            town.plan.lots.append(_lot(town, (near, far), (span, end), kind, own_lawn))
            span = end


def plan_town(
    rng: np.random.Generator, width: float, height: float, lot_width: float, terraces: float
) -> Town:
    """Lay out streets, water and lots.

    Args:
        rng: the source of chance.
        width: meters covered in x.
        height: meters covered in y.
        lot_width: mean width of a lot, meters.
        terraces: share of the lots that hold a terrace.

    Returns:
        The town with streets and lots, and nothing built yet.
    """
    reach = math.hypot(width, height) / 2
    kerb = float(np.clip(rng.normal(0.6, 0.35), 0, 1))
    sidewalks = float(rng.choice([0.0, 0.35, 0.8, 1.0], p=[0.25, 0.35, 0.2, 0.2]))
    town = Town(_warp(rng, width, height), Plan(), [], [], kerb)
    streets, rows = _rows(rng, reach, sidewalks)
    town.plan.streets += streets
    crossings: list[float] = []
    for low, high, kind in rows:
        if kind == "creek":
            town.creeks.append(Creek((low.at + high.at) / 2, rng.uniform(1.2, 2.6), rng.uniform(0, 6)))
        crossings = _crossings(rng, reach, crossings)
        halves = []
        for at in crossings:
            halves.append(rng.uniform(3.3, 4.4))
            walks = _walks(rng, sidewalks)
            tone = rng.uniform(0.07, 0.21)
            town.plan.streets.append(Street(False, at, low.at, high.at, halves[-1], False, tone, walks))
        inner, outer = low.at + low.half + RIGHT_OF_WAY, high.at - high.half - RIGHT_OF_WAY
        for index in range(len(crossings) - 1):
            start = crossings[index] + halves[index] + RIGHT_OF_WAY
            stop = crossings[index + 1] - halves[index + 1] - RIGHT_OF_WAY
            use = (
                str(rng.choice(["homes", "civic", "meadow"], p=[0.68, 0.20, 0.12]))
                if kind == "homes"
                else kind
            )
            _fill(rng, town, _Block(inner, outer, start, stop, use), lot_width, terraces)
    _ponds(rng, town)
    return town


def _crossings(rng: np.random.Generator, reach: float, through: list[float]) -> list[float]:
    """Where cross streets run in one row; some carry on from the row before."""
    crossings = []
    at = -reach - rng.uniform(100, 220)
    while at < reach + 200:
        near = [other for other in through if abs(other - at) < MEET]
        crossings.append(near[0] if near and chance(rng, 0.7) else at)
        at = crossings[-1] + rng.uniform(110, 230)
    return crossings


def _ponds(rng: np.random.Generator, town: Town) -> None:
    for lot in town.plan.lots:
        if lot.kind == "meadow" and chance(rng, 0.6):
            x, y = lot.frame.world(rng.uniform(-8, 8), lot.depth / 2)
            town.ponds.append((x, y, rng.uniform(0.15, 0.28) * min(lot.width, lot.depth), rng.uniform(0, 6)))
