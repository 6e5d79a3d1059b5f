"""The workflow that ``geoseg init`` writes: it fits the images that it was written for."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import rasterio
from support.commands import Command
from support.rasters import write_raster
from synthetic.neighborhood import generate

from geoseg.flow.run.check import check_workflow
from geoseg.flow.run.first_workflow import write_first_workflow
from geoseg.io.yaml.files import load_workflow

IMAGE = generate(size=(96, 128), seed=5).image


@pytest.fixture
def images(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder of two images: as they are, or gray, or of 16 bits."""
    kind = getattr(request, "param", "rgb")
    pixels = {"rgb": IMAGE, "gray": IMAGE[:1], "uint16": IMAGE.astype(np.uint16) * 11 + 300}[kind]
    colors = {"photometric": "RGB"} if len(pixels) == 3 else {}
    for name in ("a", "b c"):
        write_raster(tmp_path / "my images" / f"{name}.tif", pixels, **colors)
    return tmp_path / "my images"


@pytest.mark.parametrize("images", ["rgb", "gray", "uint16"], indirect=True)
def test_what_init_writes_passes_check(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = write_first_workflow(images, model="buildings-mininet2")
    assert made.path == Path("my-images.yaml")
    assert made.scenes == 2
    prepared = check_workflow(made.path)
    assert [plan.scene.ref.id for plan in prepared.plans] == ["a", "b c"]
    assert prepared.refused == ()
    assert all(plan.warnings == () for plan in prepared.plans)
    scenes = load_workflow(made.path).workflow.scenes
    files = {len(rasterio.open(file).indexes) for plan in prepared.plans for file in plan.scene.files}
    assert scenes.bands == ((1, 1, 1) if files == {1} else None)
    assert (scenes.stretch is not None) == (prepared.plans[0].scene.dtype == "uint16")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("colored", [0, 9])
def test_gray_images_among_others_take_no_bands_from_these(
    colored: int, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        pixels = IMAGE if number == colored else IMAGE[:1].astype(dtype)
        write_raster(tmp_path / "mixed" / f"{number}.tif", pixels)
    monkeypatch.chdir(tmp_path)
    path = write_first_workflow(Path("mixed"), model="buildings-mininet2").path
    scenes = load_workflow(path).workflow.scenes
    assert (scenes.bands, scenes.stretch) == (None, None)
    prepared = check_workflow(path)
    assert [plan.scene.ref.id for plan in prepared.plans] == [str(colored)]
    assert all("where red, green, blue are needed" in refusal.reason for refusal in prepared.refused)


@pytest.mark.parametrize(
    ("pattern", "name"), [("?.tif", "my-images"), ("[ab]*.tif", "my-images"), ("b c.tif", "b-c")]
)
def test_a_workflow_is_called_like_the_images_or_their_folder(
    pattern: str, name: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = write_first_workflow(images / pattern, model="buildings-mininet2")
    assert made.path == Path(f"{name}.yaml")
    magic = images.rename(tmp_path / "flight [2]")
    assert write_first_workflow(magic, model="buildings-mininet2").path == Path("flight-2.yaml")


def test_every_line_in_comments_is_a_key_that_can_be_used(images: Path, tmp_path: Path) -> None:
    path = write_first_workflow(images, tmp_path / "sub" / "flow.yaml", model="buildings-mininet2").path
    text = path.read_text(encoding="utf-8")
    used = re.sub(r"^( *)# (output|scenes|  nodata|mode|min_area|merge)", r"\1\2", text, flags=re.MULTILINE)
    assert used.count("\n# ") < text.count("\n# ")
    path.write_text(used, encoding="utf-8")
    workflow = load_workflow(path).workflow
    assert workflow.scenes.nodata == 255
    assert workflow.vectorize is not None
    assert (workflow.vectorize.mode, workflow.vectorize.merge) == ("exact", True)
    assert workflow.vectorize.min_area.value == 20


def test_a_first_workflow_replaces_nothing(images: Path, tmp_path: Path, geoseg: Command) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text("mine", encoding="utf-8")
    code, out, err = geoseg("init", images, "-o", path)
    assert (code, out) == (2, "")
    assert err == f"geoseg: {path} is there already; name another file with -o\n"
    assert path.read_text(encoding="utf-8") == "mine"


@pytest.mark.slow
def test_the_commands_that_name_the_next_one_lead_to_a_map(
    images: Path, tmp_path: Path, geoseg: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = ["catalog", str(images), "-o", "my scenes.json"]
    for command in ("init", "check", "run"):
        code, out, err = geoseg(*typed)
        assert (code, err) == (0, "")
        (line,) = (line for line in out.splitlines() if line.startswith("next: geoseg "))
        typed = shlex.split(line.removeprefix("next: geoseg ").removesuffix(" writes a workflow for it"))
        assert typed[0] == command
    code, out, err = geoseg(*typed)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith(f"maps: {tmp_path / 'runs' / 'my-scenes'}")
    assert (tmp_path / "runs" / "my-scenes" / "a" / "buildings.gpkg").is_file()
