"""Values that look like no data though nothing declares them."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.io.raster.sample import undeclared_fill

LOWEST = float(np.finfo(np.float32).min)


@pytest.mark.parametrize(
    ("dtype", "held", "where", "factor", "expected"),
    [
        ("int16", -9999, "one band", (1.0, 0.0), -9999),
        ("int16", -9999, "one band", (0.0001, -0.1), -9999),
        ("int16", -32768, "one band", (1.0, 0.0), -32768),
        ("uint16", 65535, "one band", (1.0, 0.0), 65535),
        ("float32", 65535, "one band", (1.0, 0.0), None),
        ("float32", LOWEST, "one band", (1.0, 0.0), LOWEST),
        ("uint8", 0, "one band", (1.0, 0.0), None),
        ("uint8", 0, "all bands", (1.0, 0.0), 0),
        ("uint8", 255, "all bands", (1.0, 0.0), 255),
        ("uint16", 255, "all bands", (1.0, 0.0), None),
        ("uint16", 0, "all bands", (0.0001, -0.1), 0),
        ("int16", -9998, "all bands", (1.0, 0.0), None),
    ],
)
def test_fills_that_nothing_declares_are_found(
    dtype: str, held: float, where: str, factor: tuple[float, float], expected: float | None
) -> None:
    stored = np.full((3, 1000), 90.0)
    stored[: 1 if where == "one band" else 3, :100] = held
    values = (stored * factor[0] + factor[1]).astype(np.float32)
    found = undeclared_fill(values, [factor] * 3, dtype)
    assert (found[0] if found else None) == (None if expected is None else pytest.approx(expected))
    if found:
        assert found[1].startswith("10 % of the sampled pixels")


def test_a_few_dark_pixels_are_no_fill() -> None:
    values = np.full((3, 1000), 90.0, np.float32)
    values[:, :40] = 0
    assert undeclared_fill(values, [(1.0, 0.0)] * 3, "uint8") is None
    assert undeclared_fill(values[:, :0], [(1.0, 0.0)] * 3, "uint8") is None
