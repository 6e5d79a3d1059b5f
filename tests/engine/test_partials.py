"""Partial results: what is found again is what was written."""

from __future__ import annotations

import subprocess
import sys
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


THREADS = """
import gc, sys, threading
from pathlib import Path
import numpy as np
from geoseg.engine.partials import PartialManifest, open_partial, write_partial

class Cycle:
    def __init__(self):
        self.own = self
    def __del__(self):
        sum(range(50))  # another thread may go on meanwhile

folder = Path(sys.argv[1])
plain = PartialManifest(name="a", fingerprint="f", files={}, windows=1, skipped=0, seconds=0.5)
written = write_partial(folder, {"x": np.zeros((3, 40, 50), np.uint8)}, plain)
errors = []

def read():
    for _ in range(1500):
        Cycle()
        try:
            open_partial(folder, written, "x")
        except BaseException as error:
            errors.append(error)

gc.set_threshold(7, 2, 2)
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=read) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not errors, errors
"""


def test_threads_open_partial_results_at_the_same_time(tmp_path: Path) -> None:
    """Python 3.11 has one count for all threads that make syntax trees, which numpy's headers are read by."""
    subprocess.run([sys.executable, "-c", THREADS, str(tmp_path)], check=True)
