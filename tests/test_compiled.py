"""Loops are compiled with and without a place to keep them."""

from __future__ import annotations

import subprocess
import sys

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


@compiled
def twice(values: NDArray[np.int64]) -> int:
    return 2 * total_of(values)


total_of = compiled(total)


def test_loops_call_each_other() -> None:
    assert twice(np.arange(5)) == 20


def test_a_loop_is_described_as_its_function() -> None:
    assert total_of.__name__ == total.__name__
    assert total_of.__module__ == __name__


def test_no_loop_is_compiled_and_no_compiler_imported_before_it_is_called() -> None:
    probe = (
        "import sys, numpy as np; from geoseg.polygons.walls.fit import collapse_rings;"
        "from geoseg.engine import assemble, predict; assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", probe], check=True)
