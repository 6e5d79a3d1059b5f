"""Where a ring turns from wall to wall: the split of least cost.

A split costs, for each wall, the squared distance of the contour to the wall's line, integrated over arc
length, and a price per wall. With the direction of the walls given, dynamic programming finds the cheapest of
all splits into walls along the direction, across it and (dearer) with a direction of their own, after Bellman
1961, "On the approximation of curves by line segments using dynamic programming". Of the latter those that
lean, nearly along or across, are dearest: what noise does to a wall along or across looks like them.
"""

from __future__ import annotations

import numpy as np

from geoseg.arrays import Float64, Int64
from geoseg.compiled import compiled, inner
from geoseg.polygons.walls.rings import Curve, integrals, locate

__all__ = ["ACROSS", "ALONG", "DIAGONAL", "LEANS", "main_direction", "roughness", "sample", "split"]

ALONG, ACROSS, DIAGONAL = 0, 1, 2
_TAN_TWICE = np.tan(np.radians(2 * 20.0))  # a diagonal wall less than 20 degrees off the others leans
_SPAN = 6  # samples: about 9 px, over which noise is correlated
_DIAGONAL = 4.0  # price of a diagonal wall in prices of a wall
LEANS = 6.0  # of one that leans, less than 20 degrees off the others, likewise
_STRAIGHT = 2  # of so many stretches one has no corner in it


@compiled
def sample(curve: Curve, step: float) -> tuple[Float64, Float64]:
    """Points at equal distances of about ``step`` along a curve, and the integrals up to each.

    Shapes (N + 1, 2) and (N + 1, 5), from position 0 to a whole lap.
    """
    vertices, along, sums, _ = curve
    count = max(int(np.round(along[-1] / step)), 12)
    points, to = np.empty((count + 1, 2)), np.empty((count + 1, 5))
    for i in range(count + 1):
        k, rest, x, y = locate(curve, along[-1] * i / count)
        piece = integrals(vertices[k, 0], vertices[k, 1], x, y, rest)
        points[i] = x, y
        for j in range(5):
            to[i, j] = sums[k, j] + piece[j]
    return points, to


@inner
def main_direction(points: Float64, span: int) -> tuple[float, float]:
    """Direction of a ring's walls from its chords, and how much the chords agree (0 to 1).

    The mean of the chords' directions modulo a right angle, weighted by the square of their lengths. The
    points are equally distant along the ring, closed, shape (N + 1, 2); a chord spans ``span`` of their
    steps.
    """
    real = imaginary = total = 0.0
    count = points.shape[0] - 1
    for k in range(count):
        far = (k + span) % count
        dx, dy = points[far, 0] - points[k, 0], points[far, 1] - points[k, 1]
        squared = dx * dx + dy * dy
        if squared > 0:
            a, b = dx * dx - dy * dy, 2 * dx * dy
            real += (a * a - b * b) / squared
            imaginary += 2 * a * b / squared
            total += squared
    return np.arctan2(imaginary, real) / 4, np.hypot(real, imaginary) / total


@compiled
def roughness(sums: Float64, length: float) -> float:
    """Variance of a ring about lines of 9 px, the mean of the straighter half of them, px².

    It tells noise, which is short, from walls that are not where they were looked for. ``sums`` are those of
    :func:`sample`, shape (N + 1, 5).
    """
    count = sums.shape[0] - 1
    run = length / count * _SPAN
    off = np.empty(count)
    for k in range(count):
        far = (k + _SPAN) % count
        part = sums[far] - sums[k]
        if far < k:
            part += sums[count]
        uu = part[2] - part[0] * part[0] / run
        uv = part[3] - part[0] * part[1] / run
        vv = part[4] - part[1] * part[1] / run
        off[k] = max(uu + vv - np.sqrt((uu - vv) ** 2 + 4 * uv * uv), 0.0) / 2 / run
    off.sort()
    return float(np.mean(off[: count // _STRAIGHT]))


@compiled
def _in_frame(points: Float64, sums: Float64, direction: float) -> Float64:
    """Samples and their integrals in the walls' frame: u along the direction, v across it.

    Rows are u, v and the integrals of u, v, u², uv and v², shape (7, N + 1).
    """
    out = np.empty((7, points.shape[0]))
    c, s = np.cos(direction), np.sin(direction)
    for k in range(points.shape[0]):
        x, y = points[k, 0], points[k, 1]
        out[0, k], out[1, k] = c * x + s * y, c * y - s * x
        x, y, xx, xy, yy = sums[k, 0], sums[k, 1], sums[k, 2], sums[k, 3], sums[k, 4]
        out[2, k], out[3, k] = c * x + s * y, c * y - s * x
        out[4, k] = c * c * xx + 2 * c * s * xy + s * s * yy
        out[5, k] = c * s * (yy - xx) + (c * c - s * s) * xy
        out[6, k] = s * s * xx - 2 * c * s * xy + c * c * yy
    return out


# Costs are compared as integers: of numbers that are not negative these are in the same order, and the least
# of a block of them is found by a few instructions.
_BLOCK = 24
_INFINITE = 0x7FF << 52


@inner
def _straight(
    frame: Float64,
    wall: int,
    first: int,
    end: int,
    step: float,
    fee: float,
    shortest: float,
    before: Float64,
    off: Float64,
    cost: Float64,
) -> None:
    """Squared distances and costs of walls along or across, from each of some samples to one behind them."""
    along, across, squares = frame[wall, first:], frame[3 - wall, first:], frame[6 - 2 * wall, first:]
    at, moment, square = frame[wall, end], frame[3 - wall, end], frame[6 - 2 * wall, end]
    for k in range(before.shape[0]):
        extent, m = at - along[k], moment - across[k]
        off[k] = max(square - squares[k] - m * m / ((end - first - k) * step), 0.0)
        cost[k] = before[k] + off[k] + fee if extent * extent >= shortest * shortest else np.inf


@inner
def _leaning(
    frame: Float64,
    first: int,
    end: int,
    step: float,
    price: float,
    shortest: float,
    before: Float64,
    off: Float64,
    cost: Float64,
) -> None:
    """The same of walls about their own best line, the smaller moment of the stretch."""
    us, vs, uus, uvs, vvs = (
        frame[2, first:],
        frame[3, first:],
        frame[4, first:],
        frame[5, first:],
        frame[6, first:],
    )
    x, y = frame[0, first:], frame[1, first:]
    u0, v0, uu0, uv0, vv0 = frame[2, end], frame[3, end], frame[4, end], frame[5, end], frame[6, end]
    x0, y0 = frame[0, end], frame[1, end]
    for k in range(before.shape[0]):
        run = (end - first - k) * step
        u, v, wide, high = u0 - us[k], v0 - vs[k], x0 - x[k], y0 - y[k]
        uu, uv, vv = uu0 - uus[k] - u * u / run, uv0 - uvs[k] - u * v / run, vv0 - vvs[k] - v * v / run
        off[k] = max((uu + vv - np.sqrt((uu - vv) ** 2 + 4 * uv * uv)) / 2, 0.0)
        fee = LEANS * price if 2 * abs(uv) < _TAN_TWICE * abs(uu - vv) else _DIAGONAL * price
        cost[k] = before[k] + off[k] + fee if wide * wide + high * high >= shortest * shortest else np.inf


@inner
def _last_of_least(cost: Int64, count: int) -> int:
    """The last of the lowest ones among the first costs."""
    least, found = _INFINITE, 0
    for k in range(count):
        least = min(least, cost[k])
    for k in range(count):
        found = max(found, k if cost[k] == least else 0)
    return found


@compiled
def _cheapest_splits(
    frame: Float64, step: float, price: float, min_wall: float, min_diagonal: float
) -> tuple[Float64, Float64, Int64, Int64]:
    """The cheapest split that ends with a wall of each class (row) at each sample (column).

    Returns:
        Its cost, the squared distance of its last wall, the sample where that wall begins; and the class of
        the wall before one of a class (row) that begins at a sample (column). Arrays of shape (3, N + 1).
    """
    count = frame.shape[1] - 1
    best, fitted = np.full((3, count + 1), np.inf), np.full((3, count + 1), np.inf)
    since = np.zeros((3, count + 1), np.int64)
    # The cheapest that a wall of a class may follow: walls along any but walls along, walls across likewise,
    # diagonal ones any.
    before, last = np.zeros((3, count + 1)), np.full((3, count + 1), -1, np.int64)
    bits, off = np.empty(_BLOCK, np.int64), np.empty(_BLOCK)
    cost = bits.view(np.float64)
    for j in range(1, count + 1):
        for wall in range(3):
            if wall == DIAGONAL and min_diagonal == 0:
                continue
            fee, shortest = (_DIAGONAL * price, min_diagonal) if wall == DIAGONAL else (price, min_wall)
            # No wall is longer than its stretch of the ring.
            stop = j + 1 - max(int(0.999 * shortest / step), 1)
            while stop > 0:
                first = max(stop - _BLOCK, 0)
                part = before[wall, first:stop]
                if wall == DIAGONAL:
                    _leaning(frame, first, j, step, price, shortest, part, off, cost)
                else:
                    _straight(frame, wall, first, j, step, fee, shortest, part, off, cost)
                k = _last_of_least(bits, stop - first)
                if cost[k] < best[wall, j]:
                    best[wall, j], fitted[wall, j], since[wall, j] = cost[k], off[k], first + k
                # The further back, the larger: nothing before can be cheaper.
                if off[0] + fee >= best[wall, j]:
                    break
                stop = first
        for wall in range(3):
            before[wall, j] = np.inf
            for other in range(3):
                if (other != wall or wall == DIAGONAL) and best[other, j] < before[wall, j]:
                    before[wall, j], last[wall, j] = best[other, j], other
    return best, fitted, since, last


@compiled
def split(
    points: Float64,
    sums: Float64,
    length: float,
    direction: float,
    price: float,
    min_wall: float,
    min_diagonal: float,
) -> tuple[Int64, Int64, Float64, float]:
    """The cheapest walls of a ring, and what they cost, px³.

    ``points``, shape (N + 1, 2), and ``sums``, (N + 1, 5), are those of :func:`sample`; the direction is in
    radians; ``price`` is that of a wall along or across, px³; ``min_diagonal`` the shortest wall with a
    direction of its own; 0: there are none.

    Returns:
        For each wall the sample where it begins, its class, and the integral of the squared distances of the
        contour to its line; no walls where there is no split. And the cost.
    """
    count = points.shape[0] - 1
    frame = _in_frame(points, sums, direction)
    best, fitted, since, last = _cheapest_splits(frame, length / count, price, min_wall, min_diagonal)
    wall = 0
    for other in range(1, 3):
        if best[other, count] < best[wall, count]:
            wall = other
    begins, classes, off = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count)
    walls, j, cost = 0, count, best[wall, count]
    while j > 0 and cost < np.inf:  # from the end of the ring back to its start
        begins[walls], classes[walls], off[walls] = since[wall, j], wall, fitted[wall, j]
        j = since[wall, j]
        wall = last[wall, j]
        walls += 1
    return begins[:walls][::-1].copy(), classes[:walls][::-1].copy(), off[:walls][::-1].copy(), cost
