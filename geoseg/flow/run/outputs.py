"""The merged layer and the QGIS project of a run, functions of the finished scenes.

``run.json`` records what both were made from. What is up to date is left as it is, so that a project that
somebody has arranged in QGIS stays until the run has changed; then it is kept under another name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

from geoseg.config.digest import digest
from geoseg.engine.finished import CLASSES_NAME, PROBABILITY_NAME, is_there
from geoseg.engine.outputs import class_styles
from geoseg.engine.plan import Plan
from geoseg.flow.run.footprints import footprints_layer, write_footprints
from geoseg.flow.run.prepare import Prepared
from geoseg.grid.crs import LONGITUDE_LATITUDE
from geoseg.grid.geobox import GeoBox
from geoseg.io.crs import bounds_in
from geoseg.io.files import output_error, sha256_of, write_json
from geoseg.io.qgis.project import Bounds, ImageStyle, ProjectLayer, project_text, write_project
from geoseg.io.qgis.scales import Generalization, thinning_qml
from geoseg.io.qgis.style import classes_qml, polygons_qml, probability_qml
from geoseg.io.vector.features import LayerStyle
from geoseg.io.vector.merge import merge_layers, merged_grid
from geoseg.io.vector.placement import SceneLayer
from geoseg.io.vector.reader import layer_style
from geoseg.io.vector.writer import (
    FORMATS,
    find_layer,
    layer_crs,
    layer_file,
    layer_files,
    overview_layer,
)
from geoseg.polygons.attributes import FIELDS

__all__ = ["MERGED", "write_outputs"]

MERGED: Final = "merged"
"""Stem of the merged layer's file."""
PROJECT: Final = "run.qgz"
MANIFEST: Final = "run.json"
"""What merged layer, footprints and project were made from."""
_LAYOUT: Final = 1
"""Of the manifest."""
_MERGING: Final = 2
"""Raised when the same scenes give another merged layer."""
_COLORS: Final = ("red", "green", "blue")
_IMAGES: Final = "Scenes"
"""Group of the scenes' own files."""
_FEW: Final = 4
"""Most scenes whose layers are grouped by kind; those of more are grouped by scene."""
_LEAST_COVERED: Final = 0.05
"""Share of their common extent that scenes cover at least where the project opens on all of them."""
_WEB_MERCATOR: Final = "EPSG:3857"
_MERCATOR_ENDS: Final = 80.0
"""Latitude up to which Web Mercator shows a scene as it is, but larger."""


def write_outputs(
    prepared: Prepared, mapped: Collection[str], *, merge: bool, coverage: bool, crs: str | None = None
) -> None:
    """Write the merged layer, where it is asked for, footprints of several scenes, and the project.

    Args:
        mapped: ids of the finished scenes; without any, nothing is written.
        merge: whether to write ``merged.*``; without it, one of an older run is removed.
        coverage: whether polygons share their edges, which the overview keeps.
        crs: CRS of the merged layer; None: that of the scene whose id comes first.

    Raises:
        OutputError: a scene's output cannot be read, or the disk is full or read-only.
    """
    plans = sorted((p for p in prepared.plans if p.scene.ref.id in mapped), key=lambda p: p.scene.ref.id)
    if not plans:
        return
    output = prepared.loaded.output.absolute()
    manifest = _read_manifest(output)
    before = manifest.get("merged") or {}
    merging = merge and plans[0].vectorize is not None
    merged = _merged(output, plans, before, coverage=coverage, crs=crs) if merging else None
    _remove(output, set(before.get("files", ())) - set(merged["files"] if merged else ()))
    known = manifest.get("footprints") or {}
    footprints = write_footprints(output, prepared.plans, mapped, known) if len(prepared.plans) > 1 else None
    _remove(output, set(known.get("files", ())) - set(footprints["files"] if footprints else ()))
    project = _project(output, prepared, plans, merged, manifest.get("project") or {}, crs=crs)
    found = {"version": _LAYOUT, "merged": merged, "footprints": footprints, "project": project}
    if found != manifest:
        write_json(output / MANIFEST, found)


def _read_manifest(output: Path) -> Mapping[str, Any]:
    """What an earlier run wrote; empty where that is unknown."""
    try:
        found = json.loads((output / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("version") == _LAYOUT else {}


def _merged(
    output: Path, plans: Sequence[Plan], before: Mapping[str, Any], *, coverage: bool, crs: str | None
) -> dict[str, Any]:
    """Write the merged layer unless it is up to date; returns its manifest."""
    from geoseg.flow.run.join.pieces import joiner  # noqa: PLC0415 - a quarter of a second, where a layer is merged

    assert plans[0].vectorize is not None
    layer = plans[0].vectorize.layer
    scenes = [SceneLayer(plan.scene.ref.id, _polygons_path(plan), plan.grid) for plan in plans]
    suffix = scenes[0].path.suffix
    path = output / f"{MERGED}{suffix}"
    made_from = digest(
        [_MERGING, layer, suffix, crs, coverage, [(plan.scene.ref.id, plan.fingerprint) for plan in plans]]
    )
    if before.get("made_from") == made_from and _are_there(output, before["files"]):
        return dict(before)
    qml = layer_style(scenes[0].path, layer)
    style = None if qml is None else LayerStyle(qml)
    general = Generalization.of(merged_grid(scenes, crs), coverage=coverage)
    merged = merge_layers(
        path,
        layer,
        scenes,
        schema=FIELDS,
        crs=crs,
        coverage=coverage,
        join=joiner(plans),
        style=style,
        description=f"{len(scenes)} scenes, {'no ground twice' if coverage else 'each object once'}",
        overview=general.styled(style) if suffix == FORMATS["gpkg"] else None,
    )
    files = [file for file in layer_files(path, styled=style is not None) if file.is_file()]
    return {
        "made_from": made_from,
        "files": {file.name: file.stat().st_size for file in files},
        "crs": merged.geobox.crs,
        "coverage": coverage,
        "features": merged.features,
        "duplicates": merged.duplicates,
        "pieces": merged.pieces,
        "joined": merged.joined,
    }


def _are_there(output: Path, sizes: Mapping[str, int]) -> bool:
    return all(is_there(output / name, size) for name, size in sizes.items())


def _remove(output: Path, names: Collection[str]) -> None:
    """Remove what an older run wrote and this one does not ask for."""
    for name in names:
        try:
            (output / Path(name).name).unlink(missing_ok=True)
        except OSError as error:
            raise output_error(output / name, error) from error


def _project(
    output: Path,
    prepared: Prepared,
    plans: Sequence[Plan],
    merged: Mapping[str, Any] | None,
    before: Mapping[str, Any],
    *,
    crs: str | None,
) -> dict[str, Any]:
    """Write the project unless it is up to date; returns its manifest."""
    path = output / PROJECT
    layer = None
    if merged is not None:
        name = next(name for name in merged["files"] if not name.endswith(".qml"))
        scenes = [SceneLayer(plan.scene.ref.id, _polygons_path(plan), plan.grid) for plan in plans]
        layer = _MergedFile(output / name, merged_grid(scenes, merged["crs"]), merged["coverage"])
    text = _project_text(output, prepared, plans, layer, crs or _common_crs(plans))
    made_from = hashlib.sha256(text.encode()).hexdigest()
    try:
        if path.is_file():
            if before.get("made_from") == made_from:
                return dict(before)
            if sha256_of(path) != before.get("sha256"):  # somebody has worked on it
                path.rename(_unused(path))
    except OSError as error:
        raise output_error(path, error) from error
    write_project(path, text)
    return {"made_from": made_from, "sha256": sha256_of(path)}


def _unused(path: Path) -> Path:
    """A name beside a file that no other has: ``run.edited-1.qgz``, else ``run.edited-2.qgz``, and so on."""
    names = (path.with_name(f"{path.stem}.edited-{n}{path.suffix}") for n in count(1))
    return next(name for name in names if not name.exists())


@dataclass(frozen=True, slots=True)
class _MergedFile:
    """The merged layer's file, by its absolute path, and the grid over all scenes in its CRS."""

    path: Path
    grid: GeoBox
    coverage: bool


def _polygons_path(plan: Plan) -> Path:
    """The file of a finished scene's polygons, in whatever format they are."""
    assert plan.vectorize is not None
    layer = plan.vectorize.layer
    return find_layer(plan.folder, layer) or layer_file(plan.folder, layer, plan.vectorize.format)


def _common_crs(plans: Sequence[Plan]) -> str:
    """The CRS of all scenes, else one in which all have a place: Web Mercator, or degrees near the poles."""
    found = {plan.grid.crs for plan in plans}
    if len(found) == 1:
        return found.pop()
    degrees = [bounds_in(plan.grid, LONGITUDE_LATITUDE) for plan in plans]
    farthest = max(abs(latitude) for _, south, _, north in degrees for latitude in (south, north))
    return _WEB_MERCATOR if farthest < _MERCATOR_ENDS else LONGITUDE_LATITUDE


def _project_text(
    output: Path, prepared: Prepared, plans: Sequence[Plan], merged: _MergedFile | None, crs: str
) -> str:
    """The project of the finished scenes, at least one, by id, and of the layer of all scenes, if any."""
    by_scene = len(plans) > _FEW
    layers = [
        *((footprints_layer(output),) if len(prepared.plans) > 1 else ()),
        *(_merged_layers(plans[0], merged) if merged is not None else ()),
        *_scene_layers(plans, shown=merged is None, by_scene=by_scene),
    ]
    extent = _opening([bounds_in(plan.grid, crs) for plan in plans])
    title = prepared.loaded.workflow.name
    return project_text(output, title, crs=crs, extent=extent, layers=layers, collapsed=by_scene)


def _opening(boxes: Sequence[Bounds]) -> Bounds:
    """What is shown at first: all scenes, or the first one where they would be specks, far apart."""
    wests, souths, easts, norths = zip(*boxes, strict=True)
    west, south, east, north = whole = min(wests), min(souths), max(easts), max(norths)
    covered = sum((e - w) * (n - s) for w, s, e, n in boxes)
    return whole if covered >= _LEAST_COVERED * (east - west) * (north - south) else boxes[0]


def _scene_layers(plans: Sequence[Plan], *, shown: bool, by_scene: bool) -> Iterator[ProjectLayer]:
    """Layers of each scene, polygons above probabilities above classes above images on the map.

    The legend has a group for each kind of layer, or for each scene.
    """
    for kind in (partial(_polygons_layer, shown=shown), _probability_layer, _classes_layer, _image_layer):
        for plan in plans:
            for layer in kind(plan):
                title = "Image" if layer.group == _IMAGES else layer.group
                yield replace(layer, title=title, group=plan.scene.ref.id) if by_scene else layer


def _merged_layers(plan: Plan, merged: _MergedFile) -> Iterator[ProjectLayer]:
    """The merged layer, and far away its overview."""
    assert plan.vectorize is not None
    name, path, crs = plan.vectorize.layer, merged.path, merged.grid.crs
    style = _style_of(plan, path)
    if path.suffix != FORMATS["gpkg"]:
        yield ProjectLayer(f"{name}, all scenes", path, crs, style, table=name)
        return
    scale = Generalization.of(merged.grid, coverage=merged.coverage).scale
    yield ProjectLayer(f"{name}, all scenes", path, crs, style, table=name, farthest=scale)
    title, table = f"{name}, all scenes (overview)", overview_layer(name)
    far = layer_style(path, table) or style
    yield ProjectLayer(title, path, crs, far, table=table, nearest=scale)


def _polygons_layer(plan: Plan, *, shown: bool) -> Iterator[ProjectLayer]:
    if plan.vectorize is None:
        return
    path = _polygons_path(plan)
    yield ProjectLayer(
        plan.scene.ref.id,
        path,
        layer_crs(path, plan.grid),
        _style_of(plan, path),
        group=plan.vectorize.layer.capitalize(),
        table=plan.vectorize.layer,
        visible=shown,
    )


def _style_of(plan: Plan, path: Path) -> str:
    """The style that the file has by now, else that of its classes; outlines thin out with distance."""
    assert plan.vectorize is not None
    shown = [style for style in class_styles(plan) if not style.background]
    qml = layer_style(path, plan.vectorize.layer) or polygons_qml(shown or class_styles(plan))
    return thinning_qml(qml, plan.scene.resolution.mean)


def _raster_crs(plan: Plan) -> str:
    return plan.scene.geobox.crs if plan.write.grid == "scene" else plan.grid.crs


def _probability_layer(plan: Plan) -> Iterator[ProjectLayer]:
    """The only band, or that of the first class that is no background."""
    by_id = {c.id: c for c in plan.bundle.spec.classes}
    band, what = 1, "the class shown"
    if plan.write.probability == "classes":
        found = enumerate((by_id[class_id] for class_id in plan.encoding.class_ids), 1)
        band, what = next((n, c.title) for n, c in found if not c.background)
    yield ProjectLayer(
        f"{plan.scene.ref.id}: {what}",
        plan.folder / PROBABILITY_NAME,
        _raster_crs(plan),
        probability_qml(band),
        group="Probability",
        visible=False,
    )


def _classes_layer(plan: Plan) -> Iterator[ProjectLayer]:
    yield ProjectLayer(
        plan.scene.ref.id,
        plan.folder / CLASSES_NAME,
        _raster_crs(plan),
        classes_qml(class_styles(plan)),
        group="Classes",
        visible=False,
    )


def _image_layer(plan: Plan) -> Iterator[ProjectLayer]:
    """The scene's own file, where it is still there: in color if one file holds the three bands."""
    bands = plan.scene.bands
    by_name = {band.name: band for band in bands}
    chosen = [by_name[name] for name in _COLORS] if by_name.keys() >= set(_COLORS) else list(bands[:3])
    if len(chosen) < len(_COLORS) or len({band.href for band in chosen}) > 1:
        chosen = chosen[:1]
    path = Path(chosen[0].href)
    if not path.is_file():
        return
    as_stored = all((band.scale, band.offset) == (1, 0) for band in chosen)
    stretch: tuple[float, float] | Literal["canvas"] | None = "canvas"
    if as_stored and plan.stretch is not None:
        stretch = plan.stretch
    elif plan.scene.dtype == "uint8":
        stretch = None
    yield ProjectLayer(
        plan.scene.ref.id,
        path,
        plan.scene.geobox.crs,
        ImageStyle(tuple(band.index for band in chosen), stretch),
        group=_IMAGES,
    )
