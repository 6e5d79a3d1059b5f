"""One task: read, predict and stitch a band of windows, and leave it as a part."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from geoseg.arrays import Float32, UInt8
from geoseg.engine.partials import PartialManifest, find_part, write_partial
from geoseg.engine.plan import PredictTask
from geoseg.errors import SceneError
from geoseg.grid.encoding import ProbabilityEncoding
from geoseg.grid.stitch import Prediction, Seams, Stitcher
from geoseg.grid.tiling import WindowRows
from geoseg.grid.window import Window
from geoseg.io.raster.reader import Reader, stretched
from geoseg.io.raster.scene_reader import SceneReader
from geoseg.models.predictor import Predictor

__all__ = ["WindowPredictor", "predict_band", "predict_window_rows"]


class WindowPredictor:
    """Reads windows and predicts them: what every part of a map is made with.

    Args:
        name: what the windows are of, for errors.
        reader: the pixels, on the model's grid.
        predictor: the network.
        stretch: stored values that become 0 and 255, or None.
    """

    def __init__(
        self,
        name: str,
        reader: Reader,
        predictor: Predictor,
        stretch: tuple[float, float] | None,
    ) -> None:
        self._name = name
        self._reader = reader
        self._predictor = predictor
        self._stretch = stretch
        self.windows = 0
        self.skipped = 0

    def __call__(self, windows: Sequence[Window]) -> list[Prediction]:
        """Predictions of some windows, in order; a window without data is not computed.

        Raises:
            SceneError: the network's answer is no number, which would pass for nodata.
        """
        read = [self._reader.read(window) for window in windows]
        full = [index for index, raster in enumerate(read) if raster.valid.any()]
        self.windows += len(full)
        self.skipped += len(windows) - len(full)
        logits: dict[int, Float32] = {}
        if full:
            pixels = np.stack([stretched(read[index].pixels, self._stretch) for index in full])
            valid = np.stack([read[index].valid for index in full])
            logits = dict(zip(full, self._predictor.logits(pixels, valid), strict=True))
        for index, answer in logits.items():
            if not np.isfinite(answer).all():
                raise SceneError(
                    f"{self._name}: the model gives no finite number in {windows[index]}: pixels hold values "
                    "beyond all measure, such as -3.4e38 for no data; declare them as nodata (scenes.nodata, "
                    "or in the file)"
                )
        return [Prediction(logits.get(index), raster.valid) for index, raster in enumerate(read)]


def predict_band(
    stitcher: Stitcher, layout: ProbabilityEncoding, batch: int, band: WindowRows, predict: WindowPredictor
) -> tuple[UInt8, Seams]:
    """Predict and stitch one band.

    Args:
        stitcher: windows of the model's grid.
        layout: how logits are stored.
        batch: windows per forward pass.
        band: rows of windows.
        predict: reads and predicts windows.

    Returns:
        The quantized store of the rows that the band finishes, uint8 (bands, rows, scene width), and its
        seams.
    """
    first, stop = stitcher.finished_rows(band)
    store = np.empty((layout.planes, max(0, stop - first), stitcher.tiles.cols.length), np.uint8)

    def emit(window: Window, logits: Float32) -> None:
        store[:, *window.shift(-first, 0).slices] = layout.quantize(logits)

    return store, stitcher.stitch(band, predict, batch, emit)


def predict_window_rows(task: PredictTask) -> PartialManifest:
    """Make the part of one band, or find it finished; what a worker runs.

    Raises:
        RunError: this worker would compute otherwise than the plan says.
        SceneError: the scene cannot be read.
        BundleError: the weights are not those of the plan.
        OutputError: the part cannot be written.
    """
    start = time.perf_counter()
    plan = task.plan
    done = find_part(plan.partials_folder, task.name, plan.fingerprint)
    if done is not None:
        return done
    plan.runtime.check()
    predictor = Predictor(
        plan.bundle,
        device=plan.runtime.device,
        precision=plan.runtime.precision,
        threads=plan.runtime.threads,
    )
    with SceneReader(plan.scene, plan.grid) as reader:
        windows = WindowPredictor(f"scene {plan.scene.ref.id}", reader, predictor, plan.stretch)
        store, seams = predict_band(plan.stitcher, plan.layout, plan.tiles.batch, task.band, windows)
    arrays = {"store": store, "top": seams.top, "bottom": seams.bottom}
    receipt = PartialManifest(
        name=task.name,
        fingerprint=plan.fingerprint,
        files={},
        windows=windows.windows,
        skipped=windows.skipped,
        seconds=time.perf_counter() - start,
    )
    return write_partial(plan.partials_folder, {k: v for k, v in arrays.items() if v is not None}, receipt)
