"""Label assets for the items of a catalog: files by the names of the scenes, or one file for all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import pystac
from affine import Affine

from geoseg.config.stac.assets import TIFF_SUFFIXES
from geoseg.errors import CatalogError, GeosegError, LabelError
from geoseg.grid.geobox import GeoBox
from geoseg.grid.pixel_map import may_overlap
from geoseg.io.labels.layers import AREA_LAYER, candidate_layers, lies_elsewhere
from geoseg.io.labels.rasters import holds_mask, label_grid
from geoseg.io.labels.reader import label_kind
from geoseg.io.labels.vector_file import Layer, layer_names, open_layer
from geoseg.io.stac.files import walk
from geoseg.io.stac.read import local_assets
from geoseg.io.stac.write import IMAGE_MEDIA, LAYER_MEDIA, relative_href
from geoseg.words import counted, listed

__all__ = ["DEFAULT_KEY", "add_labels"]

DEFAULT_KEY: Final = "buildings"
"""Key of labels whose file does not name their layer: what the shipped workflows and trainings ask for."""
_SUFFIXES: Final = TIFF_SUFFIXES | {
    *[".gpkg", ".geojson", ".json", ".geojsonl", ".geojsons", ".ndjson", ".fgb", ".shp", ".parquet", ".zip"],
    ".png",
}
_MEDIA: Final[Mapping[str, str]] = {
    **LAYER_MEDIA,
    ".png": IMAGE_MEDIA[".png"],
    **dict.fromkeys(TIFF_SUFFIXES, pystac.MediaType.GEOTIFF),
}
_NAMED: Final = 6
_Item = dict[str, Any]


def add_labels(items: Sequence[_Item], labels: Path, output: Path, key: str | None = None) -> list[str]:
    """Add label assets to items, in place; returns what was done, each in one sentence.

    In a folder, the labels of a scene are the file that is called like it (``a.gpkg`` for ``a.tif``), at the
    same place below the folder where several are. One file is for each scene that it does not lie apart from.

    The key is ``key``, else the layer's name, else ``buildings``. Of several layers in a file each becomes an
    asset called like it, ``geoseg:layer`` naming it; with ``key``, that layer alone. A layer
    ``labelled_area`` is the area where the others are complete. In a raster of 0 and 255 alone, 255 is class
    1. What is known of an asset of that key stays, its file aside; a file that is a label asset already stays
    as it is.

    Args:
        items: JSON of the catalog ``output``, to which hrefs are relative.

    Raises:
        LabelError: no such file or folder, unreadable labels, none for any scene, or several for one.
    """
    if not labels.exists():
        raise LabelError(
            f"labels {labels}: no such file or folder; give a folder of label files, or one file"
        )
    notes: list[str] = []
    by_scene = labels.is_dir()
    if by_scene:
        files = [(item, _LabelFile(path, key)) for item, path in _by_scene(items, labels, output, notes)]
    else:
        one = _LabelFile(labels, key)
        files = [(item, one) for item in items]
    found: dict[str, list[str]] = defaultdict(list)
    masked = 0
    for item, file in files:
        held = {str(path) for asset, path in local_assets(item, output) if "labels" in asset.roles}
        for asset_key, fields in file.assets(None if by_scene else _geobox(item)):
            if asset_key in item["assets"] or str(file.path.absolute()) not in held:
                known = item["assets"].get(asset_key, {})
                href = {"href": relative_href(file.path, output.parent), "roles": ["labels"]}
                item["assets"][asset_key] = {**known, **href, **fields, **_own_classes(known)}
            found[asset_key].append(item["id"])
            masked += "geoseg:classes" in fields
    if not found:
        names = listed([item["id"] for item in items], _NAMED)
        how = "is called like a scene" if by_scene else "lies on a scene"
        raise LabelError(f"labels {labels}: nothing in it {how} ({names}); call a.gpkg what is for a.tif")
    for asset_key, scenes in found.items():
        notes.append(f"labels: {counted(len(scenes), 'scene')} with the label asset {asset_key!r}")
    if masked:
        notes.append(f"labels: {counted(masked, 'mask')} of 0 and 255, where 255 is class 1 (geoseg:classes)")
    bare = [item["id"] for item in items if not any(item["id"] in scenes for scenes in found.values())]
    if bare:
        notes.append(f"no labels in {labels} for: {listed(bare, _NAMED)}")
    return notes


def _own_classes(known: Mapping[str, Any]) -> dict[str, Any]:
    """What a person said of the classes of an asset."""
    return {"geoseg:classes": known["geoseg:classes"]} if "geoseg:classes" in known else {}


def _by_scene(
    items: Sequence[_Item], folder: Path, output: Path, notes: list[str]
) -> list[tuple[_Item, Path]]:
    """Each item that has a file of its name in a folder or below, and that file."""
    assets = (pair for item in items for pair in local_assets(item, output))
    others = {output.absolute(), *(path for asset, path in assets if asset.kind("local") == "data")}
    files = [
        file
        for file in sorted(walk(folder, notes))
        if file.suffix.lower() in _SUFFIXES and file.absolute() not in others
    ]
    by_name: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        by_name[file.stem.casefold()].append(file)
    pairs: list[tuple[_Item, Path]] = []
    for item in items:
        images = [path for asset, path in local_assets(item, output) if asset.kind("local") == "data"]
        names = dict.fromkeys([item["id"].casefold(), *(image.stem.casefold() for image in images)])
        fitting = next((by_name[name] for name in names if name in by_name), [])
        if len(fitting) > 1:
            depth = {file: max(_common_end(file, image) for image in images) for file in fitting}
            fitting = [file for file in fitting if depth[file] == max(depth.values())]
        if len(fitting) > 1:
            several = listed([str(file.relative_to(folder)) for file in fitting])
            raise LabelError(
                f"labels {folder}: {several} are all called like the scene {item['id']}; leave one"
            )
        pairs += [(item, file) for file in fitting]
    unused = [str(file.relative_to(folder)) for file in files if file not in {used for _, used in pairs}]
    if unused and pairs:
        notes.append(f"labels of no scene: {listed(unused, _NAMED)}")
    return pairs


def _common_end(one: Path, other: Path) -> int:
    """How many folders, from their ends, two paths have in common."""
    pairs = zip(reversed(one.parent.parts), reversed(other.parent.parts), strict=False)
    return len(list(takewhile(lambda pair: pair[0].casefold() == pair[1].casefold(), pairs)))


def _geobox(item: _Item) -> GeoBox | None:
    """An item's grid; None where it does not say."""
    said = item["properties"]
    crs = said.get("proj:code") or said.get("proj:wkt2")
    shape, transform = said.get("proj:shape"), said.get("proj:transform")
    if not (isinstance(crs, str) and isinstance(shape, list) and isinstance(transform, list)):
        return None
    try:
        return GeoBox(int(shape[0]), int(shape[1]), Affine(*transform[:6]), crs)
    except (GeosegError, TypeError, ValueError, IndexError) as error:
        raise CatalogError(f"item {item['id']!r}: its proj: fields are no grid ({error})") from error


class _LabelFile:
    """A file of labels: what it holds is looked at once, however many scenes it is for."""

    def __init__(self, path: Path, key: str | None) -> None:
        self.path = path
        self._key = key

    def assets(self, grid: GeoBox | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Keys and fields of the label assets for a scene of this grid, on which they lie; None: on any."""
        if label_kind(self.path) == "raster":
            if grid is None or not self._raster_lies_apart(grid):
                masked = {"geoseg:classes": {"255": 1}} if self._holds_mask else {}
                yield self._key or DEFAULT_KEY, self._fields | masked
            return
        for layer, (key, fields) in self._layers.items():
            if grid is None or not lies_elsewhere(self._opened[layer], grid):
                yield key, self._fields | fields

    @cached_property
    def _fields(self) -> dict[str, Any]:
        media = _MEDIA.get(self.path.suffix.lower())
        return {} if media is None else {"type": str(media)}

    @cached_property
    def _holds_mask(self) -> bool:
        return holds_mask(self.path)

    @cached_property
    def _grid(self) -> GeoBox | None:
        """Of a raster; None: a picture without a place, which is laid on its scene."""
        return label_grid(self.path)

    def _raster_lies_apart(self, grid: GeoBox) -> bool:
        return self._grid is not None and not may_overlap(self._grid, grid)

    @cached_property
    def _layers(self) -> dict[str, tuple[str, dict[str, str]]]:
        """The layers that are assets: key and fields of each."""
        key, names = self._key, layer_names(self.path)
        layers = candidate_layers(names, skip_area=True)
        if not layers:
            raise LabelError(f"labels {self.path}: has no layer of polygons")
        if len(layers) > 1 and key is not None and key not in layers:
            several = listed(layers)
            raise LabelError(f"labels {self.path}: has the layers {several}; --label-key names one of them")
        common = {"geoseg:area_layer": AREA_LAYER} if AREA_LAYER in names else {}
        found = {}
        for layer in layers if key is None or len(layers) == 1 else (key,):
            alone = len(layers) == 1 and layer.casefold() == self.path.stem.casefold()
            named = {"geoseg:layer": layer} if len(names) > 1 else {}
            found[layer] = key or (DEFAULT_KEY if alone else layer), common | named
        return found

    @cached_property
    def _opened(self) -> dict[str, Layer]:
        return {layer: open_layer(self.path, layer) for layer in self._layers}
