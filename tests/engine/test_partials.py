"""Partial results: what is found again is what was written."""

from __future__ import annotations

from pathlib import Path

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
