"""The one place for GDAL: what may be opened, with which settings, and how its errors become sentences.

Every call of GDAL that opens a file stands in :func:`environment` and :func:`gdal_errors`, or in
:func:`open_header` and :func:`reading_back`, which are both with the words of a scene's header and of an
output.

Files of a catalog are hostile unless it says otherwise: plain GeoTIFF, no side file, no overview, no network.
Files of one's own (trust ``local``) may be anything that GDAL reads from disk: JP2, VRT mosaics, ``.ovr``,
``.msk``, world files. The network stays closed for both, in two ways that were tried against ``/vsicurl``,
``/vsis3``, a VRT of a URL and WMS: curl-backed file systems know no file name, and what speaks HTTP finds a
proxy that is not there.
"""

from __future__ import annotations

import logging
import os
import re
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.session import DummySession
from rasterio.windows import Window as RasterWindow

from geoseg.config.stac.refs import Trust
from geoseg.errors import GeosegError, OutputError, SceneError
from geoseg.grid.window import Window

__all__ = [
    "CACHE_BYTES",
    "GDAL_ERRORS",
    "GDAL_VERSION",
    "PNG_SIGNATURE",
    "TIFF_SIGNATURES",
    "collected_warnings",
    "environment",
    "gdal_errors",
    "has_geokeys",
    "open_header",
    "open_raster",
    "raster_window",
    "reading_back",
    "reason",
    "refusal",
]

GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError)
"""What rasterio raises for a file it cannot open or read; the middle one has no public name in rasterio."""

GDAL_VERSION: str = rasterio.__gdal_version__

CACHE_BYTES = 128 << 20
"""GDAL's block cache, per process, unless the variable GDAL_CACHEMAX is set: a row of blocks of a scene
100,000 pixels wide, so that windows that overlap do not decode twice. In bytes: ``rasterio.Env`` takes bytes
where the variable takes megabytes, and a cache of 128 bytes decodes everything ten times."""

_CLOSED = {
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
    "GDAL_HTTP_PROXY": "127.0.0.1:1",
    "GDAL_HTTPS_PROXY": "127.0.0.1:1",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GTIFF_IGNORE_READ_ERRORS": "NO",
    "GDAL_NUM_THREADS": "1",
}
_OPTIONS: dict[Trust, dict[str, Any]] = {
    "catalog": {**_CLOSED, "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO"},
    "local": {**_CLOSED, "GDAL_DISABLE_READDIR_ON_OPEN": "FALSE", "GDAL_PAM_ENABLED": "YES"},
}

_SERVICES = frozenset(
    {"DAAS", "EEDA", "EEDAI", "GTI", "HTTP", "NGW", "OGCAPI", "PLMOSAIC", "PLSCENES", "PostGISRaster"}
    | {"RasterLite", "STACIT", "STACTA", "WCS", "WMS", "WMTS"}
)
"""Drivers whose file is only an address."""

_ADDRESS = re.compile(r"(?i)[a-z][a-z0-9+.-]+:|[\\/]{1,2}vsi")
"""``http://…``, ``NETCDF:…``, ``vrt://…``, ``/vsicurl/…``; not ``C:\\``, whose scheme would be one letter."""

PNG_SIGNATURE = b"\x89PNG"
"""First bytes of a PNG."""
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF or BigTIFF, in either byte order."""
_SIGNATURES = (
    (b"\xff\xd8\xff", "a JPEG"),
    (PNG_SIGNATURE, "a PNG"),
    (b"\x00\x00\x00\x0cjP", "a JPEG 2000"),
    (b"\x89HDF", "an HDF5 or netCDF file"),
    (b"CDF", "a netCDF file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"<VRT", "a VRT, which points to other files"),
    (b"version https://git-lfs", "a Git LFS pointer, not the image itself"),
    (b"<", "XML or HTML"),
)
_GEOKEYS = 34735
_LONGEST = 240


def refusal(file: str, text: str, *, scene: str | None = None) -> SceneError:
    """The one line that refuses a file: ``FILE text``; an endless path is cut in its middle.

    What describes or reads a scene is a boundary of :func:`geoseg.errors.of_scene`, which names the scene;
    elsewhere ``scene``, its id, does.
    """
    if len(file) > _LONGEST:
        file = f"{file[: _LONGEST // 2]}…{file[-_LONGEST // 2 :]}"
    return SceneError(" ".join(f"{file} {text}".split()), scene=scene)


def reason(error: BaseException) -> str:
    """GDAL's own words for an error: the innermost message, at most 200 characters."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = getattr(error, "errmsg", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())[:200].rstrip(".")


def environment(trust: Trust, **more: str) -> rasterio.Env:
    """The settings under which files are opened and read; cheap to enter (40 µs), local to the thread."""
    options = {**_OPTIONS[trust], **more}
    if "GDAL_CACHEMAX" not in os.environ:
        options = {**options, "GDAL_CACHEMAX": CACHE_BYTES}
    return rasterio.Env(session=DummySession(), **options)


def raster_window(window: Window) -> RasterWindow:
    """A window as rasterio takes it."""
    return RasterWindow(window.col, window.row, window.width, window.height)


@contextmanager
def gdal_errors(failure: Callable[[BaseException], GeosegError]) -> Iterator[None]:
    """What GDAL raises inside the block is raised as ``failure(error)``; see :func:`reason`."""
    try:
        yield
    except GDAL_ERRORS as error:
        raise failure(error) from error


@contextmanager
def reading_back(path: Path, shown: Path | None = None) -> Iterator[None]:
    """Settings and errors (OutputError) for a raster that geoseg wrote; ``shown``: the file as they name it.

    GDAL's settings belong to the thread, not to the block of code: enter this around each call, never around
    a ``yield``, since a caller's own settings would be undone in the wrong order.
    """
    final = shown or path

    def failure(error: BaseException) -> GeosegError:
        why = reason(error).replace(str(path), final.name)
        return OutputError(f"{final} cannot be read back ({why}); map the scene again")

    with environment("catalog"), gdal_errors(failure):
        yield


class _Warnings(logging.Handler):
    """Collects GDAL's warnings while a thread listens; rasterio logs them and goes on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        messages: list[str] | None = getattr(self.thread, "messages", None)
        if messages is not None:
            messages.append(record.getMessage())


_COLLECTOR = _Warnings()
logging.getLogger("rasterio._err").addHandler(_COLLECTOR)


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """GDAL's warnings of this thread: libjpeg reports a damaged tile as one, and fills it with gray."""
    messages: list[str] = []
    _COLLECTOR.thread.messages = messages
    try:
        yield messages
    finally:
        _COLLECTOR.thread.messages = None


_FILTERS = threading.Lock()
"""Warning filters belong to the process; two threads must not swap them at once."""


def open_raster(href: str, trust: Trust, *, pixels: bool) -> DatasetReader:
    """Open a file, inside :func:`environment`.

    Where ``pixels`` will be read, overviews are out of reach for files of a catalog. (GDAL hides band
    descriptions together with overviews, so a header is read with both; that is safe as long as no overview
    is asked for.)

    Raises:
        SceneError: not a plain local file, not a raster that the trust allows, a header that cannot be read.
    """
    path = _plain_file(href)
    start = _start(href, path)
    tiff = start.startswith(TIFF_SIGNATURES)
    if trust == "catalog" and not tiff:
        known = (name for signature, name in _SIGNATURES if start.startswith(signature))
        what = next(known, "something else")
        raise refusal(
            href,
            f"is not a GeoTIFF but {what}: convert it with gdal_translate, or set scenes.trust: local "
            "(or --trust local)",
        )
    options = {"GEOREF_SOURCES": "INTERNAL"} if trust == "catalog" else {}
    if trust == "catalog" and pixels:
        options["OVERVIEW_LEVEL"] = "NONE"
    text = "has a header that is truncated or corrupt" if tiff else "is not a raster that GDAL reads"
    with (
        gdal_errors(lambda error: refusal(href, f"{text} ({reason(error)}): fetch the file again")),
        _FILTERS,
        warnings.catch_warnings(),
    ):
        # A file without georeference is refused by its header, in words.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return DatasetReader(str(path), driver=["GTiff"] if tiff else _drivers(), **options)


@contextmanager
def open_header(href: str, trust: Trust) -> Iterator[DatasetReader]:
    """A file open for its header alone; SceneError as :func:`open_raster`, also for the block."""
    text = "has a header that cannot be read ({}): fetch the file again"
    with (
        environment(trust),
        gdal_errors(lambda error: refusal(href, text.format(reason(error)))),
        open_raster(href, trust, pixels=False) as dataset,
    ):
        yield dataset


def _drivers() -> list[str]:
    with rasterio.Env() as env:
        return sorted(set(env.drivers()) - _SERVICES)


def _plain_file(href: str) -> Path:
    if not href or _ADDRESS.match(href):
        raise refusal(
            href or "''", "is an address, not a file: download it and give the path of the local file"
        )
    try:
        path = Path(href).absolute()
        if _ADDRESS.match(str(path)):
            raise refusal(href, "is an address of GDAL, not a file: give the path of a local file")
        if path.is_file():
            return path
        exists = path.exists()
    except (OSError, ValueError) as error:
        raise refusal(repr(href), f"is not a path of a file ({reason(error)})") from error
    if exists:
        raise refusal(href, "is not a file: give the path of a raster file")
    raise refusal(href, "does not exist: check the path (in a catalog, the href), or put the file there")


def _start(href: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise refusal(href, f"cannot be read ({reason(error)})") from error
    if not start:
        raise refusal(href, "is empty (0 bytes): fetch the file again")
    return start


def has_geokeys(path: Path) -> bool:
    """Whether a TIFF holds GeoTIFF keys: then a CRS is stored, even where PROJ cannot express it."""
    with path.open("rb") as file:
        start = file.read(16)
        if not start.startswith(TIFF_SIGNATURES):
            return False
        order = "<" if start.startswith(b"II") else ">"
        big = start[2:4] in (b"+\0", b"\0+")
        offset = struct.unpack_from(order + ("Q" if big else "I"), start, 8 if big else 4)[0]
        file.seek(offset)
        count_format, entry = (order + "Q", 20) if big else (order + "H", 12)
        head = file.read(struct.calcsize(count_format))
        if len(head) < struct.calcsize(count_format):
            return False
        entries = file.read(min(struct.unpack(count_format, head)[0], 4096) * entry)
    tags = (entries[at : at + 2] for at in range(0, len(entries) - entry + 1, entry))
    return any(struct.unpack(order + "H", tag)[0] == _GEOKEYS for tag in tags)
