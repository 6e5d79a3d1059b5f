"""The system's Python, which has QGIS and GDAL's validators where the environment of the tests has not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from support.surroundings import lacking

__all__ = ["need", "told_by", "validate"]

PYTHON = "/usr/bin/python3"


def need(module: str) -> None:
    """Skip without a system package; in CI it has to be there."""
    found = Path(PYTHON).exists() and not _run("-c", f"import {module}").returncode
    if not found:
        why = f"{PYTHON} cannot import {module}: install python3-qgis, qgis-providers, gdal-bin"
        lacking(why)


def told_by(script: str, *arguments: str | Path) -> Any:
    """What a script beside the tests prints as the last line, JSON."""
    done = _run(str(Path(__file__).with_name(script)), *map(str, arguments))
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def validate(path: Path, validator: str) -> str:
    """What one of GDAL's sample validators says of a file that it takes for valid."""
    done = _run("-m", f"osgeo_utils.samples.{validator}", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [PYTHON, *arguments]
    # The timeout is against what hangs: a busy machine takes ten times as long as a quiet one.
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=600, cwd="/")
