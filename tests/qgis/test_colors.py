"""Colors of classes that have none."""

from __future__ import annotations

import re

import numpy as np
import pytest

from geoseg.io.qgis.colors import class_colors, seen_colors
from geoseg.io.raster.score_raster import MOST_CLASSES


@pytest.mark.parametrize(("count", "least"), [(2, 40), (7, 15), (11, 11), (24, 7), (MOST_CLASSES, 1)])
def test_colors_are_apart_to_every_eye(count: int, least: float) -> None:
    """Two colors are told apart from a distance (CIE76) of about 2.3 on."""
    colors = class_colors(count)
    assert len(set(colors)) == count
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in colors)
    for seen in seen_colors(list(colors)):
        distances = np.linalg.norm(seen[:, None] - seen, axis=-1)
        assert distances[np.triu_indices(count, 1)].min() >= least


def test_more_classes_keep_the_colors_of_fewer() -> None:
    assert class_colors(0) == ()
    for count in (1, 3, 8, 40):
        assert class_colors(41)[:count] == class_colors(count)


def test_lab_is_that_of_known_colors() -> None:
    """White, sRGB red and blue, as every converter has them; gray is gray to every eye."""
    white, red, blue = seen_colors(["#ffffff", "#ff0000", "#0000ff"])[0]
    assert white == pytest.approx((100, 0, 0), abs=0.02)
    assert red == pytest.approx((53.24, 80.09, 67.20), abs=0.05)
    assert blue == pytest.approx((32.30, 79.19, -107.86), abs=0.05)
    assert seen_colors(["#777777"])[1:, 0, 1:] == pytest.approx(np.zeros((2, 2)), abs=0.2)
