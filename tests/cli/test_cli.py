"""The command line's words: one line per mistake and per scene, the same for people and programs."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import Command
from support.stac import stac_item, write_catalog
from synthetic.neighborhood import generate
from synthetic.writing import write_scene

LONG = "a-scene-with-a-name-as-long-as-archives-like"


@pytest.fixture(scope="module")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workflow with a scene that is mapped and one that is refused."""
    folder = tmp_path_factory.mktemp("cli")
    write_scene(folder, generate(size=(150, 160), seed=3))
    images = {LONG: "scene.tif", "gone": "gone.tif"}
    items = [stac_item(name, href, buildings="buildings.gpkg") for name, href in images.items()]
    write_catalog(folder / "catalog.json", *items)
    path = folder / "flow.yaml"
    path.write_text(
        "catalog: catalog.json\nmodel: buildings-mininet2\ncompute: {executor: serial}\n"
        "tiling: {window: 192 px, halo: 16 px}\n",
        encoding="utf-8",
    )
    return path


def test_every_mistake_of_a_workflow_has_its_line(geoseg: Command, tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text("catalog: x.json\nmodel: m\ntilling: {}\nvectorize: {threshold: 7}\n", encoding="utf-8")
    code, out, err = geoseg("check", path)
    assert (code, out) == (2, "")
    assert [line.partition("flow.yaml:")[2][:1] for line in err.splitlines()] == ["3", "4"]
    assert all(line.startswith(f"geoseg: {path}:") for line in err.splitlines())


@pytest.mark.parametrize("group", [(), ("models",)])
def test_help_fits_its_lines(geoseg: Command, group: tuple[str, ...]) -> None:
    code, out, _ = geoseg(*group, "--help")
    assert code == 0
    assert "..." not in out.partition("Commands:")[2]


def test_check_and_plan_name_every_scene_once(geoseg: Command, workflow: Path) -> None:
    code, out, err = geoseg("check", workflow)
    assert code == 2
    ok, total = out.splitlines()
    assert (
        ok == f"ok       {LONG}  160×150 px, 3 bands uint8, EPSG:26914, 0.3 m, 100 % valid, values 37 to 199"
    )
    assert total == f"{workflow}: 1 scene fits the model buildings-mininet2, 1 refused"
    (refused,) = err.splitlines()
    assert refused.startswith("refused  gone  ")
    assert refused.count("gone") == 2, "the scene once, its file once"
    code, out, again = geoseg("plan", workflow)
    assert (code, again) == (2, err)
    model, output, head, row, total = out.splitlines()
    assert model.startswith("model    buildings-mininet2 ")
    assert "Runtime" not in model
    assert output.startswith("output   ")
    assert row.startswith(LONG)
    assert len(head) == len(row)
    for title, value in ((" window ", " 192×192 "), (" blend ", " hann ")):
        assert head.index(title) + len(title) == row.index(value) + len(value)
    assert total.startswith("1 scene, 1 window, at most ")
    code, out, _ = geoseg("plan", workflow, "--json")
    planned = json.loads(out)
    assert [scene["scene"] for scene in planned["scenes"]] == [LONG]
    assert [scene["scene"] for scene in planned["refused"]] == ["gone"]


def test_plan_prints_the_warnings_of_check(geoseg: Command, workflow: Path, tmp_path: Path) -> None:
    write_catalog(tmp_path / "bare.json", stac_item("bare", str(workflow.parent / "scene.tif")))
    options = ("--set", "scenes.nodata=-9999", "--set", "evaluate.asset=buildings")
    typed = (workflow, "--catalog", tmp_path / "bare.json", "-o", tmp_path / "maps", *options)
    code, _, warned = geoseg("check", *typed)
    assert code == 0
    assert [line.split()[:2] for line in warned.splitlines()] == [
        ["warning", "bare"],
        ["warning", "evaluate.asset:"],
    ]
    code, _, err = geoseg("plan", *typed)
    assert (code, err) == (0, warned)
    code, out, _ = geoseg("plan", *typed, "--json")
    planned = json.loads(out)
    assert [f"warning  {line}" for line in planned["warnings"]] == warned.splitlines()[1:]
    assert [f"warning  bare  {line}" for line in planned["scenes"][0]["warnings"]] == warned.splitlines()[:1]


@pytest.mark.parametrize("kind", ["plain", "json", "none"])
def test_a_run_says_what_became_of_each_scene(
    geoseg: Command, workflow: Path, tmp_path: Path, kind: str
) -> None:
    settings = ("--set", f"output={tmp_path}", "--set", "evaluate.asset=bildings")
    code, out, err = geoseg("run", workflow, "--progress", kind, *settings)
    assert code == 2
    if kind == "json":
        events = [json.loads(line) for line in out.splitlines()]
        assert [event["event"] for event in events] == ["scene", "start", "window_rows", "scene", "end"]
        assert events[-1]["score"] is None
        assert "did you mean 'buildings'" in events[-1]["unscored"]
        assert err == ""
        return
    said = out.splitlines() + err.splitlines()
    assert sum(line.startswith("refused  gone  ") for line in said) == 1
    assert sum(line.startswith(f"done     {LONG}") for line in said) == (kind == "plain")
    assert out.splitlines()[-2].startswith("1 done, 0 skipped, 1 refused, 0 failed in ")
    assert out.splitlines()[-1] == f"maps: {tmp_path}; run.qgz in it opens them in QGIS"
    assert "not scored: " in err


def test_a_folder_stands_for_its_catalog_and_what_is_left_out_is_said(
    geoseg: Command, workflow: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(workflow.parent / "scene.tif", images / "a.tif")
    (images / "b.jp2").touch()
    said = "warning  not looked at: 1 .jp2 (trust local reads them)\n"
    for command in ("check", "plan", "run"):
        code, _, err = geoseg(command, workflow, "--catalog", images, "-o", tmp_path / "maps")
        assert (code, err) == (0, said)
    assert not list(images.glob("*.json"))
    assert json.loads((tmp_path / "maps" / "a" / "item.json").read_text())["id"] == "a"


def test_a_score_is_for_scenes_that_have_labels(geoseg: Command, workflow: Path, tmp_path: Path) -> None:
    write_catalog(tmp_path / "bare.json", stac_item("bare", str(workflow.parent / "scene.tif")))
    options = ("--catalog", tmp_path / "bare.json", "--model", "buildings-micronet")
    asked = (*options, "-o", tmp_path / "maps", "--set", "evaluate.asset=buildings")
    code, _, err = geoseg("check", workflow, *asked)
    assert code == 0
    assert "warning  evaluate.asset: no scene has the label asset 'buildings', so none is scored" in err
    code, out, err = geoseg("run", workflow, *asked, "--progress", "plain")
    assert (code, err) == (0, "not scored: no scene has the label asset 'buildings'\n")
    assert out.splitlines()[-1] == f"maps: {tmp_path / 'maps'}; run.qgz in it opens them in QGIS"
    assert (
        "buildings-micronet"
        in json.loads((tmp_path / "maps" / "bare" / "item.json").read_text())["properties"]["title"]
    )


@pytest.mark.slow
def test_a_terminal_shows_a_bar(workflow: Path, tmp_path: Path) -> None:
    driver, terminal = pty.openpty()
    command = [sys.executable, "-m", "geoseg", "run", str(workflow), "--set", f"output={tmp_path}"]
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, env=os.environ | {"TERM": "xterm"})
    os.close(terminal)
    shown = b""
    while True:
        try:
            piece = os.read(driver, 65536)
        except OSError:  # the other end is closed
            break
        shown += piece
        if not piece:
            break
    assert process.wait() == 2
    text = shown.decode()
    assert text.startswith(f"reading {workflow}")
    assert "100 %" in text
    assert "Mpx/s" in text
    assert f"done     {LONG}" in text
    assert text.rstrip().endswith(f"maps: {tmp_path}; run.qgz in it opens them in QGIS")


def test_a_closed_pipe_is_no_error() -> None:
    shell = f"set -o pipefail; {sys.executable} -m geoseg schema | head -1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_a_reference_is_described_as_what_it_is(geoseg: Command, workflow: Path, tmp_path: Path) -> None:
    output = ("--set", f"output={tmp_path}")
    assert geoseg("run", workflow, "--progress", "none", *output)[0] == 2
    polygons, raster = workflow.with_name("buildings.gpkg"), workflow.with_name("landcover.tif")
    code, out, _ = geoseg("evaluate", workflow, *output, "--reference", polygons, "--window", 0, 0, 99, 99)
    assert code == 0
    assert "9,801 px scored in 1 scene" in out
    assert json.loads((tmp_path / "score.json").read_text())["labeled_pixels"] == 9801
    for arguments, words in (
        (("--reference", raster, "--attribute", "kind"), "are a raster"),
        (("--reference", polygons, "--value", "1=1"), "are polygons"),
        (("--reference", polygons, "--asset", "buildings"), "give one of them"),
        (("--layer", "roofs"), "describe a --reference"),
        (("--asset", "roofs"), "has no label asset 'roofs' in the catalog; it has buildings"),
    ):
        code, out, err = geoseg("evaluate", workflow, *output, *arguments)
        assert (code, out) == (2, "")
        assert words in err
