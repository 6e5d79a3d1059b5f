"""What a run leaves beside its scenes: the merged layer and a QGIS project, functions of the finished scenes.

``run.json`` says what both were made from. What is up to date is left as it is, so that a project that
somebody has arranged in QGIS stays until the run has changed; then it is kept under another name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

from geoseg.engine.plan import Plan
from geoseg.flow.run.prepare import Prepared
from geoseg.flow.run.project import MergedFile, polygons_path, run_project
from geoseg.io.files import output_error, sha256_of, write_json
from geoseg.io.qgis.project import write_project
from geoseg.io.qgis.scales import Generalization
from geoseg.io.vector.features import LayerStyle
from geoseg.io.vector.merge import SceneLayer, merge_layers, merged_grid
from geoseg.io.vector.reader import layer_style
from geoseg.io.vector.writer import FORMATS, layer_files
from geoseg.polygons.attributes import FIELDS

__all__ = ["MERGED", "PROJECT", "RECEIPT", "write_outputs"]

MERGED: Final = "merged"
"""Stem of the merged layer's file."""
PROJECT: Final = "run.qgz"
"""The QGIS project."""
RECEIPT: Final = "run.json"
"""What both were made from."""
_LAYOUT: Final = 1
"""Raised when the same scenes give another merged layer."""


def write_outputs(
    prepared: Prepared, mapped: Collection[str], *, merge: bool, coverage: bool, crs: str | None = None
) -> None:
    """Write the merged layer, where it is asked for, and the project of the scenes that are mapped.

    Args:
        prepared: the run.
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
    receipt = _read_receipt(output)
    before = receipt.get("merged") or {}
    merging = merge and plans[0].vectorize is not None
    merged = _merged(output, plans, before, coverage=coverage, crs=crs) if merging else None
    _remove(output, set(before.get("files", ())) - set(merged["files"] if merged else ()))
    project = _project(output, prepared, plans, merged, receipt.get("project") or {})
    found = {"version": _LAYOUT, "merged": merged, "project": project}
    if found != receipt:
        write_json(output / RECEIPT, found)


def _read_receipt(output: Path) -> Mapping[str, Any]:
    """What an earlier run says that it wrote; nothing where it does not say it."""
    try:
        found = json.loads((output / RECEIPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("version") == _LAYOUT else {}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _merged(
    output: Path, plans: Sequence[Plan], before: Mapping[str, Any], *, coverage: bool, crs: str | None
) -> dict[str, Any]:
    """Write the merged layer unless it is up to date; returns its receipt."""
    assert plans[0].vectorize is not None
    layer = plans[0].vectorize.layer
    scenes = [SceneLayer(plan.scene.ref.id, polygons_path(plan), plan.grid) for plan in plans]
    suffix = scenes[0].path.suffix
    path = output / f"{MERGED}{suffix}"
    made_from = _digest(
        [_LAYOUT, layer, suffix, crs, coverage, [(plan.scene.ref.id, plan.fingerprint) for plan in plans]]
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
        style=style,
        description=f"{len(scenes)} scenes, each object once",
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
    }


def _are_there(output: Path, sizes: Mapping[str, int]) -> bool:
    return all(
        (output / name).is_file() and (output / name).stat().st_size == size for name, size in sizes.items()
    )


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
) -> dict[str, Any]:
    """Write the project unless it is up to date; returns its receipt."""
    path = output / PROJECT
    layer = None
    if merged is not None:
        name = next(name for name in merged["files"] if not name.endswith(".qml"))
        scenes = [SceneLayer(plan.scene.ref.id, polygons_path(plan), plan.grid) for plan in plans]
        layer = MergedFile(output / name, merged_grid(scenes, merged["crs"]), merged["coverage"])
    text = run_project(output, prepared.loaded.workflow.name, plans, layer)
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
