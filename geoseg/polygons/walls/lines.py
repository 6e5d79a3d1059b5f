"""From a split ring to straight walls: lines through the contour, corners where they meet."""

from __future__ import annotations

import numpy as np

from geoseg.arrays import Float64, Int64
from geoseg.compiled import compiled, inner
from geoseg.polygons.walls.rings import Curve, nearest, point_at, stretch
from geoseg.polygons.walls.segments import ACROSS, ALONG, DIAGONAL

__all__ = ["draw", "given_classes", "given_walls", "refine_direction"]

# One wall of a ring; its line is fitted away from the corners, where a blur rounds the contour (~):
#
#    corner w                         corner w + 1
#       +-----------------------------------+        line of wall w: nx x + ny y = offset
#       | ~  trim                    trim ~ |
#       |~  |---- fitted stretch ----|     ~|
#    begins[w]                        begins[w + 1]
#
# A corner is where two lines meet; the wall then begins where the contour is nearest to it, which changes the
# stretch and so the line, until nothing moves.
_ROUNDS = 12
_STILL = 1e-8  # px: corners that move less are found
_FEWEST = 3  # walls of a ring
_FLATTEST = np.sin(np.radians(15.0))  # of the least angle by which a ring turns from wall to wall
_ON_AXIS = np.radians(1e-3)
_SNAP = np.radians(8.0)  # a diagonal this close to 45 degrees is at 45, unless it is long
_SHARP = np.cos(np.radians(40.0))  # walls that meet in a sharper angle make a spike
_TIP = 2.0  # px between the tip of a spike and the contour; what the contour fills is none
_RIGHT = np.pi / 2
# What ends the fit of lines and corners: nothing moves; a leaning wall was set along or across; a wall is too
# flat to the one before; a wall is squeezed between its neighbors.
_SETTLED, _UPRIGHT, _FLAT, _SHORT = 0, 1, 2, 3


@inner
def _leans(sine: float, length: float, least: float) -> bool:
    """Whether a wall has a direction of its own: clearly, or because it is long.

    ``sine`` is that of its angle to the direction that it would have else; ``least`` what it has to gain,
    px³: how much nearer it is to the contour in squared distance, integrated over its length in px, than the
    wall of the other direction through its middle.
    """
    return bool(sine > _FLATTEST or length**3 / 12 * sine * sine > least)


@compiled
def given_classes(ring: Float64, direction: float, shortest: float, lean: float) -> Int64:
    """Classes of a ring's edges where they are walls already, long and clear of each other; else none."""
    count = ring.shape[0]
    c, s = np.cos(direction), np.sin(direction)
    out = np.empty(count, np.int64)
    for k in range(count):
        dx, dy = ring[(k + 1) % count, 0] - ring[k, 0], ring[(k + 1) % count, 1] - ring[k, 1]
        length = np.hypot(dx, dy)
        if length < shortest - 1e-6:
            return out[:0]
        u, v = abs(c * dx + s * dy) / length, abs(c * dy - s * dx) / length
        if v < _ON_AXIS:
            out[k] = ALONG
        elif u < _ON_AXIS:
            out[k] = ACROSS
        elif _leans(min(u, v), length, lean):
            out[k] = DIAGONAL
        else:
            return out[:0]
    for k in range(count):
        ax, ay = ring[k, 0] - ring[k - 1, 0], ring[k, 1] - ring[k - 1, 1]
        bx, by = ring[(k + 1) % count, 0] - ring[k, 0], ring[(k + 1) % count, 1] - ring[k, 1]
        if abs(ax * by - ay * bx) < 0.99 * _FLATTEST * np.hypot(ax, ay) * np.hypot(bx, by):
            return out[:0]
    return out


@compiled
def given_walls(ring: Float64, shortest: float, lean: float) -> tuple[Int64, float]:
    """Classes and direction of a ring that consists of walls: what is fitted is not fitted again."""
    count = ring.shape[0]
    found, direction, most = np.empty(0, np.int64), 0.0, -1.0
    for k in range(count):
        dx, dy = ring[(k + 1) % count, 0] - ring[k, 0], ring[(k + 1) % count, 1] - ring[k, 1]
        if np.hypot(dx, dy) < shortest - 1e-6:
            return found[:0], direction
    for k in range(count):
        dx, dy = ring[(k + 1) % count, 0] - ring[k, 0], ring[(k + 1) % count, 1] - ring[k, 1]
        angle = np.arctan2(dy, dx)
        classes = given_classes(ring, angle, shortest, lean)
        straight = 0.0 + np.sum(classes != DIAGONAL)
        if classes.shape[0] and straight > most:
            found, direction, most = classes, angle, straight
    return found, direction


@inner
def _ends(begins: Float64, wall: int, length: float) -> tuple[float, float]:
    """Where a wall begins and ends (past the lap where it must)."""
    begin, end = begins[wall], begins[(wall + 1) % begins.shape[0]]
    if end <= begin:
        end += length
    return begin, end


@inner
def _trimmed(begins: Float64, wall: int, length: float, trim: float) -> tuple[float, float]:
    """The stretch of a wall away from its corners."""
    begin, end = _ends(begins, wall, length)
    trim = min(trim, 0.25 * (end - begin))
    return begin + trim, end - trim


@inner
def refine_direction(curve: Curve, begins: Float64, classes: Int64, direction: float, trim: float) -> float:
    """The direction with the least squared distance of the contour to walls along and across it.

    Directions are in radians, ``begins`` (where each wall begins) and ``classes`` of shape (W,); ``trim`` is
    the length at either end of a wall that does not count.
    """
    length = curve[1][-1]
    uu = uv = vv = 0.0
    for wall in range(begins.shape[0]):
        if classes[wall] == DIAGONAL:
            continue
        begin, end = _trimmed(begins, wall, length, trim)
        _, _, xx, xy, yy = stretch(curve, begin, end)
        if classes[wall] == ALONG:
            uu, uv, vv = uu + xx, uv + xy, vv + yy
        else:
            uu, uv, vv = uu + yy, uv - xy, vv + xx
    if uu + vv == 0:  # all walls are diagonal
        return direction
    found = np.arctan2(2 * uv, uu - vv) / 2
    # The axis of the moments is known modulo a half turn.
    return float(found - np.pi * np.round((found - direction) / np.pi))


@inner
def _line(
    curve: Curve, begins: Float64, wall: int, kind: int, direction: float, trim: float, lean: float
) -> tuple[float, float, float]:
    """Normal and offset of the line of a wall."""
    begin, end = _trimmed(begins, wall, curve[1][-1], trim)
    x, y, xx, xy, yy = stretch(curve, begin, end)
    angle = direction
    if kind == ACROSS:
        angle += _RIGHT
    elif kind == DIAGONAL:
        angle = np.arctan2(2 * xy, xx - yy) / 2
        nearest_diagonal = direction + _RIGHT / 2 + _RIGHT * np.round((angle - direction) / _RIGHT - 0.5)
        off = abs(angle - nearest_diagonal)
        if off < _SNAP and not _leans(np.sin(off), end - begin, lean):
            angle = nearest_diagonal
    nx, ny = -np.sin(angle), np.cos(angle)
    return nx, ny, nx * x + ny * y


@inner
def _corners(lines: Float64, corners: Float64) -> int:
    """Fill in where each line meets the one before; a line too flat to that one, or -1."""
    for w in range(lines.shape[0]):
        ax, ay, a = lines[w - 1]
        bx, by, b = lines[w]
        turn = ax * by - ay * bx
        if abs(turn) < _FLATTEST:
            return w
        corners[w] = (a * by - b * ay) / turn, (ax * b - bx * a) / turn
    return -1


@inner
def _upright(
    begins: Float64, classes: Int64, lines: Float64, direction: float, length: float, lean: float
) -> bool:
    """Make walls that hardly lean walls along or across; whether there was one."""
    c, s = np.cos(direction), np.sin(direction)
    found = False
    for w in range(lines.shape[0]):
        if classes[w] != DIAGONAL:
            continue
        u, v = abs(c * lines[w, 0] + s * lines[w, 1]), abs(c * lines[w, 1] - s * lines[w, 0])
        begin, end = _ends(begins, w, length)
        if not _leans(min(u, v), end - begin, lean):
            classes[w] = ALONG if u < v else ACROSS
            found = True
    return found


@compiled
def _joined(begins: Float64, classes: Int64, wall: int, length: float) -> tuple[Float64, Int64]:
    """The walls with one and the one before made one, of the class of the longer."""
    classes = classes.copy()
    before = (wall - 1) % begins.shape[0]
    here, there = _ends(begins, wall, length), _ends(begins, before, length)
    if here[1] - here[0] > there[1] - there[0]:
        classes[before] = classes[wall]
    keep = np.ones(begins.shape[0], np.bool_)
    keep[wall] = False
    return begins[keep], classes[keep]


@inner
def _blunt(curve: Curve, position: float, reach: float, x: float, y: float) -> bool:
    """Whether the contour, seen from a corner, leaves to both sides at no sharp angle."""
    ax, ay = point_at(curve, position - reach)
    bx, by = point_at(curve, position + reach)
    ax, ay, bx, by = ax - x, ay - y, bx - x, by - y
    return bool(ax * bx + ay * by < _SHARP * np.hypot(ax, ay) * np.hypot(bx, by))


@inner
def _spike(curve: Curve, begins: Float64, corners: Float64) -> int:
    """The shorter wall at the longest spike: a sharp angle that the contour does not reach into; or -1."""
    count = corners.shape[0]
    found, farthest = -1, -1.0
    for w in range(count):
        x, y, to = corners[w, 0], corners[w, 1], (w + 1) % count
        ax, ay, bx, by = corners[w - 1, 0] - x, corners[w - 1, 1] - y, corners[to, 0] - x, corners[to, 1] - y
        one, other = np.hypot(ax, ay), np.hypot(bx, by)
        if ax * bx + ay * by > _SHARP * one * other:
            px, py = point_at(curve, begins[w])
            away = np.hypot(px - x, py - y)
            empty = away > _TIP or _blunt(curve, begins[w], min(one, other), x, y)
            if empty and away > farthest:
                found, farthest = (w - 1) % count if one < other else w, away
    return found


@inner
def _misfit(curve: Curve, begins: Float64, lines: Float64) -> float:
    """Mean squared distance of the contour to the lines of its walls."""
    length = curve[1][-1]
    off = 0.0
    for w in range(lines.shape[0]):
        begin, end = _ends(begins, w, length)
        x, y, xx, xy, yy = stretch(curve, begin, end)
        nx, ny, at = lines[w]
        off += nx * nx * xx + 2 * nx * ny * xy + ny * ny * yy + (end - begin) * (nx * x + ny * y - at) ** 2
    return float(off / length)


@compiled
def _without(begins: Float64, classes: Int64, wall: int, length: float) -> tuple[Float64, Int64]:
    """The walls less one: its neighbors become one wall where they are parallel, else they meet halfway."""
    count = begins.shape[0]
    before, after = (wall - 1) % count, (wall + 1) % count
    keep = np.ones(count, np.bool_)
    keep[wall] = False
    begins = begins.copy()
    if classes[before] == classes[after] != DIAGONAL:
        keep[after] = False
    else:
        begin, end = _ends(begins, wall, length)
        middle = (begin + end) / 2
        begins[after] = middle - length if middle >= length else middle
    return begins[keep], classes[keep]


@compiled
def _settle(
    curve: Curve,
    begins: Float64,
    classes: Int64,
    direction: float,
    turn: bool,
    shortest: float,
    trim: float,
    lean: float,
) -> tuple[Float64, float, Float64, Float64, int, int]:
    """Fit lines and corners in turn until the corners stay, or until a wall turns out that cannot stay.

    Where walls begin now, the direction, lines (W, 3) and corners (W, 2), what ended it (:data:`_SETTLED` …),
    and the wall concerned. Classes are changed in place.
    """
    length = curve[1][-1]
    count = begins.shape[0]
    lines, corners = np.empty((count, 3)), np.empty((count, 2))
    for _ in range(_ROUNDS):
        if turn:
            direction = refine_direction(curve, begins, classes, direction, trim / 2)
        for w in range(count):
            lines[w] = _line(curve, begins, w, classes[w], direction, trim, lean)
        if _upright(begins, classes, lines, direction, length, lean):
            return begins, direction, lines, corners, _UPRIGHT, -1
        flat = _corners(lines, corners)
        if flat >= 0:
            return begins, direction, lines, corners, _FLAT, flat
        moved = _nearest_to(curve, begins, corners)
        still = np.max(np.abs(moved - begins)) < _STILL
        begins = moved - np.floor(moved / length) * length
        if still:
            break
        squeezed = -1
        for w in range(count):
            begin, end = _ends(begins, w, length)
            if end - begin < shortest / 2:
                squeezed = w
        if squeezed >= 0:
            return begins, direction, lines, corners, _SHORT, squeezed
    return begins, direction, lines, corners, _SETTLED, -1


@compiled
def _nearest_to(curve: Curve, begins: Float64, corners: Float64) -> Float64:
    """Positions on the contour nearest to the corners, none beyond the middle of a wall beside it."""
    length = curve[1][-1]
    count = begins.shape[0]
    moved = begins.copy()
    for w in range(count):
        begin, end = _ends(begins, w, length)
        earlier, _ = _ends(begins, (w - 1) % count, length)
        back = begin - earlier
        if back <= 0:
            back += length
        moved[w] = nearest(
            curve, corners[w, 0], corners[w, 1], begin - 0.45 * back, begin + 0.45 * (end - begin)
        )
    return moved


@inner
def _too_short(curve: Curve, begins: Float64, lines: Float64, corners: Float64, least: float) -> int:
    """The shortest wall below a length, or -1; one that runs against its contour is shorter than any."""
    length, found = curve[1][-1], -1
    count = begins.shape[0]
    for w in range(count):
        begin, end = _ends(begins, w, length)
        ax, ay = point_at(curve, begin)
        bx, by = point_at(curve, end)
        to = (w + 1) % count
        along = lines[w, 1] * (corners[to, 0] - corners[w, 0]) - lines[w, 0] * (
            corners[to, 1] - corners[w, 1]
        )
        if lines[w, 1] * (bx - ax) - lines[w, 0] * (by - ay) < 0:
            along = -along
        if along < least:
            least, found = along, w
    return found


@compiled
def draw(
    curve: Curve,
    begins: Float64,
    classes: Int64,
    direction: float,
    turn: bool,
    shortest: float,
    trim: float,
    lean: float,
    most: float,
) -> tuple[Float64, Int64, float]:
    """Walls through the contour: corners, class of the wall that begins at each, and the direction.

    Lines and corners are fitted in turn: a line to the stretch of contour between its corners, less what a
    blur rounds (``trim``, at either end); a corner where two lines meet. What is dropped: walls shorter than
    asked, that run backwards, or that would make a spike where the contour has none. No corners where the
    walls do not close to a ring, or not without spikes.

    ``begins`` is the position where each wall begins, shape (W,); ``turn`` says whether the direction, in
    radians, may be refined; ``lean`` is what walls that lean have to gain by it, px³ (:func:`_leans`);
    ``most`` the largest mean squared distance of the contour to what is left of its walls without spikes.
    """
    length = curve[1][-1]
    classes = classes.copy()
    spiked = False
    nothing = np.empty((0, 2)), np.empty(0, np.int64), direction
    while begins.shape[0] >= _FEWEST:
        begins, direction, lines, corners, ended, wall = _settle(
            curve, begins, classes, direction, turn, shortest, trim, lean
        )
        if ended == _UPRIGHT:
            continue
        if ended == _FLAT:
            begins, classes = _joined(begins, classes, wall, length)
            continue
        if ended == _SETTLED:
            wall = _too_short(curve, begins, lines, corners, shortest)
            if wall < 0:
                wall = _spike(curve, begins, corners)
                if wall < 0:
                    sound = not spiked or _misfit(curve, begins, lines) <= most
                    return (corners, classes, direction) if sound else nothing
                spiked = True
        begins, classes = _without(begins, classes, wall, length)
    return nothing
