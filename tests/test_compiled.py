"""Loops are compiled with and without a place to keep them."""

from __future__ import annotations

import numpy as np
import pytest
from numba.core import caching
from numpy.typing import NDArray

from geoseg.compiled import compiled


def total(values: NDArray[np.int64]) -> int:
    found = 0
    for value in values:
        found += value
    return found


@pytest.mark.parametrize("writable", [True, False])
def test_a_loop_computes_what_it_says(writable: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a parameter
    if not writable:
        monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    loop = compiled(total)
    assert loop is not total
    assert loop(np.arange(5)) == 10
