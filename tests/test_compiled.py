"""Loops are compiled when they are called, kept for who comes next, and compiled by one process."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import geoseg.compiled
from geoseg.compiled import compile_once, compiled, compiling_beside, is_compiled, kept_in


def total(values: NDArray[np.int64]) -> int:
    found = 0
    for value in values:
        found += value
    return found


total_of = compiled(total)


@compiled
def twice(values: NDArray[np.int64]) -> int:
    return 2 * total_of(values)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where loops are kept."""
    kept_in.cache_clear()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "loops"))
    monkeypatch.setattr(geoseg.compiled, "kept_in", lambda: tmp_path / "loops")
    (tmp_path / "loops").mkdir()
    return tmp_path / "loops"


@pytest.mark.parametrize("where", ["loops", None])
def test_a_loop_computes_what_it_says(
    where: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = None if where is None else tmp_path / where
    monkeypatch.setattr(geoseg.compiled, "kept_in", lambda: kept)
    assert compiled(total)(np.arange(5)) == 10
    assert bool(list(tmp_path.rglob("*.nbi"))) == (kept is not None)


def test_loops_call_each_other() -> None:
    assert twice(np.arange(5)) == 20


def test_a_loop_is_described_as_its_function() -> None:
    assert total_of.__name__ == total.__name__
    assert total_of.__module__ == __name__


def test_no_compiler_is_imported_before_a_loop_is_called() -> None:
    probe = (
        "import sys; from geoseg.polygons.walls.fit import collapse_rings;"
        "from geoseg.engine import assemble, predict; assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", probe], check=True)


LOOPS = {
    "inner": (
        "from geoseg.compiled import compiled\nSTEP = {step}\n@compiled\ndef step(x):\n    return x + STEP\n"
    ),
    "outer": (
        "from geoseg.compiled import compiled\nfrom geoseg.inner import step\n"
        "@compiled\ndef walk(x):\n    return 10 * step(x)\n"
    ),
}


def test_a_loop_is_compiled_again_where_one_that_it_calls_has_changed(tmp_path: Path) -> None:
    package = tmp_path / "geoseg"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(geoseg.compiled.__file__, package)
    for step in (1, 2):
        for name, text in LOOPS.items():
            (package / f"{name}.py").write_text(text.replace("{step}", str(step)))
        probe = "from geoseg.outer import walk; print(walk(1))"
        for _ in range(2):
            found = subprocess.run(
                [sys.executable, "-B", "-P", "-c", f"import sys; sys.path.insert(0, '.'); {probe}"],
                cwd=tmp_path, check=True, capture_output=True, text=True, env={"NUMBA_CACHE_DIR": "kept"},
            )  # fmt: skip
            assert found.stdout.strip() == str(10 * (1 + step))
        assert len(list((tmp_path / "kept").glob("geoseg.outer-*"))) == 1, "earlier states are removed"


def exercise() -> None:
    """Leave a line, slowly."""
    kept = geoseg.compiled.kept_in()
    assert kept is not None
    time.sleep(0.5)
    with (kept / "calls").open("a") as calls:
        calls.write("x")
    compile_once(exercise)  # what an exercise calls may ask, too


def test_one_process_compiles_and_the_others_wait(folder: Path) -> None:
    assert not is_compiled(exercise)
    with compiling_beside(exercise):
        while not (folder / "compiling.lock").exists():
            time.sleep(0.01)
        compile_once(exercise)
    compile_once(exercise)
    assert is_compiled(exercise)
    assert (folder / "calls").read_text() == "x"


def test_an_exercise_that_fails_is_not_done(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        compile_once(fails)
    assert not is_compiled(fails)
    assert folder.exists()


def fails() -> None:
    raise ZeroDivisionError


def test_where_nothing_can_be_kept_nothing_is_done_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geoseg.compiled, "kept_in", lambda: None)
    compile_once(fails)
    assert not is_compiled(fails)


def test_loops_are_kept_where_one_says_or_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find: Callable[[], Path | None] = kept_in.__wrapped__
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    beside = find()
    assert beside is not None
    assert beside.parent.name == "__pycache__"
    monkeypatch.setattr(geoseg.compiled, "_is_writable", lambda folder: folder != beside)
    assert find() == tmp_path / "cache" / "geoseg"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "said"))
    assert find() == tmp_path / "said"
    monkeypatch.setattr(geoseg.compiled, "_is_writable", lambda _: False)
    assert find() is None
