"""The images of a folder: which files count, in which order, and what is left out, in words.

Folders behind symbolic links count as well. Each folder is visited once, by its device and inode, so that
links in a circle end; real folders come before those behind links, so that a file goes by its own path.
"""

from __future__ import annotations

import glob
import os
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Final

from geoseg.config.stac.assets import LOCAL_SUFFIXES, PHOTO_SUFFIXES, TIFF_SUFFIXES
from geoseg.config.stac.refs import Trust
from geoseg.errors import CatalogError, SceneError
from geoseg.io.files import LOCK_NAME
from geoseg.io.raster.gdal import TIFF_SIGNATURES
from geoseg.io.raster.header import read_header
from geoseg.words import counted, listed

__all__ = ["ImageFiles", "find_images", "is_image", "walk"]

_SIDE_SUFFIXES: Final = frozenset(
    {
        ".ovr",
        ".msk",
        ".aux",
        ".rrd",
        ".prj",
        ".wld",
        ".tfw",
        ".tifw",
        ".jgw",
        ".jpgw",
        ".pgw",
        ".pngw",
        ".j2w",
    }
)
"""Of files that only go with another one."""
_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Images by path, and what was left out, each in one sentence."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def find_images(place: Path, trust: Trust, known: Collection[Path] = ()) -> ImageFiles | None:
    """The images that a folder, a file or a pattern (``images/*.tif``) names; None: it names none of these.

    GeoTIFFs count by their suffix; with trust ``local`` the other formats that GDAL reads, too: JPEG, PNG and
    the like where a world file is beside them, and of a VRT not its members a second time. Files that are
    ``known`` (absolute) for something else are not counted among those that are left out.
    """
    notes: list[str] = []
    if place.is_dir():
        found = sorted(walk(place, notes))
    elif place.is_file():
        return ImageFiles((place,), ()) if is_image(place) else None
    elif glob.has_magic(str(place)):
        matches = [Path(path) for path in sorted(glob.glob(str(place), recursive=True))]  # noqa: PTH207 of any path
        below = (walk(match, notes) if match.is_dir() else iter((match,)) for match in matches)
        found = list(dict.fromkeys(path for paths in below for path in paths))
        if not found:
            raise CatalogError(f"{place}: no file fits this pattern")
    else:
        return None
    counts = [_counts(path, trust) for path in found]
    images, of_mosaics = _without_members(list(compress(found, counts)), trust)
    left = (
        path
        for path, counted_ in zip(found, counts, strict=True)
        if not counted_ and path.absolute() not in known
    )
    return ImageFiles(tuple(images), (*notes, *of_mosaics, *_left_out(left, trust)))


def is_image(path: Path) -> bool:
    """Whether a file is an image rather than a catalog, by its suffix or as a TIFF by its first bytes."""
    if path.suffix.lower() in TIFF_SUFFIXES | LOCAL_SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(4).startswith(TIFF_SIGNATURES)
    except OSError:
        return False  # opening it as a catalog says why it cannot be read


def walk(folder: Path, notes: list[str]) -> Iterator[Path]:
    """The files of a folder and below but hidden ones; what cannot be visited is added to the notes."""
    real: set[tuple[int, int]] = set()
    links: list[Path] = []
    for entry in _entries(folder, notes):
        path = Path(entry.path)
        if entry.is_symlink():
            links.append(path)
        elif path.is_file():
            real.add(_node(path))
            yield path
    for path in links:
        if not path.exists():
            notes.append(f"{path}: is a link to nothing")
        elif _node(path) in real:
            notes.append(f"{path}: links to a file that is listed already")
        elif path.is_file():
            yield path


def _entries(folder: Path, notes: list[str]) -> Iterator[os.DirEntry[str]]:
    """What is no folder in a folder and below; each folder is visited once, those behind links last."""
    seen: dict[tuple[int, int], Path] = {}
    todo, links = deque([folder]), deque[Path]()
    while todo or links:
        where = todo.popleft() if todo else links.popleft()
        try:
            node, entries = _node(where), sorted(os.scandir(where), key=lambda entry: entry.name)
        except OSError as error:
            notes.append(f"{where}: cannot be read ({error.strerror}), so nothing of it is listed")
            continue
        if node in seen:
            notes.append(f"{where}: links to {seen[node]}, which is listed already")
            continue
        seen[node] = where
        if where != folder and (where / LOCK_NAME).exists():
            notes.append(f"{where}: holds maps of geoseg, which are not listed")
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if Path(entry.path).is_dir():
                (links if entry.is_symlink() else todo).append(Path(entry.path))
            else:
                yield entry


def _node(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _counts(path: Path, trust: Trust) -> bool:
    suffix = path.suffix.lower()
    if trust == "local" and suffix in PHOTO_SUFFIXES:
        return _is_placed(path)
    return suffix in TIFF_SUFFIXES or (trust == "local" and suffix in LOCAL_SUFFIXES)


def _is_placed(photo: Path) -> bool:
    """Whether a world file lies beside a photo: ``a.pgw``, ``a.pngw``, ``a.wld`` or ``a.png.aux.xml``."""
    suffix = photo.suffix
    short = f".{suffix[1]}{suffix[-1]}w"
    sides = [photo.with_suffix(side) for side in (short, f"{suffix}w", ".wld", short.upper(), ".WLD")]
    return any(side.is_file() for side in (*sides, photo.with_name(f"{photo.name}.aux.xml")))


def _without_members(images: list[Path], trust: Trust) -> tuple[list[Path], list[str]]:
    """Images without those that a VRT among them is made of, and a note for each such VRT."""
    mosaics = [path for path in images if path.suffix.lower() == ".vrt"]
    real = {path: os.path.realpath(path) for path in images} if mosaics else {}
    notes, members = [], dict[str, Path]()
    for path in mosaics:
        try:
            below = {os.path.realpath(file) for file in read_header(str(path), trust).files[1:]}
        except SceneError:
            continue  # refused as a scene, with its reason
        taken = [other for other in images if other != path and real[other] in below]
        members.update((str(other), path) for other in taken)
        if taken:
            notes.append(
                f"{path}: is made of {counted(len(taken), 'file')} of the folder, mapped by it alone"
            )
    return [path for path in images if str(path) not in members], notes


def _left_out(paths: Iterable[Path], trust: Trust) -> Iterator[str]:
    """How many files of which suffix were not looked at, in one sentence; nothing where there are none."""
    counts = Counter(
        path.suffix.lower()
        for path in paths
        if path.suffix.lower() not in _SIDE_SUFFIXES and not path.name.lower().endswith(".aux.xml")
    )
    if not counts:
        return
    images = {suffix: count for suffix, count in counts.items() if suffix in LOCAL_SUFFIXES}
    others = {suffix: count for suffix, count in counts.items() if suffix not in LOCAL_SUFFIXES}
    said = []
    if images:
        why = "trust local reads them" if trust == "catalog" else "no world file is beside them"
        said.append(f"{_numbers(images)} ({why})")
    if others:
        said.append(_numbers(others))
    yield f"not looked at: {'; '.join(said)}"


def _numbers(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return listed((f"{count} {suffix or 'without a suffix'}" for suffix, count in ordered), limit=_SHOWN)
