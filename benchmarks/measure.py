"""What the benchmarks of speed share: arms as processes, what they take, where, and how it is shown.

An arm is a command in a process of its own. CPU seconds are those of the process and of all that it has
started and waited for, start and imports included. Memory is read ten times a second: the sum over the
processes of what each has for itself and its share of what they have in common (PSS).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
from rasterio.windows import Window

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
EXAMPLE = ROOT / "examples" / "austin_synthetic" / "scene.tif"
_SAMPLES = 0.1
"""Seconds between two looks at the memory."""
_PR_SET_CHILD_SUBREAPER = 36
_ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the things that are compared."""

    name: str
    command: tuple[str, ...]
    checkout: Path = ROOT
    """Where its geoseg is."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run of an arm took."""

    cpu: float
    """Seconds, of the process and of what it started."""
    wall: float
    """Seconds."""
    peak_mb: float
    """Most memory of all processes together."""
    said: Mapping[str, Any] = field(default_factory=dict)
    """The last line that it printed, where that is a JSON object."""


def environment(checkout: Path) -> dict[str, str]:
    """Variables of an arm: its own geoseg, one thread a process, modules compiled once as for anybody."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | _ALONE | {"PYTHONPATH": str(checkout)}


def take(arm: Arm, folder: Path, *, memory: bool = True) -> Taken:
    """Run an arm to its end, which has to be a good one.

    ``memory``: whether to look at that of all its processes together, which takes time of a core; else it
    is the most of one of them.

    Raises:
        SystemExit: it failed; with what it said.
    """
    (taken,) = take_together([arm], folder, memory=memory)
    return taken


def take_together(arms: Sequence[Arm], folder: Path, *, memory: bool = True) -> list[Taken]:
    """Run arms at the same time, and wait for all.

    What an arm leaves to end after it, as the process that dask's workers are forked from, is waited for,
    too; its CPU time is shared among arms of the same time.
    """
    system = ctypes.CDLL(None)
    system.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # such processes become ours
    others = _children(os.getpid())
    start = time.perf_counter()
    logs = [folder / f"arm-{place}.log" for place in range(len(arms))]
    running = []
    for arm, log in zip(arms, logs, strict=True):
        with log.open("wb") as said:
            running.append(
                subprocess.Popen(  # noqa: S603 - our own commands
                    arm.command, stdout=said, stderr=subprocess.STDOUT, env=environment(arm.checkout)
                )
            )
    peaks = [_Peak(process.pid) if memory else None for process in running]
    found: list[Taken] = []
    for arm, process, peak, log in zip(arms, running, peaks, logs, strict=True):
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        text = log.read_text(errors="replace")
        if process.returncode:
            raise SystemExit(f"{arm.name} failed:\n{shlex.join(arm.command)}\n{text[-4000:]}")
        largest = used.ru_maxrss * 1024 / 1e6
        together = 0.0 if peak is None else peak.stop()
        found.append(Taken(used.ru_utime + used.ru_stime, wall, max(together, largest), _last_json(text)))
    later = _wait_for_the_rest(others) / len(arms)
    system.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    return [replace(taken, cpu=taken.cpu + later) for taken in found]


def _wait_for_the_rest(others: set[int]) -> float:
    """Wait for what the arms have left, which is none of the other children; its CPU seconds."""
    spent = 0.0
    while left := _children(os.getpid()) - others:
        for child in left:
            used = os.wait4(child, 0)[2]
            spent += used.ru_utime + used.ru_stime
    return spent


class _Peak:
    """The most memory that a process and those below it have together, looked at in a thread."""

    def __init__(self, pid: int) -> None:
        self._pid, self._most, self._ended = pid, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """Megabytes."""
        self._ended.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLES):
            family = _family(self._pid)
            if len(family) > 1:  # of one alone the system keeps the peak itself
                self._most = max(self._most, sum(map(_pss, family)) / 1e6)


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for process in found:
        found += _children(process)
    return found


def _children(pid: int) -> set[int]:
    """Those that a process has now."""
    found: set[int] = set()
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found |= {int(child) for child in thread.read_text().split()}
        except OSError:
            continue  # it has ended
    return found


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _last_json(text: str) -> dict[str, Any]:
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    return {}


def compared(
    arms: Iterable[Arm], rounds: int, folder: Path, each: Callable[[Arm], None]
) -> dict[str, list[Taken]]:
    """Run arms in turn, several times over, ``each`` before every run; what each took, by its name."""
    arms = list(arms)
    found: dict[str, list[Taken]] = {arm.name: [] for arm in arms}
    for _ in range(rounds):
        for arm in arms:
            each(arm)
            found[arm.name].append(take(arm, folder))
            print(f"    {arm.name:40} {found[arm.name][-1].cpu:8.1f} CPU s", file=sys.stderr, flush=True)
    return found


def median(taken: Sequence[Taken], figure: str) -> float:
    """The median of a figure."""
    return float(statistics.median(getattr(one, figure) for one in taken))


def mapping(name: str, catalog: Path, output: Path, *, checkout: Path = ROOT, **settings: str) -> Arm:
    """An arm that maps a catalog's scenes by the workflow of buildings, with settings of it."""
    given = {
        "catalog": str(catalog),
        "output": str(output / "maps" / name.replace(" ", "-")),
        "evaluate": "null",
    }
    options = [part for key, value in (given | settings).items() for part in ("--set", f"{key}={value}")]
    workflow = str(checkout / "workflows" / "austin_buildings.yaml")
    command = (sys.executable, "-P", "-m", "geoseg", "run", workflow, *options, "--progress", "none")
    return Arm(name, command, checkout)


def planned(arm: Arm) -> dict[str, Any]:
    """What ``geoseg plan --json`` says of a mapping arm's first scene."""
    command = [*arm.command[: arm.command.index("run")], "plan", *arm.command[arm.command.index("run") + 1 :]]
    command = command[: command.index("--progress")]
    said = subprocess.run(  # noqa: S603 - our own command
        [*command, "--json"], check=True, capture_output=True, text=True, env=environment(arm.checkout)
    )
    found: dict[str, Any] = json.loads(said.stdout)["scenes"][0]
    return found


def removed(arm: Arm) -> None:
    """Remove what an arm has mapped before."""
    for part in arm.command:
        if part.startswith("output="):
            shutil.rmtree(part.removeprefix("output="), ignore_errors=True)


def warm(checkouts: Iterable[Path], folder: Path) -> None:
    """Let each checkout compile its loops, which nothing here is to measure."""
    for checkout in dict.fromkeys(checkouts):
        arm = mapping("warm", EXAMPLE, folder, checkout=checkout, **{"compute.executor": "serial"})
        for _ in range(2):
            removed(arm)
            take(arm, folder)


def make_scene(path: Path, rows: int, cols: int) -> Path:
    """The demonstration scene (1 Mpx) so many times, mirrored side by side, as one deflated GeoTIFF."""
    with rasterio.open(EXAMPLE) as source:
        pixels, profile = source.read(), source.profile
    side = pixels.shape[1]
    pair = np.concatenate([pixels, pixels[:, :, ::-1]], axis=2)
    strip = np.concatenate([pair] * ((cols + 1) // 2), axis=2)[:, :, : cols * side]
    kept = {key: profile[key] for key in ("driver", "dtype", "count", "crs", "transform", "nodata")}
    kept |= {"compress": "deflate", "zlevel": 1, "tiled": True, "blockxsize": 512, "blockysize": 512}
    with rasterio.open(
        path, "w", height=rows * side, width=cols * side, BIGTIFF="IF_SAFER", **kept
    ) as target:
        for row in range(rows):
            window = Window(0, row * side, cols * side, side)
            target.write(strip if row % 2 == 0 else strip[:, ::-1], window=window)
        for band, color in enumerate(("red", "green", "blue"), 1):
            target.set_band_description(band, color)
    return path


def machine() -> dict[str, Any]:
    """Where this runs, and what else does."""
    text = Path("/proc/cpuinfo").read_text()
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    flags = set(re.findall(r"\b(?:avx2|avx512f|avx512_vnni|avx512_bf16|amx_bf16|amx_int8)\b", text))
    packages = ("numpy", "torch", "openvino", "onnxruntime", "rasterio", "shapely", "numba")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": f"{name[1] if name else platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "instructions": sorted(flags),
        "limit": os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def commit(checkout: Path) -> str:
    """A checkout's commit; a + where files have changed since."""
    git = ("git", "-C", str(checkout))
    name = subprocess.run((*git, "rev-parse", "--short", "HEAD"), check=True, capture_output=True, text=True)  # noqa: S603 - git
    changed = subprocess.run((*git, "status", "--porcelain", "-uno"), check=True, capture_output=True)  # noqa: S603 - git
    return name.stdout.strip() + ("+" if changed.stdout else "")


class Benchmark:
    """The command line of a benchmark, its temporary folder, its tables and what it writes in the end."""

    folder: Path
    """For scenes and maps, until the end."""

    def __init__(self, about: str | None) -> None:
        self.parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
        self.parser.add_argument(
            "--out", type=Path, required=True, help="folder for the picture and the JSON"
        )
        self.parser.add_argument("--rounds", type=int, default=1, help="runs of each arm; medians are shown")
        self.parser.add_argument("--quick", action="store_true", help="small scenes, to see that it runs")
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.figures: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.arguments = self.parser.parse_args()
        self.arguments.out.mkdir(parents=True, exist_ok=True)
        before: Path | None = getattr(self.arguments, "before", None)
        self.commits = {"geoseg": commit(ROOT)} | ({"before": commit(before)} if before else {})
        self.machine = machine()
        print(" · ".join(f"{key} {value}" for key, value in (self.machine | self.commits).items() if value))
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._temporary.cleanup()
        if kind is None:
            name = Path(sys.argv[0]).stem
            content = {
                "machine": self.machine,
                "load after": round(os.getloadavg()[0], 1),
                "commits": self.commits,
            }
            content |= {"tables": self.tables, "figures": self.figures}
            text = json.dumps(content, indent=2, default=str)
            (self.arguments.out / f"{name}.json").write_text(text + "\n", encoding="utf-8")

    def keep(self, taken: Mapping[str, Sequence[Taken]]) -> None:
        """Keep every run of every arm."""
        self.figures |= {name: [asdict(one) for one in runs] for name, runs in taken.items()}

    def table(self, title: str, rows: list[dict[str, Any]], *notes: str) -> None:
        """Show rows as a table of Markdown, and keep them."""
        self.tables[title] = rows
        print(f"\n## {title}\n\n{markdown(rows)}\n")
        for note in notes:
            print(note)
        sys.stdout.flush()


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as a table."""
    names = list(rows[0])
    aligned = ["---" if isinstance(rows[0][name], str) else "--:" for name in names]
    lines = [names, aligned, *([_cell(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits
    return str(value)
