"""What the benchmarks of speed count: seams at the borders of windows, and what processes take."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from scipy import ndimage

from geoseg.arrays import UInt8


@pytest.fixture
def benchmark(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the benchmarks, by its name."""
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    return importlib.import_module


def written(path: Path, classes: UInt8) -> Path:
    profile = {"driver": "GTiff", "height": 300, "width": 300, "count": 1, "dtype": "uint8"}
    grid = {"crs": "EPSG:32633", "transform": Affine(0.3, 0, 500_000, 0, -0.3, 5_000_000)}
    with rasterio.open(path, "w", **profile, **grid) as target:
        target.write(classes, 1)
    return path


def test_a_seam_is_found_and_what_a_scene_holds_is_none(benchmark: Any, tmp_path: Path) -> None:
    peers = benchmark("peers")
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(300, 300)), 4)
    town = (noise > 0).astype(np.uint8)
    town[100] = np.arange(300) % 2  # a row of small things, just where windows meet
    plain = written(tmp_path / "plain.tif", town)
    others = [peers.Lines.of(plain, [[250], [250]])]
    assert peers.seams(peers.Lines.of(plain, [[100], [150]]), others) == pytest.approx(1)
    town[150:] = np.roll(town[150:], 5, axis=1)
    broken = written(tmp_path / "broken.tif", town)
    assert peers.seams(peers.Lines.of(broken, [[150], []]), others) > 2
    assert peers.seams(peers.Lines.of(broken, [[120], []]), others) == pytest.approx(1, abs=0.1)


def test_seams_are_unknown_without_borders_and_without_a_map_that_has_none_there(
    benchmark: Any, tmp_path: Path
) -> None:
    peers = benchmark("peers")
    path = written(tmp_path / "map.tif", np.eye(300, dtype=np.uint8))
    own = peers.Lines.of(path, [[100], [100]])
    assert peers.seams(peers.Lines.of(path, None), [own]) is None
    assert peers.seams(own, [peers.Lines.of(path, None), peers.Lines.of(path, [[130], [90]])]) is None


def test_an_arm_is_charged_for_what_it_starts(benchmark: Any, tmp_path: Path) -> None:
    measure = benchmark("measure")
    work = "import sys; x = bytearray(60_000_000); sum(range(20_000_000)); print('{\"done\": true}')"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}], check=True)"
    alone = measure.take(measure.Arm("alone", (sys.executable, "-c", work)), tmp_path)
    below = measure.take(measure.Arm("below", (sys.executable, "-c", parent)), tmp_path)
    assert below.said == alone.said == {"done": True}
    assert below.cpu > 0.5 * alone.cpu
    assert min(alone.peak_mb, below.peak_mb) > 60
    with pytest.raises(SystemExit, match="fails failed"):
        measure.take(measure.Arm("fails", (sys.executable, "-c", "raise SystemExit(3)")), tmp_path)


def test_what_an_arm_leaves_is_waited_for_and_no_other_child(benchmark: Any, tmp_path: Path) -> None:
    measure = benchmark("measure")
    done = tmp_path / "done"
    later = f"import time; time.sleep(0.5); sum(range(20_000_000)); open({str(done)!r}, 'w')"
    leaves = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {later!r}])"
    with subprocess.Popen((sys.executable, "-c", "input()"), stdin=subprocess.PIPE) as other:
        try:
            taken = measure.take(measure.Arm("leaves", (sys.executable, "-c", leaves)), tmp_path)
            assert other.poll() is None
        finally:
            other.communicate(b"\n", timeout=60)
    assert done.exists()
    assert taken.cpu > 0.1


def test_an_arm_has_one_thread_and_its_own_checkout(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    found = benchmark("measure").environment(tmp_path)
    assert found["PYTHONPATH"] == str(tmp_path)
    assert found["OMP_NUM_THREADS"] == "1"
    assert "PYTHONDONTWRITEBYTECODE" not in found, "sources would be compiled in every process"
    assert found["PATH"] == os.environ["PATH"]
