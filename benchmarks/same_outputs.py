"""What two commits make of the same inputs, compared bit for bit: proof that a refactoring changed no output.

    python benchmarks/same_outputs.py BASE [NEW]                # NEW: HEAD
    python benchmarks/same_outputs.py BASE --cache runs/same_outputs   # BASE's outputs are made once
    python benchmarks/same_outputs.py BASE --keep DIR           # leaves the outputs in DIR/base and DIR/new

Both commits (never the working tree) are checked out into a temporary folder and run one after the other, on
this machine, with this interpreter, through the command line and with their own workflow files. Compared are:

- the demonstration, buildings and land cover (coverage), with scores; land cover in exact mode, scored by
  `geoseg evaluate`;
- three rotated 16-bit scenes with nodata, one of them resampled, with a catalog of their own, merged; two of
  them by the other shipped models, with other windows, blend and formats;
- `geoseg vectorize` of probabilities and classes, into each vector format;
- a training of 50 steps: weights, losses, scores;
- a comparison of two models by `geoseg evaluate --model`, one of them just trained.

compare_outputs.py says how, and what is left out: fingerprints and what derives from them, dates, timings,
software versions, pictures, prose. Exits with 0 where everything is equal, 1 where something differs, 2 where
a command failed. About 8 minutes for each commit on 2 cores.

A name that changes on purpose goes into RENAMED. The cache holds for this machine, these package versions and
this list of steps; with any other, the outputs are made again.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from compare_outputs import LEFT_OUT_NAMES, SHOWN, Comparison, compare_folders
from rasterio.enums import Resampling
from rasterio.warp import reproject

ROOT = Path(__file__).resolve().parent.parent

RENAMED: Mapping[str, str] = {
    "labelled_pixels": "labeled_pixels",  # JSON of `geoseg evaluate`: American spelling
}
"""BASE's name → NEW's name of commands, workflow keys (dotted), workflow files, output files, JSON keys and
raster tags. A checkout that knows the first name is run with it, another one with the second."""

PACKAGES = (
    "numpy",
    "torch",
    "rasterio",
    "pyogrio",
    "shapely",
    "pyproj",
    "scipy",
    "numba",
    "dask",
    "geopandas",
)
"""Packages whose version may change the last bit."""


@dataclass(frozen=True, slots=True)
class Step:
    """One geoseg command. ``OUT`` stands for the output folder."""

    name: str
    command: str
    arguments: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    """What ``--set`` gets."""
    stdout: str | None = None
    """File that keeps the standard output."""


OUT = "OUT"
QUIET = ("--progress", "none")
BUILDINGS, LANDCOVER = "workflows/austin_buildings.yaml", "workflows/landcover.yaml"
ROTATED = {"catalog": f"{OUT}/rotated/catalog.json", "scenes.stretch": "[1000, 11200]", "evaluate": "null"}
EXACT = {"output": f"{OUT}/exact", "vectorize.mode": "exact"}
STEPS = (
    Step("buildings", "run", (BUILDINGS, *QUIET), {"output": f"{OUT}/buildings"}),
    Step("land cover", "run", (LANDCOVER, *QUIET), {"output": f"{OUT}/landcover"}),
    Step("land cover, exact", "run", (LANDCOVER, *QUIET), {**EXACT, "evaluate": "null"}),
    Step(
        "its scores",
        "evaluate",
        (LANDCOVER, "--worst", "0", "--json"),
        EXACT,
        f"{OUT}/exact/score-stdout.json",
    ),
    Step("catalog", "catalog", (f"{OUT}/rotated/scenes", "-o", f"{OUT}/rotated/catalog.json")),
    Step(
        "rotated 16-bit scenes",
        "run",
        (BUILDINGS, *QUIET),
        {**ROTATED, "output": f"{OUT}/rotated/map", "write.grid": "scene", "vectorize.merge": "true"},
    ),
    Step(
        "the coarse one, other tiling",
        "run",
        (BUILDINGS, *QUIET),
        {
            **ROTATED,
            "output": f"{OUT}/tiling",
            "scenes.ids": "[coarse]",
            "model": "buildings-mininet2",
            "tiling.window": "256 px",
            "tiling.halo": "48 px",
            "tiling.blend": "triangle",
            "write.probability": "top",
            "vectorize.format": "fgb",
        },
    ),
    Step(
        "the small one by Micro-Net",
        "run",
        (BUILDINGS, *QUIET),
        {**ROTATED, "output": f"{OUT}/micronet", "scenes.ids": "[small]", "model": "buildings-micronet"},
    ),
    *(
        Step(
            f"vectorize {raster}",
            "vectorize",
            (f"{OUT}/{raster}", "-o", f"{OUT}/vectorize/{number}{suffix}", "--json"),
            stdout=f"{OUT}/vectorize/vectorize{number}.json",
        )
        for number, (raster, suffix) in enumerate(
            (
                ("landcover/austin_synthetic/probability.tif", ".gpkg"),
                ("landcover/austin_synthetic/classes.tif", ".parquet"),
                ("buildings/austin_synthetic/probability.tif", ".fgb"),
            )
        )
    ),
    Step(
        "training",
        "train",
        ("workflows/train_demo.yaml", *QUIET),
        {
            "output": f"{OUT}/training",
            "train.steps": "50",
            "train.validate_every": "25",
            "train.checkpoint_every": "25",
            "compute.threads": "1",
        },
    ),
    Step(
        "comparison of models",
        "evaluate",
        (
            BUILDINGS,
            *("--model=buildings-mininet2", f"--model={OUT}/training/roofs-demo"),
            *("--worst", "0", "--json"),
        ),
        {"output": f"{OUT}/models"},
        f"{OUT}/models/comparison-stdout.json",
    ),
)


class CommandError(Exception):
    """A command of one of the two commits failed."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """One commit's files, and how its program is called."""

    folder: Path
    commit: str

    def run(self, *arguments: str) -> str:
        """The standard output of ``python ARGUMENTS`` in the checkout.

        Raises:
            CommandError: it failed; with the end of what it said.
        """
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GEOSEG_")}
        environment |= {"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(  # noqa: S603 - this interpreter, a checkout of this repository
            [sys.executable, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise CommandError(
                f"{self.commit[:12]}: python {' '.join(arguments)} ended with {done.returncode}:\n{tail}"
            )
        return done.stdout

    def geoseg(self, *arguments: str) -> str:
        """The standard output of ``geoseg ARGUMENTS``."""
        return self.run("-m", "geoseg", *arguments)

    def check(self) -> None:
        """Make sure that the program is the checkout's.

        Raises:
            CommandError: another one is imported.
        """
        imported = Path(self.run("-c", "import geoseg; print(geoseg.__file__)").strip())
        if not imported.is_relative_to(self.folder):
            raise CommandError(
                f"{self.commit[:12]}: geoseg is imported from {imported}, not from {self.folder}"
            )


@dataclass(frozen=True, slots=True)
class Names:
    """Which of two names a checkout knows."""

    help: str
    """Its list of commands."""
    schemas: Mapping[str, Any]
    """Its schemas of workflow and training files."""

    @classmethod
    def of(cls, checkout: Checkout) -> Names:
        """Ask the checkout."""
        schemas = {kind: json.loads(checkout.geoseg("schema", kind)) for kind in ("workflow", "training")}
        return cls(checkout.geoseg("--help"), schemas)

    def command(self, name: str) -> str:
        """The command's name in this checkout."""
        return _known(name, lambda other: f"\n  {other} " in self.help, "command")

    def setting(self, command: str, key: str) -> str:
        """The key's name in this checkout."""
        schema = self.schemas["training" if command == "train" else "workflow"]
        return _known(key, lambda other: _has_key(schema, other), "key")


def _known(name: str, knows: Callable[[str], bool], kind: str) -> str:
    for candidate in (name, RENAMED.get(name)):
        if candidate is not None and knows(candidate):
            return candidate
    raise CommandError(f"the {kind} {name} is unknown here; if it was renamed, add it to RENAMED")


def _has_key(schema: Mapping[str, Any], key: str) -> bool:
    """Whether a JSON schema describes a dotted key."""
    nodes: list[Mapping[str, Any]] = [schema]
    for part in key.split("."):
        nodes = [
            node["properties"][part]
            for start in nodes
            for node in _alternatives(schema, start)
            if part in node.get("properties", {})
        ]
    return bool(nodes)


def _alternatives(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    inner = [option for word in ("anyOf", "oneOf", "allOf") for option in node.get(word, ())]
    if "$ref" in node:
        inner.append(schema["$defs"][node["$ref"].rpartition("/")[2]])
    for option in inner:
        yield from _alternatives(schema, option)


def write_scenes(scene: bytes, folder: Path) -> None:
    """Three rotated 16-bit scenes, cut from the demonstration scene, without data where they reach beyond it.

    ``coarse`` has another resolution than the models. They overlap and show the same ground.
    """
    with rasterio.open(io.BytesIO(scene)) as source:
        pixels = source.read().astype(np.uint16) * 40 + 1000
        crs, grid, names = source.crs, source.transform, source.descriptions
    folder.mkdir(parents=True)
    for name, center, height, width, size, angle in (
        ("rotated", (400, 480), 640, 768, 0.3, 17.0),
        ("coarse", (720, 640), 384, 448, 0.42, -28.0),
        ("small", (520, 500), 160, 192, 0.3, 100.0),
    ):
        turned = Affine.translation(*(grid @ center)) @ Affine.rotation(angle) @ Affine.scale(size, -size)
        placed = turned @ Affine.translation(-width / 2, -height / 2)
        part = np.zeros((len(pixels), height, width), np.uint16)
        nearest = {"resampling": Resampling.nearest, "init_dest_nodata": True, "dst_nodata": 0}
        reproject(pixels, part, src_transform=grid, src_crs=crs, dst_transform=placed, dst_crs=crs, **nearest)
        profile = {"crs": crs, "transform": placed, "nodata": 0, "dtype": "uint16", "compress": "deflate"}
        profile |= {"count": len(part), "height": height, "width": width, "tiled": True}
        with rasterio.open(folder / f"{name}.tif", "w", driver="GTiff", **profile) as file:
            file.write(part)
            file.descriptions = names
            file.update_tags(TIFFTAG_DATETIME="2021:01:18 11:30:00")


def make_outputs(checkout: Checkout, scene: bytes, out: Path) -> dict[str, float]:
    """Run every step of one commit into a new folder.

    Returns:
        Seconds by step.
    """
    checkout.check()
    names = Names.of(checkout)
    write_scenes(scene, out / "rotated" / "scenes")
    (out / "vectorize").mkdir()
    seconds = {}
    for step in STEPS:
        begin = time.perf_counter()
        arguments = [_placed(argument, checkout, out) for argument in step.arguments]
        for key, value in step.settings.items():
            arguments += ["--set", f"{names.setting(step.command, key)}={value.replace(OUT, str(out))}"]
        said = checkout.geoseg(names.command(step.command), *arguments)
        if step.stdout is not None:
            Path(step.stdout.replace(OUT, str(out))).write_text(said, encoding="utf-8")
        seconds[step.name] = time.perf_counter() - begin
        print(f"  {step.name}: {seconds[step.name]:.0f} s", flush=True)
    return seconds


def _placed(argument: str, checkout: Checkout, out: Path) -> str:
    """An argument with the output folder in its place, or a renamed workflow file of the checkout."""
    if argument in RENAMED and not (checkout.folder / argument).exists():
        return RENAMED[argument]
    return argument.replace(OUT, str(out))


def outputs_of(commit: str, scene: bytes, out: Path) -> None:
    """One commit's outputs in ``out``, which appears when all of them are there."""
    if out.is_dir():
        print(f"{commit[:12]}: outputs of before, {out}")
        return
    print(f"{commit[:12]}:", flush=True)
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with checked_out(commit) as checkout:
        seconds = make_outputs(checkout, scene, partial)
    partial.rename(out)
    print(f"  {sum(seconds.values()):.0f} s in all")


@contextmanager
def checked_out(commit: str) -> Iterator[Checkout]:
    """A worktree of a commit in a temporary folder, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="same_outputs_") as folder:
        path = Path(folder).resolve() / "checkout"
        git("worktree", "add", "--quiet", "--detach", str(path), commit)
        try:
            yield Checkout(path, commit)
        finally:
            git("worktree", "remove", "--force", str(path))


def git(*arguments: str) -> bytes:
    """The standard output of git in this repository."""
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout  # noqa: S603 - arguments of this file


def conditions() -> str:
    """Short digest of what outputs depend on beside the commit: the machine, the packages, the steps."""
    facts = {
        "machine": [platform.machine(), _processor(), os.cpu_count()],
        "python": sys.version,
        "packages": {name: version(name) for name in PACKAGES},
        "steps": [asdict(step) for step in STEPS],
        "scenes": inspect.getsource(write_scenes),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else [platform.processor()]
    return next((line for line in lines if line.startswith("model name")), lines[0])


def report(comparisons: Iterator[Comparison]) -> int:
    """Print a line for each compared thing, its differences, and a total; how many things differ."""
    equal = different = left_out = 0
    for comparison in comparisons:
        word = "left out" if comparison.left_out else "DIFFERENT" if comparison.differences else "equal"
        print(f"{word:<10} {comparison.path}: {comparison.what}")
        for difference in comparison.differences[:SHOWN]:
            print(f"             {difference}")
        if (more := len(comparison.differences) - SHOWN) > 0:
            print(f"             and {more} more")
        left_out += comparison.left_out
        different += bool(comparison.differences)
        equal += not comparison.left_out and not comparison.differences
    names = {left.name: left.reason for left in LEFT_OUT_NAMES}
    print("left out by name: " + ", ".join(f"{name} ({reason})" for name, reason in names.items()))
    print("renamed: " + (", ".join(f"{old} → {new}" for old, new in RENAMED.items()) or "nothing"))
    print(f"{equal + different} compared: {equal} equal, {different} different; {left_out} left out")
    if not equal + different:
        raise CommandError("there was nothing to compare")
    return different


def main() -> int:
    """Compare the two commits of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("base")
    parser.add_argument("new", nargs="?", default="HEAD")
    parser.add_argument(
        "--cache", type=Path, help="folder that keeps BASE's outputs, such as runs/same_outputs"
    )
    parser.add_argument("--keep", type=Path, help="folder that keeps the outputs; it must not exist yet")
    options = parser.parse_args()
    base, new = (
        git("rev-parse", "--verify", f"{name}^{{commit}}").decode().strip()
        for name in (options.base, options.new)
    )
    scene = git("show", f"{base}:examples/austin_synthetic/scene.tif")
    with tempfile.TemporaryDirectory(prefix="same_outputs_") as temporary:
        folder = Path(temporary).resolve()
        if options.keep is not None:
            options.keep.mkdir(parents=True)
            folder = options.keep.resolve()
        expected = folder / "base"
        if options.cache is not None:
            options.cache.mkdir(parents=True, exist_ok=True)
            expected = options.cache.resolve() / f"{base[:12]}-{conditions()}"
        outputs_of(base, scene, expected)
        outputs_of(new, scene, folder / "new")
        return 1 if report(compare_folders(expected, folder / "new", RENAMED)) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CommandError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
