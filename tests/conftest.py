"""Profiles and places that every test shares."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support.surroundings import lacking

# Tests are small: threads inside an operation gain nothing, and wait for each other where cores are busy. Set
# before anybody imports torch, it holds in the processes that tests start, too.
os.environ["OMP_NUM_THREADS"] = "1"

# Every run tests the same examples, however busy the machine is; `make explore` tries many others.
_STEADY = settings(
    deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("dev", _STEADY, max_examples=40)
settings.register_profile("ci", _STEADY, max_examples=60)
settings.register_profile("explore", _STEADY, max_examples=500, derandomize=False)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Random weights are the same whatever ran before: a test alone is the test of the whole run."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a test that skips fails, but for want of a GPU or of real imagery (marks `gpu` and `data`)."""
    report = yield
    if report.skipped and os.environ.get("CI") and not any(map(item.get_closest_marker, ("gpu", "data"))):
        report.outcome, report.longrepr = "failed", f"skipped in CI: {report.longrepr}"
    return report


ROOT = Path(__file__).resolve().parent.parent
collect_ignore = [
    "support/qgis_checker.py",
    "support/qgis_probe.py",
]  # run by QGIS's own Python

GROUPS = {
    "tests/engine/test_memory.py": "memory",  # measures processes
    "tests/engine/test_execute.py": "cluster",
    "tests/flow/test_run.py": "cluster",
    "tests/qgis/": "qgis",
    "tests/flow/test_demo.py": "qgis",
}
"""Tests that run one after the other in one process, by the beginning of their path; others by their file."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file together, which share fixtures and compiled code; mark those of imagery."""
    for item in items:
        path = item.path.relative_to(ROOT).as_posix()
        group = next((name for start, name in GROUPS.items() if path.startswith(start)), path)
        item.add_marker(pytest.mark.xdist_group(group))
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def tracked(root: Path) -> list[str]:
    """The files of the checkout that git tracks, relative to its root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False).stdout
    return listed.decode().rstrip("\0").split("\0") if listed else lacking("not a git checkout")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real imagery, ``$GEOSEG_SHARED_DATA`` or ``../shared/data`` beside the checkout."""
    folder = Path(os.environ.get("GEOSEG_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        required = bool(os.environ.get("GEOSEG_REQUIRE_DATA"))
        lacking(f"the real imagery is not at {folder}", required=required)
    return folder


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts small disks by tmpfs's options; skips where that is not permitted, but fails for CI's root."""
    places: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / f"disk{len(places)}"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=False, capture_output=True
        )
        if done.returncode:
            why = f"mounting a small disk is not permitted here: {done.stderr.decode().strip()}"
            lacking(why, required=bool(os.environ.get("CI")) and os.geteuid() == 0)
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def geoseg(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process; gives its exit code, output and errors."""
    from geoseg.cli import main  # noqa: PLC0415 - after the number of threads is set

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["geoseg", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return run
