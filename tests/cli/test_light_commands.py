"""What runs no network imports no torch, and neither do the mistakes of what does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic.neighborhood import generate
from synthetic.writing import write_scene

from geoseg.errors import BundleError
from geoseg.flow.run.prepare import prepare
from geoseg.models.bundle import ITEM_NAME, load_bundle, shipped_bundles
from geoseg.models.cost.memory import counted, model_pass_bytes, pass_bytes
from geoseg.models.exchange.verify import verify
from geoseg.models.runtime import Runtime
from geoseg.models.zoo import count_zoo, model_zoo

HEAVY = ["torch", "dask", "distributed", "pandas", "geopandas", "numba", "scipy", "xarray", "matplotlib"]
"""What takes a tenth of a second or more to import."""
PROBE = """
import json, sys
from geoseg.cli import main
found = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["geoseg", *arguments]
    code = 0
    try:
        main()
    except SystemExit as error:
        code = error.code
    found.append([code, [name for name in {heavy!r} if name in sys.modules]])
print("\\n" + json.dumps(found))
"""


def imported_by(folder: Path, commands: list[str], heavy: list[str]) -> list[tuple[int, list[str]]]:
    """Exit code of each command, one after the other in a process, and what was imported until then."""
    asked = json.dumps([command.split() for command in commands])
    shown = subprocess.run(
        [sys.executable, "-c", PROBE.format(heavy=heavy), asked],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return [(code, names) for code, names in json.loads(shown.stdout.splitlines()[-1])]


def test_commands_without_a_network_import_nothing_heavy(tmp_path: Path) -> None:
    write_scene(tmp_path / "images", generate(size=(40, 50), seed=1))
    (tmp_path / "bad.yaml").write_text("catalog: x.json\nmodel: buildings-liteunet\ntilling: {}\n")
    good = {
        "catalog images -o scenes.json": 0,
        "check austin_buildings --catalog scenes.json": 0,
        "check austin_buildings --catalog images/scene.tif": 0,
        "plan austin_buildings --catalog scenes.json": 0,
        "plan austin_buildings --catalog scenes.json --json": 0,
        "init images -o first.yaml": 0,
        "models list": 0,
        "models show buildings-liteunet": 0,
        "schema training": 0,
        "check bad.yaml": 2,
        "run nowhere.yaml --help": 0,
    }
    found = imported_by(tmp_path, list(good), HEAVY)
    assert dict(zip(good, found, strict=True)) == {command: (code, []) for command, code in good.items()}
    wrong = {
        "vectorize nowhere.tif -o out.gpkg": 2,
        "catalog images -o scenes.json --labels images/buildings.gpkg": 0,
        "run nowhere.yaml": 2,
        "run bad.yaml": 2,
        "run austin_buildings --catalog nowhere.json": 2,
        "run austin_buildings --catalog nowhere": 2,
        "run austin_buildings --model buildings-lightunet": 2,
        "train nowhere.yaml": 2,
        "train bad.yaml --check": 2,
        "evaluate bad.yaml": 2,
        "evaluate austin_buildings --catalog scenes.json -o nothing-was-run": 2,
    }
    found = imported_by(tmp_path, list(wrong), ["torch"])
    assert dict(zip(wrong, found, strict=True)) == {command: (code, []) for command, code in wrong.items()}


def test_a_run_imports_only_what_it_computes_with(tmp_path: Path) -> None:
    write_scene(tmp_path / "images", generate(size=(64, 80), seed=1))
    command = "run austin_buildings --catalog images/scene.tif --model buildings-mininet2 --progress none"
    # Its loops are compiled by numba, which imports a part of scipy.
    others = sorted({*HEAVY, "pyarrow"} - {"numba", "scipy"})
    assert imported_by(tmp_path, [command], others) == [(0, [])]


def test_what_is_known_without_torch_is_what_torch_says() -> None:
    shown = subprocess.run(
        [
            sys.executable,
            "-c",
            "from geoseg.models.runtime import Runtime; print(Runtime.resolve(device='cpu'))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == str(Runtime.resolve(device="cpu"))


@pytest.mark.parametrize("name", sorted(shipped_bundles()))
def test_contracts_state_what_is_counted_of_their_network(name: str) -> None:
    spec = load_bundle(name).spec
    assert spec.is_as_saved
    assert spec.counted == counted(spec)
    for pixels in (1, 500, 512**2, 3 * 1024**2):
        assert model_pass_bytes(spec, pixels) == pass_bytes(spec.architecture, spec.arguments, pixels)


@pytest.mark.slow
def test_the_stored_figures_of_the_networks_are_the_counted_ones() -> None:
    assert list(model_zoo(3, 2)) == list(count_zoo(3, 2)), (
        "the networks have changed: write zoo_text() to geoseg/models/zoo.json"
    )


def _arguments(item: dict[str, Any], _weights: Path) -> None:
    item["properties"]["geoseg:arguments"]["widths"] = [4, 4, 4]


def _radius(item: dict[str, Any], _weights: Path) -> None:
    item["properties"]["geoseg:radius"] = 3


def _weights(_item: dict[str, Any], weights: Path) -> None:
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)


def _no_weights(_item: dict[str, Any], weights: Path) -> None:
    weights.unlink()


@pytest.mark.parametrize("alter", [_arguments, _radius, _weights, _no_weights])
def test_a_check_finds_what_a_run_would_find_of_a_model(
    root: Path, tmp_path: Path, alter: Callable[[dict[str, Any], Path], None]
) -> None:
    bundle = tmp_path / "altered"
    shutil.copytree(load_bundle("buildings-mininet2").folder, bundle)
    item = json.loads((bundle / ITEM_NAME).read_text())
    alter(item, bundle / "weights.safetensors")
    (bundle / ITEM_NAME).write_text(json.dumps(item))
    messages = []
    for load in (True, False):
        with pytest.raises(BundleError) as caught:
            prepare(root / "workflows" / "austin_buildings.yaml", {"model": str(bundle)}, load=load)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_a_model_whose_figures_are_forged_is_found(tmp_path: Path) -> None:
    bundle = tmp_path / "forged"
    shutil.copytree(load_bundle("buildings-mininet2").folder, bundle)
    item = json.loads((bundle / ITEM_NAME).read_text())
    item["properties"]["geoseg:counted"]["live_bytes"] /= 2
    (bundle / ITEM_NAME).write_text(json.dumps(item))
    assert [check.name for check in verify(bundle) if not check.passed] == ["architecture"]
    del item["properties"]["geoseg:counted"]
    (bundle / ITEM_NAME).write_text(json.dumps(item))
    assert all(check.passed for check in verify(bundle)), "older bundles state nothing"
