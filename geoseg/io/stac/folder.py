"""Catalogs of folders: made on the fly, or written as a STAC item collection and updated later.

:func:`make_catalog` never empties a file that is there: what a person added to it stays.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from geoseg.config.stac.assets import TIFF_SUFFIXES, Asset, assets_of
from geoseg.config.stac.item import UNKNOWN_DATE
from geoseg.config.stac.refs import SHA256_MULTIHASH, Trust
from geoseg.errors import CatalogError, SceneError
from geoseg.io.files import sha256_of
from geoseg.io.stac.files import find_images, walk
from geoseg.io.stac.read import (
    Catalog,
    FoundItem,
    LocalStacIO,
    UnusableItem,
    catalog_of,
    load_catalog,
    local_assets,
    read_item,
)
from geoseg.io.stac.write import describe_file, write_collection
from geoseg.words import listed

__all__ = ["make_catalog", "open_catalog"]

_SHOWN = 20
"""Reasons that are listed where no file can be described."""
_NAMED = 6
_ABOUT = (
    "Made by `geoseg catalog`. Where geoseg:datetime_source is unknown, the dates only frame the acquisition."
)
_BAND_FIELDS = {"name", "data_type", "nodata", "eo:common_name", "raster:scale", "raster:offset"}
_GRID_FIELDS = {"gsd", "proj:code", "proj:wkt2", "proj:shape", "proj:transform"}
"""What a file says of its bands and its grid."""
_DATES = ("datetime", "start_datetime", "end_datetime", "geoseg:datetime_source")


def open_catalog(path: str | Path, trust: Trust = "catalog", ids: Collection[str] | None = None) -> Catalog:
    """The scenes of a STAC catalog, or of a folder, an image or a pattern such as ``images/*.tif``.

    Of the latter each image is a scene, called as :func:`make_catalog` calls it; nothing is written, and no
    checksum is computed: a file counts as the same while its size and time do. Arguments and errors are those
    of :func:`geoseg.io.stac.read.load_catalog`.
    """
    place = Path(path)
    found = find_images(place, trust)
    if found is None:
        return load_catalog(path, trust, ids)
    folder = (
        place
        if place.is_dir()
        else Path(os.path.commonpath([file.parent for file in found.files] or [place]))
    )
    if not found.files:
        raise CatalogError(_nothing(place, found.notes))
    entries: list[FoundItem | UnusableItem] = []
    for file, item_id in zip(found.files, _ids(found.files, folder, ()), strict=True):
        if ids is not None and item_id not in ids:
            entries.append(UnusableItem(item_id, "not asked for"))  # known by its name; its file stays closed
            continue
        try:
            item = describe_file(file, item_id, folder, trust, checksum=False)
        except SceneError as error:
            entries.append(UnusableItem(item_id, str(error)))
        else:
            entries.append(read_item(item.to_dict(include_self_link=False), folder / "catalog.json"))
    catalog = catalog_of(place, entries, trust, ids)
    return Catalog(catalog.path, catalog.scenes, catalog.refusals, found.notes)


def make_catalog(
    folder: str | Path,
    output: str | Path,
    *,
    trust: Trust = "catalog",
    labels: str | Path | None = None,
    label_key: str | None = None,
    prune: bool = False,
) -> Catalog:
    """Describe the GeoTIFFs in a folder and below, and write a STAC item collection; returns it read back.

    All folders below count, those behind links too. An item is called like its file, or like its path in the
    folder where several files share a name (or one that differs by case alone). Hrefs are relative to the
    catalog. Dates follow :func:`geoseg.io.raster.dates.date_properties`. ``refusals`` say which files cannot
    be described and why; those are not in the file. Trust ``local`` takes georeferences of side files and
    other formats, too.

    A collection that is there is updated. An item stays as it is while its file has the same bytes; of one
    that changed, what the file says is written again and all else is kept: id, labels, other assets and
    properties. A file that any asset names is no scene of its own. Items whose files are gone stay and are
    named in ``notes``, which also say what was not looked at.

    Args:
        folder: searched with its subfolders.
        output: JSON file to write or to update.
        trust: what GDAL may open.
        labels: folder with a file of labels for each scene, by name, or one file for all (see
            :func:`geoseg.io.stac.labels.add_labels`).
        label_key: key of the label assets; None: by the layer's name, else ``buildings``.
        prune: remove items whose files are gone.

    Returns:
        Scenes, refusals (files that are no scenes, each with its reason) and notes of what was left out.

    Raises:
        CatalogError: no such folder, no GeoTIFF in it, or none that can be described; the output is there and
            no item collection.
        LabelError: no such labels, or none that fits a scene.
        OutputError: the catalog cannot be written.
    """
    folder, output = Path(folder), Path(output)
    if not folder.is_dir():
        raise CatalogError(f"{folder}: no such folder; give the folder that holds the GeoTIFFs")
    update = _Update(folder, output, trust, None if labels is None else Path(labels))
    update.describe()
    update.sweep(prune=prune)
    if labels is not None:
        from geoseg.io.stac.labels import add_labels  # noqa: PLC0415 - vector formats take half a second

        update.notes += add_labels(update.items, Path(labels), output, label_key)
    write_collection(output, update.content)
    written = load_catalog(output, trust)
    return Catalog(written.path, written.scenes, (*update.refusals, *written.refusals), tuple(update.notes))


class _Update:
    """A collection, new or read from its file, while it is brought up to date with a folder."""

    def __init__(self, folder: Path, output: Path, trust: Trust, labels: Path | None) -> None:
        self.labels = labels
        self.folder, self.output, self.trust = folder, output, trust
        self.content = _existing(output) or {
            "type": "FeatureCollection",
            "title": f"GeoTIFFs of {folder.resolve().name}",
            "description": _ABOUT,
            "features": [],
        }
        self.items: list[dict[str, Any]] = self.content["features"]
        self.refusals: list[UnusableItem] = []
        self.notes: list[str] = []

    def describe(self) -> None:
        """Refresh items whose files have changed, and add those of new files."""
        assets: dict[str, list[tuple[dict[str, Any], Asset]]] = {}
        for item in self.items:
            for asset, path in local_assets(item, self.output):
                assets.setdefault(str(path), []).append((item, asset))
        labels = () if self.labels is None or not self.labels.is_dir() else walk(self.labels, [])
        known = {path.absolute() for path in (self.output, *map(Path, assets), *labels)}
        found = find_images(self.folder, self.trust, known)
        files = [file for file in found.files if not self._is_label(file)] if found else []
        self.notes += found.notes if found else ()
        if not files and not self.items:
            raise CatalogError(_nothing(self.folder, self.notes))
        paths = [os.path.abspath(file) for file in files]  # noqa: PTH100 a link stays the name that it has
        refreshed = [
            item["id"]
            for path in paths
            for item, asset in assets.get(path, ())
            if self._refresh(item, asset, path)
        ]
        if refreshed:
            self.notes.append(f"described again, since their files changed: {listed(refreshed, _NAMED)}")
        self._add([file for file, path in zip(files, paths, strict=True) if path not in assets])
        if not self.items:
            reasons = "\n".join(f"  {refusal.reason}" for refusal in self.refusals[:_SHOWN])
            raise CatalogError(
                f"{self.folder}: none of its {len(files)} GeoTIFFs can be described:\n{reasons}"
            )

    def _is_label(self, file: Path) -> bool:
        """Whether an image lies where the labels are, and not where the images are."""
        if self.labels is None or self.labels.resolve() == self.folder.resolve():
            return False
        return file.resolve().is_relative_to(self.labels.resolve())

    def _add(self, files: Sequence[Path]) -> None:
        """Add an item of each file, or let the item of a file that is gone follow it, where its bytes did."""
        gone = {item["assets"][key]["file:checksum"]: (item, key) for item, key in self._gone_files()}
        for file, item_id in zip(files, _ids(files, self.folder, [i["id"] for i in self.items]), strict=True):
            try:
                item = describe_file(file, item_id, self.output.parent, self.trust)
            except SceneError as error:
                self.refusals.append(UnusableItem(item_id, str(error)))
                continue
            made = item.to_dict(include_self_link=False)
            followed = gone.pop(made["assets"]["data"]["file:checksum"], None)
            if followed is None:
                self.items.append(made)
            else:
                known, key = followed
                known["assets"][key]["href"] = made["assets"]["data"]["href"]
                self.notes.append(f"{known['id']}: its file is now {file}")

    def _refresh(self, item: dict[str, Any], asset: Asset, path: str) -> bool:
        """Whether the bytes of an item's image changed; then what the file says is written again."""
        fields: Any = asset.fields
        known, data = fields.get("file:checksum"), _data_of(item)
        if known is None or asset.key not in data:
            return False
        size = Path(path).stat().st_size
        if fields.get("file:size", size) == size and known == SHA256_MULTIHASH + sha256_of(Path(path)):
            return False
        try:
            made = describe_file(Path(path), item["id"], self.output.parent, self.trust)
        except SceneError as error:
            self.refusals.append(UnusableItem(item["id"], str(error)))
            return False
        said = made.to_dict(include_self_link=False)
        fresh = said["assets"]["data"]
        old = fields.get("bands") or []
        kept = [
            {key: value for key, value in band.items() if key not in _BAND_FIELDS}
            for band in (old if len(old) == len(fresh["bands"]) else [{}] * len(fresh["bands"]))
        ]
        fields |= {key: value for key, value in fresh.items() if key not in ("href", "roles")}
        fields["bands"] = [band | own for band, own in zip(fresh["bands"], kept, strict=True)]
        extensions = item.get("stac_extensions") or []
        item["stac_extensions"] = list(dict.fromkeys([*extensions, *said["stac_extensions"]]))
        if len(data) == 1:  # else its grid is not the item's
            _replace_grid(item, said)
        return True

    def sweep(self, *, prune: bool) -> None:
        """Name items whose files are gone, and remove them where that is asked for."""
        gone = [item["id"] for item in self.items if _is_gone(item, self.output)]
        if not gone:
            return
        names = listed(gone, _NAMED)
        if prune:
            self.items[:] = [item for item in self.items if not _is_gone(item, self.output)]
            self.notes.append(f"removed, since their files are gone: {names}")
        else:
            self.notes.append(f"kept though their files are gone: {names} (--prune removes them)")

    def _gone_files(self) -> Iterator[tuple[dict[str, Any], str]]:
        for item in self.items:
            data = _data_of(item)
            if len(data) == 1 and "file:checksum" in item["assets"][data[0]] and _is_gone(item, self.output):
                yield item, data[0]


def _replace_grid(item: dict[str, Any], said: dict[str, Any]) -> None:
    """Take place, grid and date of a file over into its item; a date is not lost to an unknown one."""
    item["geometry"], item["bbox"] = said["geometry"], said["bbox"]
    old, new = item["properties"], said["properties"]
    dateless = new.get("geoseg:datetime_source") == UNKNOWN_DATE
    dropped = {*_GRID_FIELDS, *(() if dateless else _DATES)}
    kept = {key: value for key, value in old.items() if key not in dropped}
    taken = {key: value for key, value in new.items() if not (dateless and key in _DATES)}
    item["properties"] = kept | taken


def _existing(output: Path) -> dict[str, Any] | None:
    """The item collection that is there; None: nothing is. Anything else is a CatalogError."""
    if not os.path.lexists(output):
        return None
    content = LocalStacIO().read_json(str(output.absolute()))
    features = content.get("features")
    if content.get("type") != "FeatureCollection" or not isinstance(features, list):
        raise CatalogError(f"{output}: is there and no item collection, so it is kept; choose another -o")
    for position, item in enumerate(features):
        read = read_item(item, output, position)
        if isinstance(read, UnusableItem):
            raise CatalogError(f"{output}: {read.reason}; correct it, or choose another -o")
    return content


def _data_of(item: dict[str, Any]) -> list[str]:
    """Keys of an item's images."""
    return [one.key for one in assets_of(item["assets"]) if one.kind("local") in ("data", "rendering")]


def _is_gone(item: dict[str, Any], output: Path) -> bool:
    """Whether an item has images, all of them local, and none is there."""
    data, paths = _data_of(item), {asset.key: path for asset, path in local_assets(item, output)}
    return bool(data) and all(key in paths and not paths[key].exists() for key in data)


def _nothing(place: Path, notes: Sequence[str]) -> str:
    known = ", ".join(sorted(TIFF_SUFFIXES))
    return "; ".join([f"{place}: holds no GeoTIFF ({known}), in it or below", *notes])


def _ids(files: Sequence[Path], folder: Path, used: Collection[str]) -> list[str]:
    """The shortest of stem, path and path with suffix that no other file or item has, ignoring case."""
    paths = [Path(os.path.relpath(file, folder)).as_posix() for file in files]
    names = [(file.stem, path.rpartition(".")[0], path) for file, path in zip(files, paths, strict=True)]
    others = Counter(text.casefold() for text in used)
    taken = [Counter(name[level].casefold() for name in names) + others for level in range(3)]
    return [
        next(
            (text for text, counts in zip(name, taken, strict=True) if counts[text.casefold()] == 1), name[-1]
        )
        for name in names
    ]
