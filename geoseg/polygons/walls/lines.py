"""From a split ring to straight walls: lines through the contour, corners where they meet."""

from __future__ import annotations

import numpy as np

from geoseg.arrays import Float64, Int64
from geoseg.compiled import compiled
from geoseg.polygons.walls.arc_length import Arc, nearest, point_at, stretch
from geoseg.polygons.walls.given import FLAT, leans
from geoseg.polygons.walls.segments import ACROSS, ALONG, DIAGONAL

__all__ = ["draw", "refine_direction"]

_ROUNDING = 2.0  # px beside a corner where a blurred contour leaves its wall
_ROUNDS = 12
_STILL = 1e-8  # px: corners that move less are found
_SNAP = np.radians(8.0)  # a diagonal this close to 45 degrees is at 45, unless it is long
_SHARP = np.cos(np.radians(40.0))  # walls that meet in a sharper angle make a spike
_TIP = 2.0  # px between the tip of a spike and the contour; what the contour fills is none
_RIGHT = np.pi / 2
_FEWEST = 3


@compiled
def _ends(begins: Float64, wall: int, length: float) -> tuple[float, float]:
    """Where a wall begins and ends (past the lap where it must)."""
    begin, end = begins[wall], begins[(wall + 1) % begins.shape[0]]
    if end <= begin:
        end += length
    return begin, end


@compiled
def _trimmed(begins: Float64, wall: int, length: float, trim: float) -> tuple[float, float]:
    """The stretch of a wall away from its corners."""
    begin, end = _ends(begins, wall, length)
    trim = min(trim, 0.25 * (end - begin))
    return begin + trim, end - trim


@compiled
def refine_direction(arc: Arc, begins: Float64, classes: Int64, direction: float, trim: float) -> float:
    """The direction with the least squared distance of the contour to walls along and across it.

    Args:
        arc: the ring.
        begins: position where each wall begins, shape (W,).
        classes: of the walls, shape (W,).
        direction: of the walls up to now, radians.
        trim: length at either end of a wall that does not count.
    """
    length = arc[1][-1]
    uu = uv = vv = 0.0
    for wall in range(begins.shape[0]):
        if classes[wall] == DIAGONAL:
            continue
        begin, end = _trimmed(begins, wall, length, trim)
        _, _, xx, xy, yy = stretch(arc, begin, end)
        if classes[wall] == ALONG:
            uu, uv, vv = uu + xx, uv + xy, vv + yy
        else:
            uu, uv, vv = uu + yy, uv - xy, vv + xx
    if uu + vv == 0:  # all walls are diagonal
        return direction
    found = np.arctan2(2 * uv, uu - vv) / 2
    # The axis of the moments is known modulo a half turn.
    return float(found - np.pi * np.round((found - direction) / np.pi))


@compiled
def _line(
    arc: Arc, begins: Float64, wall: int, kind: int, direction: float, trim: float, lean: float
) -> tuple[float, float, float]:
    """Normal and offset of the line of a wall."""
    begin, end = _trimmed(begins, wall, arc[1][-1], trim)
    x, y, xx, xy, yy = stretch(arc, begin, end)
    angle = direction
    if kind == ACROSS:
        angle += _RIGHT
    elif kind == DIAGONAL:
        angle = np.arctan2(2 * xy, xx - yy) / 2
        nearest_diagonal = direction + _RIGHT / 2 + _RIGHT * np.round((angle - direction) / _RIGHT - 0.5)
        off = abs(angle - nearest_diagonal)
        if off < _SNAP and not leans(np.sin(off), end - begin, lean):
            angle = nearest_diagonal
    nx, ny = -np.sin(angle), np.cos(angle)
    return nx, ny, nx * x + ny * y


@compiled
def _corners(lines: Float64, corners: Float64) -> int:
    """Fill in where each line meets the one before; a line too flat to that one, or -1."""
    for w in range(lines.shape[0]):
        ax, ay, a = lines[w - 1]
        bx, by, b = lines[w]
        turn = ax * by - ay * bx
        if abs(turn) < FLAT:
            return w
        corners[w] = (a * by - b * ay) / turn, (ax * b - bx * a) / turn
    return -1


@compiled
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
        if not leans(min(u, v), end - begin, lean):
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


@compiled
def _blunt(arc: Arc, position: float, reach: float, corner: Float64) -> bool:
    """Whether the contour, seen from a corner, leaves to both sides at no sharp angle."""
    ax, ay = point_at(arc, position - reach)
    bx, by = point_at(arc, position + reach)
    ax, ay, bx, by = ax - corner[0], ay - corner[1], bx - corner[0], by - corner[1]
    return bool(ax * bx + ay * by < _SHARP * np.hypot(ax, ay) * np.hypot(bx, by))


@compiled
def _spike(arc: Arc, begins: Float64, corners: Float64) -> int:
    """The shorter wall at the longest spike: a sharp angle that the contour does not reach into; or -1."""
    count = corners.shape[0]
    found, farthest = -1, -1.0
    for w in range(count):
        back, on = corners[w - 1] - corners[w], corners[(w + 1) % count] - corners[w]
        one, other = np.hypot(back[0], back[1]), np.hypot(on[0], on[1])
        if back[0] * on[0] + back[1] * on[1] > _SHARP * one * other:
            x, y = point_at(arc, begins[w])
            away = np.hypot(x - corners[w, 0], y - corners[w, 1])
            empty = away > _TIP or _blunt(arc, begins[w], min(one, other), corners[w])
            if empty and away > farthest:
                found, farthest = (w - 1) % count if one < other else w, away
    return found


@compiled
def _misfit(arc: Arc, begins: Float64, lines: Float64) -> float:
    """Mean squared distance of the contour to the lines of its walls."""
    length = arc[1][-1]
    off = 0.0
    for w in range(lines.shape[0]):
        begin, end = _ends(begins, w, length)
        x, y, xx, xy, yy = stretch(arc, begin, end)
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
def draw(
    arc: Arc,
    begins: Float64,
    classes: Int64,
    direction: float,
    turn: bool,
    shortest: float,
    trim: float,
    lean: float,
    most: float,
) -> tuple[Float64, Int64, float]:
    """Walls through the contour, and their corners.

    Lines and corners are fitted in turn: a line to the stretch of contour between its corners, less what a
    blur rounds; a corner where two lines meet. What is dropped: walls shorter than asked, that run backwards,
    or that would make a spike where the contour has none.

    Args:
        arc: the ring.
        begins: position where each wall begins, shape (W,).
        classes: of the walls, shape (W,).
        direction: of the walls, radians.
        turn: whether the direction may be refined.
        shortest: length of the shortest wall to keep.
        trim: length at either end of a wall that a blur rounded.
        lean: what walls that lean have to gain by it, px³ (:func:`~geoseg.polygons.walls.given.leans`).
        most: largest mean squared distance of the contour to what is left of its walls without spikes.

    Returns:
        Corners, shape (V, 2), with the class of the wall that begins at each, and the direction. No corners
        where the walls do not close to a ring, or not without spikes.
    """
    length = arc[1][-1]
    classes = classes.copy()
    spiked = False
    nothing = np.empty((0, 2)), np.empty(0, np.int64), direction
    while True:
        count = begins.shape[0]
        if count < _FEWEST:
            return nothing
        lines, corners = np.empty((count, 3)), np.empty((count, 2))
        flat = squeezed = -1
        upright = False
        for _ in range(_ROUNDS):
            if turn:
                direction = refine_direction(arc, begins, classes, direction, trim / 2)
            for w in range(count):
                lines[w] = _line(arc, begins, w, classes[w], direction, trim, lean)
            upright = _upright(begins, classes, lines, direction, length, lean)
            if upright:
                break
            flat = _corners(lines, corners)
            if flat >= 0:
                break
            moved = begins.copy()
            for w in range(count):
                begin, end = _ends(begins, w, length)
                earlier, _ = _ends(begins, (w - 1) % count, length)
                back = begin - earlier
                if back <= 0:
                    back += length
                moved[w] = nearest(
                    arc, corners[w, 0], corners[w, 1], begin - 0.45 * back, begin + 0.45 * (end - begin)
                )
            still = np.max(np.abs(moved - begins)) < _STILL
            begins = moved - np.floor(moved / length) * length
            if still:
                break
            for w in range(count):
                begin, end = _ends(begins, w, length)
                if end - begin < shortest / 2:
                    squeezed = w
            if squeezed >= 0:
                break
        if upright:
            continue
        if flat >= 0:
            begins, classes = _joined(begins, classes, flat, length)
            continue
        drop = squeezed
        if squeezed < 0:
            least = shortest
            for w in range(count):
                begin, end = _ends(begins, w, length)
                ax, ay = point_at(arc, begin)
                bx, by = point_at(arc, end)
                to = corners[(w + 1) % count] - corners[w]
                # Signed: a wall that runs against its contour is shorter than any.
                along = lines[w, 1] * to[0] - lines[w, 0] * to[1]
                if lines[w, 1] * (bx - ax) - lines[w, 0] * (by - ay) < 0:
                    along = -along
                if along < least:
                    least, drop = along, w
            if drop < 0:
                drop = _spike(arc, begins, corners)
                if drop < 0:
                    sound = not spiked or _misfit(arc, begins, lines) <= most
                    return (corners, classes, direction) if sound else nothing
                spiked = True
        begins, classes = _without(begins, classes, drop, length)
