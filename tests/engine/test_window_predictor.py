"""What predicts windows, with a reader that holds no file."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from support.memory_reader import MemoryReader
from synthetic.bundles import random_bundle

from geoseg.engine.predict import WindowPredictor
from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window
from geoseg.models.bundle import Bundle
from geoseg.models.predictor import Predictor

BOX = GeoBox(500, 400, Affine(0.3, 0, 621000, 0, -0.3, 3349000), "EPSG:26914")


@pytest.fixture(scope="module")
def micronet(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return random_bundle(tmp_path_factory.mktemp("micronet"), "micronet", arguments={"widths": [8, 16]})


def test_windows_are_read_once_and_computed_where_they_have_data(micronet: Bundle) -> None:
    reader = MemoryReader(BOX, 3, lambda rows, cols: np.where(cols < 64, np.nan, (7.0 * rows + cols) % 256))
    predict = WindowPredictor(reader, Predictor(micronet), None)
    asked = [Window(0, 0, 64, 64), Window(0, 32, 64, 64), Window(-32, 336, 64, 64)]
    found = predict(asked)
    assert reader.windows == asked
    assert (predict.windows, predict.skipped) == (2, 1)
    assert found[0].logits is None
    assert not found[0].valid.any()
    assert [one.valid.sum() for one in found[1:]] == [64 * 32, 64 * 64]
    alone = WindowPredictor(reader, Predictor(micronet), None)(asked[1:2])[0]
    assert alone.logits is not None
    assert found[1].logits is not None
    assert alone.logits.tobytes() == found[1].logits.tobytes()


def test_a_stretch_maps_its_two_values_to_black_and_white(micronet: Bundle) -> None:
    def logits(low: float, high: float, stretch: tuple[float, float] | None) -> np.ndarray:
        reader = MemoryReader(BOX, 3, lambda rows, cols: np.where((rows + cols) % 2, low, high))
        (found,) = WindowPredictor(reader, Predictor(micronet), stretch)([Window(0, 0, 64, 64)])
        assert found.logits is not None
        return found.logits

    wanted = logits(0, 255, None)
    assert logits(1000, 1255, (1000, 1255)).tobytes() == wanted.tobytes()
    assert logits(-5000, 9999, (1000, 1255)).tobytes() == wanted.tobytes(), "what lies beyond is clipped"
