"""Drawing windows of a map beside their reference, one row each."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from pyproj import CRS

from geoseg.arrays import Bool, Float32, UInt8
from geoseg.grid.encoding import IGNORE
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import ground_resolution
from geoseg.io.files import staged
from geoseg.score.pixels.confusion import Confusion, mean_iou

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from geoseg.config.model.contract import ClassSpec

__all__ = ["Panel", "draw"]

_WIDTH: Final = 11.0
"""Inches of the picture; 150 dots each."""
_DPI: Final = 150
_GAP: Final = 0.04
"""Inches round a panel."""
_THINNEST: Final = 0.3
"""Inches of a panel that would be thinner."""
_LONGEST: Final = 44
"""Characters of a scene's id in a title."""
_COLUMNS: Final = 4
_GROUND: Final = "#eceff1"
"""Color of the background class: what lies between the objects should not shout."""
_INK: Final = "#263238"
# Okabe and Ito's palette, which the color-blind can read.
_KINDS: Final = {
    "right": "#009e73",
    "missed": "#0072b2",
    "false": "#d55e00",
    "confused": "#cc79a7",
    "wrong": "#d55e00",
}
_BAR_SHARE: Final = 0.3
"""Of a window's width that its scale bar may take."""


@dataclass(frozen=True, eq=False, slots=True)
class Panel:
    """One window of a scene."""

    scene: str
    box: GeoBox
    image: Float32
    """Shape (height, width, 3), 0 to 1."""
    truth: UInt8
    """Shape (height, width), class ids, 255 = not labeled."""
    mapped: UInt8
    """Shape (height, width), class ids, 255 = nodata."""

    @property
    def wrong(self) -> int:
        """Pixels that have a label and another class."""
        both = (self.truth != IGNORE) & (self.mapped != IGNORE)
        return int((both & (self.truth != self.mapped)).sum())


def draw(path: Path, panels: Sequence[Panel], classes: Sequence[ClassSpec]) -> None:
    """Write windows, at least one, as a PNG: scene, reference, map and difference of each in a row."""
    column = _WIDTH / _COLUMNS
    sizes = [_size(panel.box, column - 2 * _GAP) for panel in panels]
    heights = [height + _GAP for _, height in sizes]
    title, foot = 0.34, 0.62
    total = sum(heights) + title * len(panels) + foot + 0.12
    figure = Figure(figsize=(_WIDTH, total), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    top = total - 0.06
    for panel, (width, height) in zip(panels, sizes, strict=True):
        top -= title
        figure.text(
            0.008, (top + 0.07) / total, _title(panel, classes), fontsize=9.5, color=_INK, parse_math=False
        )
        for place, (head, picture) in enumerate(_pictures(panel, classes).items()):
            left, bottom = (place * column + _GAP) / _WIDTH, (top - height) / total
            axes = figure.add_axes((left, bottom, width / _WIDTH, height / total))
            axes.imshow(picture, interpolation="nearest" if place else "antialiased", aspect="auto")
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set(color="#90a4ae", linewidth=0.6)
            _label(axes, (0.02, 0.975), head, va="top", fontsize=8, pad=1.8)
            if not place:
                _scale_bar(axes, panel.box)
        top -= height + _GAP
    legend = figure.legend(
        handles=_legend(panels, classes),
        loc="lower center",
        ncol=6,
        frameon=False,
        fontsize=9,
        labelcolor=_INK,
        handlelength=1.2,
        handleheight=1.0,
        columnspacing=1.6,
        bbox_to_anchor=(0.5, 0.02 / total),
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    with staged(path) as temporary, warnings.catch_warnings():
        # A scene's id may be written in a script that the font lacks: boxes in a title are no mistake.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(temporary, format="png", dpi=_DPI)


def _pictures(panel: Panel, classes: Sequence[ClassSpec]) -> dict[str, Float32]:
    return {
        "scene": panel.image,
        "reference": _colored(panel.truth, classes),
        "map": _colored(panel.mapped, classes),
        "difference": _difference(panel, classes),
    }


def _color(spec: ClassSpec) -> str:
    return _GROUND if spec.background else spec.color


def _colored(ids: UInt8, classes: Sequence[ClassSpec]) -> Float32:
    """Class ids in their colors; white: none."""
    table = np.ones((256, 3), np.float32)
    for spec in classes:
        table[spec.id] = to_rgb(_color(spec))
    return table[ids]


def _kinds(panel: Panel, classes: Sequence[ClassSpec]) -> dict[str, Bool]:
    """Which pixels are right, missed, false or confused; without a background class right or wrong."""
    truth, mapped = panel.truth, panel.mapped
    both = (truth != IGNORE) & (mapped != IGNORE)
    same = both & (truth == mapped)
    grounds = [spec.id for spec in classes if spec.background]
    if not grounds:
        return {"wrong": both & ~same}
    on_ground, as_ground = np.isin(truth, grounds), np.isin(mapped, grounds)
    return {
        "right": same & ~on_ground,
        "missed": both & as_ground & ~on_ground,
        "false": both & on_ground & ~as_ground,
        "confused": both & ~same & ~on_ground & ~as_ground,
    }


def _difference(panel: Panel, classes: Sequence[ClassSpec]) -> Float32:
    """Colors over the scene in pale gray; what has no label or no map fades to white."""
    gray = panel.image.mean(axis=-1, keepdims=True) * 0.5 + 0.48
    picture: Float32 = np.repeat(np.clip(gray, 0, 1), 3, axis=-1).astype(np.float32)
    for kind, where in _kinds(panel, classes).items():
        share = 0.55 if kind == "right" else 0.82
        picture[where] = (1 - share) * picture[where] + share * np.array(to_rgb(_KINDS[kind]), np.float32)
    away = (panel.truth == IGNORE) | (panel.mapped == IGNORE)
    picture[away] = 0.15 * picture[away] + np.float32(0.85)
    return picture


def _title(panel: Panel, classes: Sequence[ClassSpec]) -> str:
    """Scene, IoU here, and where: the window's center in the scene's CRS."""
    confusion = Confusion.of(panel.truth, panel.mapped, len(classes))
    shown = [spec for spec in classes if not spec.background]
    if len(shown) == 1:
        value, name = confusion.iou[shown[0].id], f"IoU {shown[0].name}"
    else:
        value, name = mean_iou([confusion]), "mIoU"
    number = "–" if value is None else f"{value:.2f}"
    accuracy = "–" if confusion.accuracy is None else f"{1 - confusion.accuracy:.0%}"
    scene = panel.scene
    if len(scene) > _LONGEST:
        scene = f"{scene[: _LONGEST // 2]}…{scene[-_LONGEST // 2 :]}"
    return f"{scene}   ·   {name} {number}   ·   {accuracy} wrong   ·   {_place(panel.box)}"


def _place(box: GeoBox) -> str:
    x, y = box.transform @ (box.width / 2, box.height / 2)
    name, geographic = _crs(box.crs)
    ground = ground_resolution(box)
    across, down = ground.across * box.width, ground.down * box.height
    size = " × ".join(f"{side:.0f} m" if side >= 10 else f"{side:.1f} m" for side in (across, down))  # noqa: PLR2004 - two digits
    if geographic:
        return f"{y:.5f}°, {x:.5f}°   ({name})   ·   {size}"
    return f"{x:,.0f}  {y:,.0f}   ({name})   ·   {size}".replace(",", "\N{NARROW NO-BREAK SPACE}")


@lru_cache(maxsize=16)
def _crs(text: str) -> tuple[str, bool]:
    crs = CRS.from_user_input(text)
    return (text if len(text) < len("AUTHORITY:123456") else crs.name), crs.is_geographic


def _size(box: GeoBox, side: float) -> tuple[float, float]:
    """Width and height of a panel in inches, true to the ground, in a square of a side; a line stays seen."""
    ground = ground_resolution(box)
    ratio = ground.down * box.height / (ground.across * box.width)
    return max(_THINNEST, side / max(1.0, ratio)), max(_THINNEST, side * min(1.0, ratio))


def _label(
    axes: Axes, place: tuple[float, float], text: str, *, va: str, fontsize: float, pad: float
) -> None:
    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": pad}
    axes.text(*place, text, transform=axes.transAxes, va=va, fontsize=fontsize, color=_INK, bbox=box)


def _scale_bar(axes: Axes, box: GeoBox) -> None:
    meters = ground_resolution(box).across * box.width
    power = 10.0 ** math.floor(math.log10(meters * _BAR_SHARE))
    length = max(step * power for step in (1, 2, 5) if step * power <= meters * _BAR_SHARE)
    share, left, low = length / meters, 0.04, 0.045
    for pad, color in ((0.006, "white"), (0.0, _INK)):
        axes.add_patch(
            Rectangle(
                (left - pad, low - pad),
                share + 2 * pad,
                0.014 + 2 * pad,
                transform=axes.transAxes,
                facecolor=color,
                edgecolor="none",
            )
        )
    text = f"{length:g} m" if length < 1000 else f"{length / 1000:g} km"  # noqa: PLR2004 - a kilometer
    _label(axes, (left, low + 0.034), text, va="bottom", fontsize=7.5, pad=1.2)


def _legend(panels: Sequence[Panel], classes: Sequence[ClassSpec]) -> list[Patch]:
    """Classes first, then the kinds of difference that occur."""
    entries = [(_color(spec), spec.title) for spec in classes]
    seen = {kind for panel in panels for kind, where in _kinds(panel, classes).items() if where.any()}
    labels = {"missed": "missed (reference only)", "false": "false (map only)", "right": "in both"}
    entries += [(color, labels.get(kind, kind)) for kind, color in _KINDS.items() if kind in seen]
    return [
        Patch(facecolor=color, edgecolor="#90a4ae", linewidth=0.5, label=label) for color, label in entries
    ]
