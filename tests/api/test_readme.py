"""The README's Python example runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_the_python_example_of_the_readme_runs(root: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    for folder in ("workflows", "catalogs", "examples"):
        (tmp_path / folder).symlink_to(root / folder)
    shown = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = shown.stdout.strip().splitlines()
    assert lines[0].split() == ["class_name", "area_m2", "conf_mean"]
    assert "building" in lines[1]
    every, larger, crs = re.fullmatch(r"(\d+) (\d+) (\S+)", lines[-1]).groups()  # type: ignore[union-attr]  # it fits
    assert int(every) > int(larger) > 100
    assert crs == "EPSG:26914"
