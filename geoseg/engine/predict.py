"""One task: read, predict and stitch consecutive window rows, and leave them as a partial result."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from geoseg.arrays import Array, Float32, UInt8
from geoseg.engine.contract import examine
from geoseg.engine.partials import PartialManifest, find_partial, write_partial
from geoseg.engine.plan import RULES, PredictTask
from geoseg.errors import SceneError, of_scene
from geoseg.grid.encoding import NODATA, ProbabilityEncoding
from geoseg.grid.stitch import Prediction, Stitcher, WindowOverlaps
from geoseg.grid.tiling import WindowRows
from geoseg.grid.window import Window
from geoseg.io.raster.reader import Reader, stretched
from geoseg.io.raster.scene_reader import ReadAhead, kept_reader
from geoseg.models.predictor import Predictor
from geoseg.stages import stage

__all__ = ["WindowPredictor", "predict_and_stitch", "predict_window_rows"]


class WindowPredictor:
    """Reads and predicts windows on the model's grid; ``stretch``: the values that become 0 and 255."""

    def __init__(self, reader: Reader, predictor: Predictor, stretch: tuple[float, float] | None) -> None:
        self._reader = reader
        self._predictor = predictor
        self._stretch = stretch
        self.windows = 0
        self.skipped = 0

    def __call__(self, windows: Sequence[Window]) -> list[Prediction]:
        """Predictions of some windows, in order; a window without data is not computed."""
        with stage("read") as reading:
            read = [self._reader.read(window) for window in windows]
            reading.count(sum(raster.pixels.nbytes for raster in read))
        full = [index for index, raster in enumerate(read) if raster.valid.any()]
        self.windows += len(full)
        self.skipped += len(windows) - len(full)
        logits: dict[int, Float32] = {}
        if full:
            pixels = _together([stretched(read[index].pixels, self._stretch) for index in full])
            valid = _together([read[index].valid for index in full])
            with stage("forward"):
                logits = dict(zip(full, self._predictor.logits(pixels, valid), strict=True))
        for index, answer in logits.items():
            if not np.isfinite(answer).all():
                raise SceneError(
                    f"the model gives no finite number in {windows[index]}: pixels hold values "
                    "beyond all measure, such as -3.4e38 for no data; declare them as nodata (scenes.nodata, "
                    "or in the file)"
                )
        return [Prediction(logits.get(index), raster.valid) for index, raster in enumerate(read)]


def _together(arrays: Sequence[Array]) -> Array:
    """Arrays of one shape along a new first axis; one array alone is not copied."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


def predict_and_stitch(
    stitcher: Stitcher,
    encoding: ProbabilityEncoding,
    batch: int,
    rows: WindowRows,
    predict: WindowPredictor,
    *,
    cols: range | None = None,
) -> tuple[UInt8, WindowOverlaps]:
    """Predict and stitch the window rows of one task, ``batch`` windows per forward pass.

    ``cols``: under crop, some of the columns of windows; None: all. Gives the encoded probabilities of the
    scene's rows (and columns) that they finish, uint8 (bands, rows, columns), and the overlaps that neighbors
    complete.
    """
    first, stop = stitcher.finished_rows(rows)
    left, right = (0, stitcher.tiles.cols.length) if cols is None else stitcher.finished_cols(cols)
    finished = np.empty((encoding.count, max(0, stop - first), right - left), np.uint8)

    def emit(window: Window, found: Prediction) -> None:
        with stage("encode") as encoded:
            stored = finished[:, *window.shift(-first, -left).slices]
            stored[...] = NODATA if found.logits is None else encoding.encode(found.logits)
            np.copyto(stored, NODATA, where=~found.valid)
            encoded.count(stored.size)

    with stage("stitch"):
        return finished, stitcher.stitch(rows, predict, batch, emit, cols)


def predict_window_rows(task: PredictTask) -> PartialManifest:
    """Predict the window rows of one task, or find them finished; what a worker runs.

    Raises:
        RunError: device, precision or libraries of this worker are not those of the plan.
        SceneError: the scene cannot be read, or a sample of it (taken by the task of its first rows) shows no
            valid pixel or values that the model cannot take.
        BundleError: the weights are not those of the plan.
        OutputError: the partial result cannot be written.
    """
    with of_scene(task.plan.scene.ref.id):
        return _predict_window_rows(task)


def _predict_window_rows(task: PredictTask) -> PartialManifest:
    start = time.perf_counter()
    plan = task.plan
    done = find_partial(plan.partials_folder, task.name, plan.fingerprint)
    if done is not None:
        return done
    plan.runtime.check()
    warnings: tuple[str, ...] = ()
    if task.is_first:  # once for a scene, before anything of it is computed
        with stage("sample"):
            warnings = examine(plan.scene, plan.grid, plan.bundle.spec, plan.stretch).warnings
    with stage("load network"):
        predictor = Predictor(plan.bundle, plan.runtime)
    reader = ReadAhead(kept_reader(plan.scene, plan.grid), (*task.windows, *task.ahead), plan.tiles.batch)
    windows = WindowPredictor(reader, predictor, plan.stretch)
    finished, overlaps = predict_and_stitch(
        plan.stitcher, plan.encoding, plan.tiles.batch, task.rows, windows, cols=task.cols
    )
    arrays = {"probabilities": finished, "top": overlaps.top, "bottom": overlaps.bottom}
    manifest = PartialManifest(
        name=task.name,
        fingerprint=plan.fingerprint,
        files={},
        windows=windows.windows,
        skipped=windows.skipped,
        seconds=time.perf_counter() - start,
        warnings=warnings,
        rules=RULES,
    )
    return write_partial(plan.partials_folder, {k: v for k, v in arrays.items() if v is not None}, manifest)
