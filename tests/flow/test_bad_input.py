"""Bad input loses nothing: one line that says what to do, exit 2, other scenes mapped, nothing partial."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from support.bundles import flip_bit
from support.commands import run_geoseg as geoseg
from support.rasters import write_raster
from support.stac import stac_item, write_catalog
from synthetic.bundles import random_bundle
from synthetic.neighborhood import generate
from synthetic.writing import write_scene

from geoseg.cli import main
from geoseg.cli.report import scene_line
from geoseg.config.stac.refs import BandRef, SceneRef
from geoseg.engine.contract import check_header, image_of, sample_scene
from geoseg.errors import SceneError
from geoseg.io.raster.scene import describe
from geoseg.models.bundle import shipped_bundles

pytestmark = pytest.mark.slow

PIXELS = np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8)


Here = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def geoseg_here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    """As :func:`geoseg`, by the same entry point, without a process that imports everything again."""

    def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["geoseg", *map(str, arguments)])
            if cwd is not None:
                patch.chdir(cwd)
            try:
                main()
                code = 0
            except SystemExit as exit_:
                code = int(exit_.code or 0)
        return subprocess.CompletedProcess(sys.argv, code, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    write_scene(folder, generate(size=(200, 210), seed=3))
    return folder / "scene.tif"


def make_workflow(folder: Path, scenes: dict[str, str], model: str = "buildings-mininet2") -> Path:
    write_catalog(folder / "catalog.json", *(stac_item(name, href) for name, href in scenes.items()))
    path = folder / "flow.yaml"
    path.write_text(
        f"catalog: catalog.json\nmodel: {model}\noutput: out\ncompute: {{executor: serial}}\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="module")
def bad_scenes(tmp_path_factory: pytest.TempPathFactory, good: Path) -> dict[str, tuple[str, str]]:
    """Name → (href, words that the refusal must have)."""
    folder = tmp_path_factory.mktemp("bad")
    with np.errstate(all="ignore"):
        write_raster(folder / "complex.tif", PIXELS.astype(np.complex64))
    corners = [(0, 0), (0, 64), (64, 0), (64, 64)]
    points = [GroundControlPoint(r, c, 621000 + c, 3349000 - r) for r, c in corners]
    write_raster(folder / "gcps.tif", PIXELS, transform=None, gcps=points)
    write_raster(folder / "rpc.tif", PIXELS, crs=None, transform=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)  # made to have no transform
        with rasterio.open(folder / "rpc.tif", "r+") as raster:
            ones = " ".join(["1"] + ["0"] * 19)
            raster.update_tags(
                ns="RPC",
                **{f"{a}_{b}_COEFF": ones for a in ("LINE", "SAMP") for b in ("NUM", "DEN")},
                **{
                    f"{k}_{v}": "1"
                    for k in ("LINE", "SAMP", "LAT", "LONG", "HEIGHT")
                    for v in ("OFF", "SCALE")
                },
            )
    write_raster(folder / "nocrs.tif", PIXELS, crs=None)
    write_raster(folder / "two_bands.tif", PIXELS[:2])
    write_raster(folder / "sixteen.tif", PIXELS.astype(np.uint16), photometric="RGB")
    write_raster(folder / "blank.tif", PIXELS * 0, photometric="RGB", nodata=0)
    whole = good.read_bytes()
    (folder / "truncated.tif").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "text.tif").write_text("not a raster", encoding="utf-8")
    return {
        "missing": (str(folder / "nowhere.tif"), "nowhere.tif"),
        "complex": (str(folder / "complex.tif"), "complex"),
        "gcps": (str(folder / "gcps.tif"), "control points|GCP"),
        "rpc": (str(folder / "rpc.tif"), "RPC|georeference|CRS"),
        "nocrs": (str(folder / "nocrs.tif"), "CRS"),
        "two-bands": (str(folder / "two_bands.tif"), "band"),
        "sixteen": (str(folder / "sixteen.tif"), r"uint16.*scenes\.stretch"),
        "blank": (str(folder / "blank.tif"), r"0 % of its pixels are valid: .*nodata 0.*scenes\.nodata"),
        "truncated": (str(folder / "truncated.tif"), "truncated|corrupt|cut off"),
        "text": (str(folder / "text.tif"), "text.tif"),
    }


def assert_one_line_each(errors: str) -> None:
    assert "Traceback" not in errors
    assert "Warning" not in errors


def test_bad_scenes_are_refused_and_the_good_one_is_mapped(
    tmp_path: Path, good: Path, bad_scenes: dict[str, tuple[str, str]], geoseg_here: Here
) -> None:
    scenes = {name: href for name, (href, _) in bad_scenes.items()}
    workflow = make_workflow(tmp_path, {**scenes, "good": str(good)})
    done = geoseg("run", workflow, "--progress", "json")
    assert_one_line_each(done.stderr)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    ended = {event["scene"]: event for event in events if event["event"] == "scene"}
    assert ended["good"]["status"] == "done", ended
    import re  # noqa: PLC0415 - only here

    for name, (_, words) in bad_scenes.items():
        assert ended[name]["status"] == "refused", ended[name]
        assert name in ended[name]["reason"]
        assert re.search(words, ended[name]["reason"]), ended[name]["reason"]
        assert "\n" not in ended[name]["reason"]
    assert done.returncode == 2
    assert events[-1] | {"done": 1, "refused": len(bad_scenes), "skipped": 0, "failed": 0} == events[-1]
    of_the_run = {".geoseg.lock", "footprints.gpkg", "run.json", "run.qgz", "runtime.json"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"good", *of_the_run}
    checked = geoseg_here("check", workflow)
    assert checked.returncode == 2
    said = {line for line in checked.stderr.splitlines() if line.startswith("refused")}
    expected = {
        name: scene_line("refused", name, event["reason"])
        for name, event in ended.items()
        if event["status"] == "refused"
    }
    assert said == set(expected.values()), "check refuses what run does, in the same words"


@pytest.mark.parametrize(
    ("scale", "trained_on", "stretch", "fits"),
    [
        (1.0, "uint8", None, False),
        (1.0, "uint16", None, True),
        (1.0, "uint8", (0.0, 10000.0), True),
        (1e-4, "uint8", None, False),  # values of 0 … 1 are no bytes
        (1e-4, "uint16", None, False),
        (1e-4, "float32", None, True),
        (1e-4, "uint8", (0.0, 0.4), True),
    ],
)
def test_what_a_model_was_trained_on_is_compared_with_what_it_would_see(
    tmp_path: Path, scale: float, trained_on: str, stretch: tuple[float, float] | None, *, fits: bool
) -> None:
    write_raster(tmp_path / "deep.tif", PIXELS.astype(np.uint16), photometric="RGB")
    names = ("red", "green", "blue")
    bands = tuple(BandRef(str(tmp_path / "deep.tif"), i + 1, name, scale) for i, name in enumerate(names))
    scene = describe(SceneRef("deep", bands), names)
    spec = random_bundle(tmp_path / "model", value_dtype=trained_on).spec

    def check() -> None:
        check_header(
            image_of(scene),
            spec,
            stretch=stretch,
            any_resolution=False,
            sample=lambda: sample_scene(scene, scene.geobox),
        )

    if fits:
        check()
        return
    words = {
        (1.0, "uint8"): r"uint16 pixels .*scenes\.stretch: \[0, 255\]",
        (1e-4, "uint8"): r"after scale and offset .*scenes\.stretch: \[0\.0",
        (1e-4, "uint16"): r"scenes\.scale: none gives the uint16 values",
    }[scale, trained_on]
    with pytest.raises(SceneError, match=words):
        check()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped_bundles()["buildings-mininet2"], tmp_path / "bundle"))


def test_altered_weights_are_refused(tmp_path: Path, good: Path, bundle: Path) -> None:
    flip_bit(bundle / "weights.safetensors")
    done = geoseg("run", make_workflow(tmp_path, {"good": str(good)}, "./bundle"))
    assert done.returncode == 2
    assert "sha256" in done.stderr
    assert len(done.stderr.splitlines()) == 1, "once, not for each scene"
    assert not (tmp_path / "out").exists()
    assert geoseg("check", tmp_path / "flow.yaml").stderr == done.stderr


def test_a_pickle_in_place_of_weights_is_refused(tmp_path: Path, good: Path, bundle: Path) -> None:
    import torch  # noqa: PLC0415 - only here

    weights = bundle / "weights.safetensors"
    torch.save({"a": torch.zeros(2)}, weights)
    done = geoseg("run", make_workflow(tmp_path, {"good": str(good)}, "./bundle"))
    assert done.returncode == 2
    assert "pickle" in done.stderr or "torch.save" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def mount(tmpfs: Callable[[str], Path]) -> Path:
    """A disk of 300 KB."""
    return tmpfs("size=300k")


@pytest.mark.parametrize("free_kb", [2, 30, 90, 200])
def test_a_full_disk_leaves_nothing_partial(
    tmp_path: Path, mount: Path, good: Path, free_kb: int, geoseg_here: Here
) -> None:
    workflow = make_workflow(tmp_path, {"good": str(good)})
    (mount / "ballast").write_bytes(b"x" * (300 - free_kb) * 1024)
    done = geoseg("run", workflow, "--set", f"output={mount / 'out'}")
    assert_one_line_each(done.stderr)
    if done.returncode == 0:
        assert (mount / "out" / "good" / "item.json").is_file()
        return
    assert done.returncode == 2, done.stdout + done.stderr
    assert "disk" in done.stdout + done.stderr
    left = [
        p
        for p in (mount / "out").rglob("*")
        if p.is_file() and p.name not in (".geoseg.lock", "runtime.json")
    ]
    finals = [p.name for p in left if not p.name.startswith(".")]
    for name in finals:  # whole files may stay, without a receipt they are no map
        if name.endswith(".tif"):
            with rasterio.open(mount / "out" / "good" / name) as raster:
                raster.read()
    assert "item.json" not in finals
    (mount / "ballast").unlink()
    again = geoseg_here("run", workflow, "--set", f"output={tmp_path / 'elsewhere'}")
    assert again.returncode == 0


def test_a_scene_too_large_for_the_disk_does_not_stop_the_others(
    tmp_path: Path, mount: Path, good: Path
) -> None:
    write_raster(tmp_path / "large.tif", np.zeros((3, 700, 800), np.uint8), compress="deflate")
    workflow = make_workflow(tmp_path, {"large": str(tmp_path / "large.tif"), "good": str(good)})
    done = geoseg("run", workflow, "--set", f"output={mount / 'out'}", "--set", "vectorize=null")
    assert done.returncode == 2
    assert "1 done, 0 skipped, 1 refused, 0 failed" in done.stdout
    assert "0.6 MB of disk" in done.stdout


def test_bands_of_a_refused_scene_that_end_late_leave_nothing(tmp_path: Path, good: Path) -> None:
    whole = good.read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) * 2 // 3])
    workflow = make_workflow(tmp_path, {"cut": str(tmp_path / "cut.tif")})
    tiling = {"window": "96 px", "halo": "16 px", "block": "32 px"}
    settings = [item for key, value in tiling.items() for item in ("--set", f"tiling.{key}={value}")]
    settings += ["--set", "compute.executor=threads", "--workers", "3"]
    done = geoseg("run", workflow, *settings)
    assert done.returncode == 2
    assert_one_line_each(done.stderr)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {".geoseg.lock", "runtime.json"}


def test_a_read_only_output_is_refused(tmp_path: Path, mount: Path, good: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
    done = geoseg("run", make_workflow(tmp_path, {"good": str(good)}), "--set", f"output={mount / 'out'}")
    assert done.returncode == 2
    assert "read-only" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("which", ["image", "labels"])
def test_a_map_never_goes_where_its_scene_lies(
    tmp_path: Path, good: Path, which: str, geoseg_here: Here
) -> None:
    inside = tmp_path / "out" / "town"
    inside.mkdir(parents=True)
    labels = Path(shutil.copy(good.with_name("buildings.gpkg"), inside if which == "labels" else tmp_path))
    image = Path(shutil.copy(good, inside if which == "image" else tmp_path))
    workflow = make_workflow(tmp_path, {"town": str(image)})
    catalog = json.loads((tmp_path / "catalog.json").read_text())
    catalog["features"][0]["assets"]["buildings"] = {"href": str(labels), "roles": ["labels"]}
    (tmp_path / "catalog.json").write_text(json.dumps(catalog), encoding="utf-8")
    before = {path: path.read_bytes() for path in (image, labels)}
    done = geoseg_here("run", workflow, "--set", "vectorize.layer=buildings")
    assert done.returncode == 2
    assert "choose another output" in done.stdout
    assert {path: path.read_bytes() for path in (image, labels)} == before
    assert len(list(inside.iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["run", "flow.yaml", "--set", "tiling.hallo=3 px"], "halo"),
        (["run", "flow.yaml", "--set", "model=buildings-mininet"], "buildings-mininet2"),
        (["run", "flow.yaml", "--set", "vectorize.classes=[bildings]"], "building"),
        (["run", "flow.yaml", "--set", "scenes.ids=[god]"], "good"),
        (["run", "flow.yaml", "--scheduler", "tcp://127.0.0.1:1"], "scheduler"),
        pytest.param(["run", "flow.yaml", "--set", "compute.device=cuda"], "cuda", marks=pytest.mark.gpu),
        (["run", "flow.yaml", "--set", "tiling.window=64 px", "--set", "tiling.halo=64 px"], "window"),
        (["plan", "flow.yaml", "--set", "catalog=nowhere.json"], "nowhere.json"),
        (["catalog", "nowhere", "-o", "x.json"], "nowhere"),
    ],
)
def test_a_mistake_is_one_plain_line(
    tmp_path: Path, good: Path, arguments: list[str], words: str, geoseg_here: Here
) -> None:
    if "compute.device=cuda" in arguments:
        import torch  # noqa: PLC0415 - only here

        if torch.cuda.is_available():
            pytest.skip("there is a GPU here: asking for it is no mistake")
    make_workflow(tmp_path, {"good": str(good)})
    program = geoseg if "--scheduler" in arguments else geoseg_here  # a dask client needs its own process
    done = program(*arguments, cwd=tmp_path)
    said = done.stderr + done.stdout
    assert done.returncode == 2, said
    assert words in done.stderr
    assert done.stderr.startswith("geoseg: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists() or "--scheduler" in arguments
