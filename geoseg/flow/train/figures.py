"""What a finished training looks like: its curves, and held-out blocks beside their truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from geoseg.flow.evaluate.worst_figure import Panel, draw
from geoseg.grid.encoding import IGNORE
from geoseg.grid.window import Window
from geoseg.io.files import staged
from geoseg.score.pixels.confusion import Confusion
from geoseg.training.logs import read_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from geoseg.arrays import Float32, UInt8
    from geoseg.config.model.contract import BundleSpec, ClassSpec
    from geoseg.models.predictor import Predictor
    from geoseg.training.data.file_scene import FileScene
    from geoseg.training.progress import TrainResult
    from geoseg.training.validate import Score, Validation, ValidationWindow

__all__ = ["draw_figures"]

CURVES_NAME = "curves.png"
PREDICTIONS_NAME = "predictions.png"

_DPI: Final = 150
_INK: Final = "#263238"
_PALE: Final = "#b0bec5"
_TRAINED: Final = "#0072b2"
_HELD: Final = "#d55e00"
_PLACES: Final = ("#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f6aa8", "#8d6e63", "#607d8b", "#c0a000")
"""Okabe and Ito's palette first, which the color-blind can read."""
_SHOWN: Final = (("worst", 0.0), ("", 0.2), ("median", 0.5), ("", 0.65), ("", 0.85), ("best", 1.0))
"""Which held-out blocks are shown, by their rank."""
_LEAST: Final = 0.5  # labeled pixels of a block that is shown, as a share of those of the fullest


def draw_figures(
    output: Path, predictor: Predictor, validation: Validation, result: TrainResult, before: Score
) -> tuple[Path, ...]:
    """Draw the curves of a training and its predictions on held-out blocks.

    Returns:
        The pictures: curves, and predictions where a held-out block shows anything of a class.

    Raises:
        OutputError: a picture cannot be written.
    """
    curves, predictions = output / CURVES_NAME, output / PREDICTIONS_NAME
    figure = Figure(figsize=(11.0, 4.2), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(
        predictor.spec.title, fontsize=11, color=_INK, x=0.012, y=0.975, ha="left", parse_math=False
    )
    margins = {"left": 0.05, "right": 0.985, "bottom": 0.115, "top": 0.855, "wspace": 0.12}
    losses, scores = cast("Sequence[Axes]", figure.subplots(1, 2, gridspec_kw=margins))
    steps = [(entry["step"], entry["loss"]) for entry in read_log(output) if entry["event"] == "step"]
    inner = any(key.startswith("auxiliary.") for key in result.state)
    _losses(losses, steps, result.history, inner=inner)
    _scores(scores, result.history, before.chosen, validation.scored)
    last = max([1, *(row["step"] for row in result.history), *(step for step, _ in steps)])
    for axes in (losses, scores):
        _style(axes, result.step, last)
    with staged(curves) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)
    predictions.unlink(missing_ok=True)
    shown = draw_predictions(predictions, predictor, validation, predictor.spec.classes)
    return (curves, predictions) if shown else (curves,)


def _losses(
    axes: Axes, steps: Sequence[tuple[int, float]], history: Sequence[dict[str, Any]], *, inner: bool
) -> None:
    """Losses over the steps; ``inner``: the training's counts inner outputs, which held-out blocks lack."""
    at = [row["step"] for row in history]
    if steps:
        known = np.array(steps, float)
        axes.plot(known[:, 0], known[:, 1], color=_PALE, linewidth=0.6, label="training, each step")
    mean = "training, mean, with inner outputs" if inner else "training, mean"
    axes.plot(at, [row["loss"] for row in history], color=_TRAINED, linewidth=1.6, label=mean)
    axes.plot(
        at,
        [row["validation_loss"] for row in history],
        color=_HELD,
        linewidth=1.6,
        marker="o",
        markersize=3,
        label="held-out blocks, main output" if inner else "held-out blocks",
    )
    axes.set_title("loss", fontsize=9.5, color=_INK, loc="left")
    if steps:
        # The first steps of random weights would press all that follows into a line.
        high = float(np.quantile(known[:, 1], 0.98))
        axes.set_ylim(min(0.0, float(known[:, 1].min())), 1.05 * max(high, history[0]["loss"]))


def _style(axes: Axes, kept: int, last: int) -> None:
    axes.axvline(kept, color=_INK, linewidth=0.8, linestyle=(0, (2, 2)), label=f"kept: step {kept:,}")
    axes.set_xlim(0, last)
    axes.set_xlabel("step", fontsize=9, color=_INK)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.tick_params(labelsize=8, colors=_INK, length=3)
    axes.grid(visible=True, color="#eceff1", linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#90a4ae")
    axes.legend(fontsize=8, frameon=False, labelcolor=_INK)


def _scores(axes: Axes, history: Sequence[dict[str, Any]], before: float, scored: Sequence[int]) -> None:
    at = [row["step"] for row in history]
    places = sorted({place for row in history for place in row["iou"]})
    for place, color in zip(places[: len(_PLACES)], _PLACES, strict=False):
        means = []
        for row in history:
            found = [v for k, v in enumerate(row["iou"][place]) if v is not None and k in scored]
            means.append(float(np.mean(found)) if found else np.nan)
        if len(places) > 1:
            axes.plot(at, means, color=color, linewidth=1.0, label=place)
    line = [(0, before), *((row["step"], row["score"]) for row in history)]
    along, values = zip(*line, strict=True)
    axes.plot(
        along, values, color=_HELD, linewidth=2.0, marker="o", markersize=3, clip_on=False, label="score"
    )
    axes.set_ylim(0, 1)
    axes.set_title("mean IoU on held-out blocks", fontsize=9.5, color=_INK, loc="left")


def draw_predictions(
    path: Path, predictor: Predictor, validation: Validation, classes: Sequence[ClassSpec]
) -> int:
    """Held-out blocks as a PNG, worst to best: image, truth, prediction, difference.

    Blocks are scored in a first pass, and only those to be shown are predicted again, so that memory does not
    grow with the scenes.

    Returns:
        How many are shown; with none, no picture is written.

    Raises:
        OutputError: the picture cannot be written.
    """
    tables: dict[_Block, Confusion] = {}
    for seen in validation.windows():
        mapped = _mapped(predictor, seen)
        for block, part in _blocks(validation, seen):
            table = Confusion.of(seen.labels[part.slices], mapped[part.slices], len(classes))
            tables[block] = tables.get(block, Confusion.zeros(len(classes))) + table
    ranked = _ranked(tables, classes)
    chosen: dict[_Block, str] = {}
    for name, rank in _SHOWN if ranked else ():
        chosen.setdefault(ranked[round(rank * (len(ranked) - 1))], name)
    parts: dict[_Block, list[_Part]] = {block: [] for block in chosen}
    for seen in validation.windows():
        wanted = [(block, part) for block, part in _blocks(validation, seen) if block in chosen]
        mapped = _mapped(predictor, seen) if wanted else seen.labels
        for block, part in wanted:
            place = part.shift(seen.window.row, seen.window.col)
            parts[block].append(_Part(place, seen.labels[part.slices], mapped[part.slices]))
    panels = [_panel(validation, predictor.spec, block, name, parts[block]) for block, name in chosen.items()]
    if panels:
        draw(path, panels, classes)
    return len(panels)


class _Block(NamedTuple):
    """A block of the split."""

    scene: int
    row: int
    col: int


class _Part(NamedTuple):
    """The part of a block that one window scores."""

    window: Window  # in the scene's own count of the network's pixels
    truth: UInt8
    mapped: UInt8


def _mapped(predictor: Predictor, seen: ValidationWindow) -> UInt8:
    (found,) = predictor.classes(seen.pixels[None], seen.valid[None])
    return np.where(seen.valid, found.astype(np.uint8), np.uint8(IGNORE))


def _ranked(tables: dict[_Block, Confusion], classes: Sequence[ClassSpec]) -> list[_Block]:
    """Blocks from the worst to the best; those that are hardly labeled, or rightly empty, show nothing."""
    full = max((table.pixels for table in tables.values()), default=0)
    scores: dict[_Block, float] = {}
    for block, table in tables.items():
        found = [v for spec in classes if not spec.background and (v := table.iou[spec.id]) is not None]
        if found and table.pixels >= _LEAST * full:
            scores[block] = float(np.mean(found))
    return sorted(scores, key=lambda block: (scores[block], block))


def _blocks(validation: Validation, seen: ValidationWindow) -> list[tuple[_Block, Window]]:
    """The blocks in a window, each with the smallest window around what is labeled of it there."""
    number = validation.scenes.index(seen.scene)
    side = seen.scene.split.block / seen.scene.resolution
    origin = seen.scene.origin
    rows, cols = np.nonzero(seen.labels != IGNORE)
    # A pixel belongs to the block that its center lies in: blocks were cut by rounding, too.
    down = np.floor((rows + seen.window.row + origin[0] + 0.5) / side).astype(int)
    across = np.floor((cols + seen.window.col + origin[1] + 0.5) / side).astype(int)
    found = []
    for row, col in sorted(set(zip(down.tolist(), across.tolist(), strict=True))):
        inside = (down == row) & (across == col)
        top, left = int(rows[inside].min()), int(cols[inside].min())
        height, width = int(rows[inside].max()) + 1 - top, int(cols[inside].max()) + 1 - left
        found.append((_Block(number, row, col), Window(top, left, height, width)))
    return found


def _panel(
    validation: Validation, spec: BundleSpec, block: _Block, name: str, parts: Sequence[_Part]
) -> Panel:
    scene = cast("FileScene", validation.scenes[block.scene])
    row, col = min(p.window.row for p in parts), min(p.window.col for p in parts)
    height, width = max(p.window.row_stop for p in parts) - row, max(p.window.col_stop for p in parts) - col
    window = Window(row, col, height, width)
    truth, mapped = np.full((2, height, width), IGNORE, np.uint8)
    for part in parts:
        place = part.window.relative_to(window).slices
        known = part.truth != IGNORE
        truth[place][known], mapped[place][known] = part.truth[known], part.mapped[known]
    label = f"{name}: {scene.name}" if name else scene.name
    image = _image(scene, window, spec)
    return Panel(label, scene.grid[window.shift(*scene.origin)], image, truth, mapped)


def _image(scene: FileScene, window: Window, spec: BundleSpec) -> Float32:
    """A window as it is drawn, (H, W, 3), 0 to 1; white where there is no data."""
    patch = scene.patch(window)
    colors = ("red", "green", "blue")
    bands = [spec.bands.index(c) for c in colors] if set(colors) <= set(spec.bands) else [0, 0, 0]
    mean, std = (np.array(values)[bands, None, None] for values in (spec.scaling.mean, spec.scaling.std))
    # What lies within two and a half deviations of the training's mean spans black to white.
    low, high = np.maximum(mean - 2.5 * std, 0.0), mean + 2.5 * std
    if patch.pixels.dtype == np.uint8:
        low, high = np.zeros_like(low), np.full_like(high, 255.0)
    image = np.clip((patch.pixels[bands] - low) / (high - low), 0, 1)
    return np.moveaxis(np.where(patch.valid, image, 1.0), 0, -1).astype(np.float32)
