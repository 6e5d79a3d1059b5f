"""``geoseg doctor``: what this installation has, as text to paste into a report."""

from __future__ import annotations

import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

import click

from geoseg._version import __version__
from geoseg.cli.options import examples

__all__ = ["doctor"]

_LIBRARIES = (
    "torch", "torchvision", "segmentation-models-pytorch", "numpy", "scipy", "numba", "rasterio", "pyproj",
    "shapely", "pyogrio", "geopandas", "xarray", "rioxarray", "dask", "distributed", "pystac",
)  # fmt: skip
_FEW_FILES = 1024
"""Files that a process may open, below which a run over many-file scenes on many workers may end."""


@click.command(epilog=examples("geoseg doctor > report.txt", "geoseg doctor --compile"))
@click.option(
    "--compile", "compiles", is_flag=True, help="Compile first what the first map would wait for: a minute."
)
def doctor(*, compiles: bool) -> None:
    """Show what this installation has, to paste into a report.

    Versions, hardware, folders that can be written, extras. Exit code 2 where something has to be mended.
    """
    if compiles:
        from geoseg.flow.run.compile import compile_all

        compile_all()
    problems: list[str] = []
    rows = [*_software(), *_hardware(), *_folders(problems), *_extras()]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:{width}}  {value}")
    for problem in problems:
        click.echo(f"problem: {problem}", err=True)
    if problems:
        sys.exit(2)
    click.echo("next: geoseg demo maps the scene that comes with geoseg")


def _software() -> Iterator[tuple[str, str]]:
    import pyproj
    import shapely

    from geoseg.io.raster.gdal import GDAL_VERSION

    yield "geoseg", f"{__version__} in {Path(__file__).resolve().parent.parent}"
    yield "Python", f"{platform.python_version()} in {sys.prefix}"
    yield "system", f"{platform.platform()}, {platform.machine()}"
    yield "GDAL", f"{GDAL_VERSION}, PROJ {pyproj.proj_version_str}, GEOS {shapely.geos_version_string}"
    yield "libraries", ", ".join(f"{name} {_version_of(name)}" for name in _LIBRARIES)
    qgis = shutil.which("qgis")
    yield "QGIS", qgis or "not on this machine's path; maps open in it elsewhere"


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _hardware() -> Iterator[tuple[str, str]]:
    import torch

    from geoseg.engine.execute import cores_and_memory

    cores, memory = cores_and_memory()
    yield "CPU", f"{cores} cores for geoseg, {torch.backends.cpu.get_cpu_capability()}"
    yield "memory", f"{memory / 1e9:.1f} GB for geoseg"
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(index)
            yield (
                f"GPU {index}",
                f"{about.name}, {about.total_memory / 1e9:.1f} GB, CUDA {torch.version.cuda}",
            )
    else:
        yield "GPU", "none that torch sees: networks run on the CPU"


def _folders(problems: list[str]) -> Iterator[tuple[str, str]]:
    for name, folder, what in (
        ("working folder", Path.cwd(), "maps go to runs/ in it: work elsewhere, or choose output"),
        ("temporary", Path(tempfile.gettempdir()), "set TMPDIR to a folder that can be written"),
    ):
        if _is_writable(folder):
            yield name, f"{folder}, {shutil.disk_usage(folder).free / 1e9:.1f} GB free"
        else:
            yield name, f"{folder}, not writable"
            problems.append(f"{folder} cannot be written; {what}")
    from geoseg.compiled import is_compiled, kept_in

    kept = kept_in()
    if kept is None:
        yield "compiled loops", "kept nowhere"
        problems.append(
            "each process compiles its loops; set NUMBA_CACHE_DIR to a folder that can be written"
        )
    else:
        from geoseg.flow.run.compile import exercise_all

        state = "all there" if is_compiled(exercise_all) else "compiled when first called"
        yield "compiled loops", f"{state}, kept in {kept}"
    files = _open_files()
    if files is not None:
        yield "open files", f"at most {files}"
        if files < _FEW_FILES:
            problems.append(f"a process may open {files} files only; ulimit -n 4096 allows more")


def _is_writable(folder: Path) -> bool:
    """Whether a file can be written there, tried."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _open_files() -> int | None:
    try:
        import resource
    except ModuleNotFoundError:  # not on Windows
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _extras() -> Iterator[tuple[str, str]]:
    """Each extra of the package, and what of it is missing."""
    needed: dict[str, list[str]] = {}
    for text in requires("geoseg") or ():
        found = re.match(r"([\w.-]+).*extra == ['\"]([\w-]+)['\"]", text)
        if found and found[1] != "geoseg":
            needed.setdefault(found[2], []).append(found[1])
    for extra, names in needed.items():
        missing = [name for name in names if _version_of(name) == "missing" and find_spec(name) is None]
        if not missing:
            yield f"extra {extra}", "installed"
        else:
            yield f"extra {extra}", f"without {', '.join(missing)}: pip install 'geoseg[{extra}]'"
