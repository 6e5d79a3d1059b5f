"""STAC catalogs on local disk to scenes.

An item, a collection, a catalog tree or an item collection; nothing is fetched, and no image is opened. What
is wrong with the catalog or the environment is an error; what is wrong with one item refuses that item only.

GDAL would take ``/vsicurl/…``, ``vrt://…`` or ``WMS:…`` where a path is expected, and fetch them. So hrefs
are read here (:func:`local_path`), and only plain local paths reach GDAL.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

import pystac

from geoseg.config.stac.assets import Asset, assets_of
from geoseg.config.stac.item import scene_of
from geoseg.config.stac.refs import SceneRef, Trust
from geoseg.errors import CatalogError, without_scene
from geoseg.words import did_you_mean, listed

__all__ = [
    "Catalog", "FoundItem", "LocalStacIO", "UnsetVariableError", "UnusableItem", "catalog_of", "load_catalog",
    "local_assets", "local_path", "read_item",
]  # fmt: skip

_MAX_BYTES = 1 << 29
_MAX_DEPTH = 30
_VARIABLE = re.compile(r"\$(?:(?P<plain>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)\})(?=/|$)", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NO_NAME = re.compile("[\0\ud800-\udfff]")  # no name of a file can hold these
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # two letters or more: `C:` is a drive
_STAC_MISTAKES = (pystac.STACError, pystac.STACTypeError, KeyError, TypeError, ValueError, AttributeError)
"""What pystac raises for JSON that is not STAC."""


@dataclass(frozen=True, slots=True)
class UnusableItem:
    """Something of a catalog or folder that cannot be used."""

    id: str
    """Id of the item, or the path of a file that holds none."""
    reason: str
    """One sentence: what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """The absolute path of a STAC catalog, its usable scenes in its order, and which items are not."""

    path: Path
    scenes: tuple[SceneRef, ...]
    refusals: tuple[UnusableItem, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What was left out of it when it was made, or kept in it, each in one sentence."""


@dataclass(frozen=True, slots=True)
class FoundItem:
    """One item's JSON, not yet understood."""

    id: str
    source: Path
    item: pystac.Item


def load_catalog(path: str | Path, trust: Trust = "catalog", ids: Collection[str] | None = None) -> Catalog:
    """Read the scenes of a STAC catalog, and a refusal for each item or linked file that cannot be used.

    Hrefs are relative to the file that holds the item; ``$NAME/…`` takes the environment variable. Ids that
    differ by upper and lower case alone are refused, all of them: their folders would meet on some disks.

    Args:
        path: JSON of an item, a collection, a catalog, or an item collection (STAC 1.0 or 1.1).
        trust: what may be opened; see :data:`geoseg.config.stac.refs.Trust`.
        ids: which items; None takes all. The others are not looked at.

    Raises:
        CatalogError: no STAC, nothing in it, an id that it does not hold, or an environment variable that is
            not set; names file, item and asset.
    """
    path = local_path(str(path), Path.cwd(), {})
    return catalog_of(path, list(_walk(path, LocalStacIO())), trust, ids)


def catalog_of(
    path: Path, entries: Sequence[FoundItem | UnusableItem], trust: Trust, ids: Collection[str] | None
) -> Catalog:
    """The scenes of what was found in a catalog or folder; arguments and errors of :func:`load_catalog`."""
    items = [entry for entry in entries if isinstance(entry, FoundItem)]
    refused = [entry for entry in entries if isinstance(entry, UnusableItem)]
    if not items and not refused:
        raise CatalogError(f"{path}: holds no items; make one with `geoseg catalog FOLDER`")
    if ids is not None:
        known = {entry.id for entry in entries}
        for wanted in ids:
            if wanted not in known:
                hint = did_you_mean(wanted, known) or f"; it holds {listed(sorted(known))}"
                raise CatalogError(f"{path}: holds no item {wanted!r}{hint}")
        items = [found for found in items if found.id in ids]
        refused = [refusal for refusal in refused if refusal.id in ids]
    ambiguous = _ambiguous(items, {refusal.id for refusal in refused})
    scenes: list[SceneRef] = []
    for found in items:
        if found.id in ambiguous:
            refused.append(_refused(found.id, ambiguous[found.id]))
            continue
        try:
            scenes.append(_scene(found, trust))
        except UnsetVariableError as error:
            raise CatalogError(f"{path}: item {found.id!r}, {error}") from error
        except CatalogError as error:
            refused.append(_refused(found.id, error))
    return Catalog(path, tuple(scenes), _once(refused))


class LocalStacIO(pystac.StacIO):
    """pystac's file access, on local disk and for reading only."""

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        """The text of a local file; a CatalogError where it is missing, too large or not UTF-8."""
        del args, kwargs
        path = local_path(os.fspath(source), Path.cwd(), {})
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise CatalogError(f"{path}: is larger than {_MAX_BYTES >> 20} MiB; split the catalog")
            return path.read_text(encoding="utf-8-sig")
        except FileNotFoundError as error:
            beside = [other.name for other in path.parent.glob("*.json")] if path.parent.is_dir() else []
            raise CatalogError(f"{path}: no such file{did_you_mean(path.name, beside)}") from error
        except OSError as error:
            raise CatalogError(
                f"{path}: cannot be read: {error.strerror}; give a STAC file (JSON)"
            ) from error
        except UnicodeDecodeError as error:
            raise CatalogError(f"{path}: is not UTF-8 text, so it is not a STAC file") from error

    def read_json(self, source: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The JSON object of a local file; a CatalogError where it holds none."""
        text = self.read_text(source, *args, **kwargs)
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            if text.lstrip().startswith("<"):
                raise CatalogError(
                    f"{source}: is HTML or XML, such as a web page, not a STAC catalog (JSON): download the "
                    "catalog itself, or make one with `geoseg catalog FOLDER`"
                ) from error
            raise CatalogError(f"{source}:{error.lineno}: is not JSON: {error.msg}") from error
        except (RecursionError, ValueError) as error:  # nested without end, or a number of 5000 digits
            raise CatalogError(f"{source}: is not a STAC file: {error}") from error
        if not isinstance(value, dict):
            raise CatalogError(f"{source}: is not a STAC file: it holds no JSON object")
        return value

    def write_text(self, dest: Any, txt: str, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: catalogs are written by :func:`geoseg.io.stac.folder.make_catalog`."""
        del txt, args, kwargs
        raise CatalogError(f"{dest}: a catalog that is read is not written")


def _walk(path: Path, stac_io: LocalStacIO) -> Iterator[FoundItem | UnusableItem]:
    """Every item from a file down, each file once; broken files below the first one are refusals."""
    todo: list[tuple[Path, int]] = [(path, 0)]
    seen: set[Path] = set()
    while todo:
        file, depth = todo.pop()
        if file in seen:  # linked twice, or a circle
            continue
        seen.add(file)
        try:
            entries, below = _read(file, stac_io)
        except UnsetVariableError:
            raise
        except CatalogError as error:
            if depth == 0:
                raise
            entries, below = [UnusableItem(str(file), str(error))], []
        yield from entries
        if below and depth >= _MAX_DEPTH:
            yield UnusableItem(
                str(file), f"{file}: lies deeper than {_MAX_DEPTH} catalogs; link it higher up"
            )
            continue
        todo += [(child, depth + 1) for child in reversed(below)]


def _read(file: Path, stac_io: LocalStacIO) -> tuple[list[FoundItem | UnusableItem], list[Path]]:
    """The items in one file, and the files that it links to."""
    value = stac_io.read_json(str(file))
    kind = value.get("type")
    if kind == "Feature":
        return [read_item(value, file)], []
    if kind == "FeatureCollection":
        features = value.get("features")
        if not isinstance(features, list):
            raise CatalogError(f"{file}: is not a STAC file: its features are not a list")
        return [read_item(feature, file, i) for i, feature in enumerate(features)], []
    if "stac_version" not in value:
        raise CatalogError(
            f"{file}: is not a STAC item, collection, catalog or item collection (it has no stac_version); "
            "make a catalog with `geoseg catalog FOLDER`"
        )
    parent = pystac.Collection if kind == "Collection" else pystac.Catalog
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a collection's extent, which is not read
            links = parent.from_dict(value, href=str(file), migrate=False, preserve_dict=False).links
    except _STAC_MISTAKES as error:
        raise CatalogError(f"{file}: is not a valid STAC {kind or 'catalog'}: {_why(error)}") from error
    return _linked([link for link in links if link.rel in ("item", "child")], file)


def _linked(links: list[pystac.Link], file: Path) -> tuple[list[FoundItem | UnusableItem], list[Path]]:
    """The files that links name, and a refusal for each link that names none."""
    refused: list[FoundItem | UnusableItem] = []
    files = []
    for link in links:
        try:
            files.append(local_path(str(link.target), file.parent, os.environ))
        except UnsetVariableError as error:
            error.args = (f"{file}: {link.rel} link {error}",)
            raise
        except CatalogError as error:
            refused.append(UnusableItem(str(link.target), f"{link.rel} link of {file.name}: {error}"))
    return refused, files


def read_item(value: object, file: Path, position: int | None = None) -> FoundItem | UnusableItem:
    """An item's JSON, of this file and place in its list; a refusal where it is no valid item."""
    place = f"{file.name}" if position is None else f"{file.name}, features[{position}]"
    item_id = value.get("id") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(item_id, str) or not item_id:
        return UnusableItem(place, f"{place}: is not a STAC item: its id must be text")
    if _NO_NAME.search(item_id):
        return _refused(ascii(item_id), "no file can hold this id; give it another")
    try:
        for asset in assets_of(value.get("assets") or {}):
            _ = asset.href  # pystac would say 'href', but not of which asset
        item = pystac.Item.from_dict(value, href=str(file), migrate=False, preserve_dict=False)
    except CatalogError as error:
        return _refused(item_id, error)
    except _STAC_MISTAKES as error:
        return _refused(item_id, f"{place} is not a valid STAC item: {_why(error)}")
    return FoundItem(item_id, file, item)


def _refused(scene: str, reason: object) -> UnusableItem:
    return UnusableItem(scene, str(CatalogError(str(reason), scene=scene)))


def _why(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error).split("\n")[0]


def _scene(found: FoundItem, trust: Trust) -> SceneRef:
    def resolve(key: str, href: str) -> str:
        try:
            return str(local_path(href, found.source.parent, os.environ))
        except UnsetVariableError as error:
            error.args = (f"asset {key!r}: {error}",)
            raise
        except CatalogError as error:
            raise CatalogError(f"asset {key!r}: {error}") from error

    assets = {key: asset.to_dict() for key, asset in found.item.assets.items()}
    return scene_of(found.id, found.item.properties, assets, resolve, trust)


def _ambiguous(items: list[FoundItem], unusable: Collection[str]) -> dict[str, str]:
    """Id → why it is ambiguous; ``unusable``: ids of items that are refused already."""
    alike = defaultdict(list)
    for found in items:
        alike[found.id.casefold()].append(found)
    reasons = {}
    for group in alike.values():
        if len(group) > 1:
            where = listed([f"{found.id!r} in {found.source.name}" for found in group], limit=4)
            for found in group:
                reasons[found.id] = f"{len(group)} items have this id ({where}); give each its own"
        elif group[0].id in unusable:
            reasons[group[0].id] = "another item has this id, too; give each its own"
    return reasons


def _once(refused: Iterable[UnusableItem]) -> tuple[UnusableItem, ...]:
    """Each id once, with all that is wrong with the items that have it: a scene has one outcome."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for refusal in refused:
        found[refusal.id][refusal.reason] = None
    return tuple(
        UnusableItem(one, "; ".join([first, *(without_scene(reason, one) for reason in more)]))
        for one, (first, *more) in found.items()
    )


class UnsetVariableError(CatalogError):
    """An href starts with an environment variable that is not set."""

    def __init__(self, name: str, href: str) -> None:
        super().__init__(
            f"{href!r} needs the environment variable {name}, which is not set; "
            f"set it to the folder that holds the data, such as `export {name}=/path/to/data`"
        )


def local_path(href: str, folder: Path, environment: Mapping[str, str]) -> Path:
    """The absolute path that an href names.

    Args:
        href: a path, relative to ``folder`` or absolute; it may start with ``$NAME/`` or ``${NAME}/``, and
            may be a ``file://`` URL of this machine. Text such as ``%20`` stands for itself where a file has
            it in its name, else for what RFC 3986 says.
        folder: absolute; what a relative path is relative to.
        environment: the variables; a relative value counts from the working directory, as in a shell.

    Raises:
        UnsetVariableError: the variable is not set, or empty.
        CatalogError: a URL, a GDAL prefix or virtual file, or a control character.
    """
    if _CONTROL.search(href):
        raise CatalogError(f"{href!r} holds a control character, so it is not a path")
    value, text, base = "", href, folder
    found = _VARIABLE.match(href)
    if found is not None:
        name = found["plain"] or found["braced"]
        value = environment.get(name, "")
        if not value:
            raise UnsetVariableError(name, href)
        text, base = href[found.end() :], Path.cwd()
    if (value + text).lower().startswith("file://"):
        url = urlsplit(value + text)
        if url.netloc not in ("", "localhost"):
            raise CatalogError(f"{href!r} is on another machine; copy the file here and give its path")
        return _checked(href, unquote(url.path), base)
    path = _checked(href, value + text, base)
    if "%" in text and not os.path.lexists(path):
        decoded = _checked(href, value + unquote(text), base)
        return decoded if os.path.lexists(decoded) else path
    return path


def _checked(href: str, text: str, base: Path) -> Path:
    """The absolute path of a text, which must be a plain path."""
    if _CONTROL.search(text):
        raise CatalogError(f"{href!r} holds a control character, so it is not a path")
    if _PREFIX.match(text):
        raise CatalogError(
            f"{href!r} is not a local path; download the file and give its path "
            "(for a name with a colon, put ./ before it)"
        )
    path = Path(os.path.abspath(base / text))  # noqa: PTH100 a link stays the name that the catalog gives
    if len(path.parts) > 1 and path.parts[1].lower().startswith("vsi"):
        raise CatalogError(
            f"{href!r} is one of GDAL's virtual files, which are not opened; give a plain path"
        )
    return path


def local_assets(item: Mapping[str, Any], catalog: Path) -> Iterator[tuple[Asset, Path]]:
    """Assets of an item's JSON, whose file a catalog is, that have local paths."""
    for asset in assets_of(item["assets"]):
        try:
            yield asset, local_path(asset.href, catalog.absolute().parent, os.environ)
        except CatalogError:  # of another machine, or of a variable that is not set here
            continue
