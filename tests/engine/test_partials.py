"""Partial results: what is found again is what was written."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoseg.engine.partials import PartialManifest, find_partial, open_partial, write_partial
from geoseg.io.files import sha256_of


def test_a_partial_result_is_found_until_a_byte_of_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More bytes than numpy writes at once.
    large = np.random.default_rng(0).integers(0, 201, (2, 3000, 3000), np.uint8)
    arrays = {"probabilities": large, "top": np.float32([[[1, np.nan]]]), "bottom": np.empty((2, 0, 3))}
    plain = PartialManifest(name="a", fingerprint="f", files={}, windows=1, skipped=0, seconds=0.5)
    with monkeypatch.context() as patched:
        patched.delattr("os.fsync")  # it waits for no disk
        written = write_partial(tmp_path, arrays, plain)
    assert written.files == {name: sha256_of(tmp_path / f"a.{name}.npy") for name in arrays}
    assert find_partial(tmp_path, "a", "f") == written
    assert find_partial(tmp_path, "a", "g") is None
    for name, array in arrays.items():
        assert open_partial(tmp_path, written, name).tobytes() == array.tobytes()
    file = tmp_path / "a.probabilities.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    assert find_partial(tmp_path, "a", "f") is None


def test_headers_are_read_by_one_thread_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy reads them by ``ast``, and Python 3.11 has one count for all threads that make syntax trees.

    Where garbage is collected meanwhile, so that another thread goes on, it raises a SystemError: of four
    threads once or twice in ten thousand reads.
    """
    plain = PartialManifest(name="a", fingerprint="f", files={}, windows=1, skipped=0, seconds=0.5)
    written = write_partial(tmp_path, {"x": np.zeros((3, 4, 5), np.uint8)}, plain)
    load, reading, together = np.load, [0], []

    def slow(*arguments: Any, **options: Any) -> Any:
        reading[0] += 1
        together.append(reading[0])
        time.sleep(0.02)
        reading[0] -= 1
        return load(*arguments, **options)

    monkeypatch.setattr(np, "load", slow)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: open_partial(tmp_path, written, "x").sum(), range(8)))
    assert found == [0] * 8
    assert together == [1] * 8
