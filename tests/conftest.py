"""Profiles and places that every test shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("dev", deadline=None, max_examples=40)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=60,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

ROOT = Path(__file__).resolve().parent.parent
collect_ignore = ["qgis_probe.py"]  # run by QGIS's own Python, not importable here


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real imagery, ``$GEOSEG_SHARED_DATA`` or ``../shared/data`` beside the checkout."""
    folder = Path(os.environ.get("GEOSEG_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        if os.environ.get("GEOSEG_REQUIRE_DATA"):
            pytest.fail(f"the real imagery is required here but {folder} is absent")
        pytest.skip(f"the real imagery is not at {folder}")
    return folder
