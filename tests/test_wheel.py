"""The wheel: what an installation carries, and that it works from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(root: Path, tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of a wheel built from this checkout's tracked files."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    for name in tracked:
        if (path := root / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            target = path.readlink() if path.is_symlink() else path
            (source / name).symlink_to(target)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", place, source], check=True, capture_output=True)
    (wheel,) = place.glob("geoseg-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    return place / "site"


def test_a_wheel_carries_the_demonstration_and_no_generator_of_towns(root: Path, installed: Path) -> None:
    share = installed / "geoseg/share"
    for folder in ("workflows", "catalogs"):
        names = {path.name for path in (root / folder).iterdir()}
        assert {path.name for path in (share / folder).iterdir()} == names
    scene = share / "examples/austin_synthetic"
    assert {path.name for path in scene.iterdir()} == {"scene.tif", "buildings.gpkg", "landcover.tif"}
    carried = [path for path in share.rglob("*") if path.is_file()]
    assert all(path.read_bytes() == (root / path.relative_to(share)).read_bytes() for path in carried)
    assert not [path for path in installed.rglob("*.py") if path.parts[len(installed.parts)] != "geoseg"]


def test_an_installed_demonstration_fits_from_any_folder_and_writes_below_it(
    installed: Path, tmp_path: Path
) -> None:
    imports = (
        "from geoseg.models.zoo import model_zoo as z",
        "from geoseg.flow.run.prepare import prepare as p",
    )
    code = "; ".join(imports)
    code += "; d = p('austin_buildings'); print(d.loaded.output, len(d.plans), len([*z(3, 2)]) > 20)"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.split() == [str(tmp_path / "runs/austin_buildings"), "1", "True"]
