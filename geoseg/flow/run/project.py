"""The layers of a run's QGIS project: polygons on top, then probabilities and classes, scenes as ground."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geoseg.engine.finished import PROBABILITY_NAME
from geoseg.engine.plan import Plan
from geoseg.grid.geobox import GeoBox
from geoseg.io.crs import bounds_in
from geoseg.io.qgis.project import ImageStyle, ProjectLayer, project_text
from geoseg.io.qgis.scales import Generalization, thinning_qml
from geoseg.io.qgis.style import ClassStyle, classes_qml, polygons_qml, probability_qml
from geoseg.io.vector.reader import layer_style
from geoseg.io.vector.writer import FORMATS, overview_layer

__all__ = ["MergedFile", "polygons_path", "run_project"]

_COLORS = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class MergedFile:
    """The merged layer's file."""

    path: Path
    """Absolute path."""
    grid: GeoBox
    """The grid over all scenes, in its CRS."""
    coverage: bool
    """Whether polygons share their edges."""


def polygons_path(plan: Plan) -> Path:
    """The file of a finished scene's polygons, in whatever format they are."""
    assert plan.vectorize is not None
    names = [plan.folder / f"{plan.vectorize.layer}{suffix}" for suffix in FORMATS.values()]
    return next((path for path in names if path.is_file()), names[0])


def run_project(output: Path, title: str, plans: Sequence[Plan], merged: MergedFile | None) -> str:
    """The project's text.

    Args:
        output: absolute path of the run's folder.
        title: the run's name.
        plans: of the finished scenes, at least one, by id.
        merged: the layer of all scenes, where there is one.

    Raises:
        OutputError: the style of a scene's polygons cannot be read.
    """
    crs = plans[0].grid.crs if merged is None else merged.grid.crs
    boxes = [bounds_in(plan.grid, crs) for plan in plans]
    wests, souths, easts, norths = zip(*boxes, strict=True)
    layers = [
        *(_merged(plans[0], merged) if merged is not None else ()),
        *(layer for plan in plans for layer in _polygons(plan, shown=merged is None)),
        *(_probability(plan) for plan in plans),
        *(_classes(plan) for plan in plans),
        *(layer for plan in plans for layer in _image(plan)),
    ]
    extent = min(wests), min(souths), max(easts), max(norths)
    return project_text(output, title, crs=crs, extent=extent, layers=layers)


def _styles(plan: Plan) -> list[ClassStyle]:
    return [ClassStyle(c.id, c.title, c.color, c.background) for c in plan.bundle.spec.classes]


def _merged(plan: Plan, merged: MergedFile) -> Iterator[ProjectLayer]:
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


def _polygons(plan: Plan, *, shown: bool) -> Iterator[ProjectLayer]:
    if plan.vectorize is None:
        return
    path = polygons_path(plan)
    yield ProjectLayer(
        plan.scene.ref.id,
        path,
        plan.grid.crs,
        _style_of(plan, path),
        group=plan.vectorize.layer.capitalize(),
        table=plan.vectorize.layer,
        visible=shown,
    )


def _style_of(plan: Plan, path: Path) -> str:
    """The style that the file has by now, else that of its classes; outlines thin out with distance."""
    assert plan.vectorize is not None
    shown = [style for style in _styles(plan) if not style.background]
    qml = layer_style(path, plan.vectorize.layer) or polygons_qml(shown or _styles(plan))
    return thinning_qml(qml, plan.scene.resolution.mean)


def _raster_crs(plan: Plan) -> str:
    return plan.scene.geobox.crs if plan.write.grid == "scene" else plan.grid.crs


def _probability(plan: Plan) -> ProjectLayer:
    """The only band, or that of the first class that is no background."""
    by_id = {c.id: c for c in plan.bundle.spec.classes}
    band, what = 1, "the class shown"
    if plan.write.probability == "classes":
        found = enumerate((by_id[class_id] for class_id in plan.layout.bands), 1)
        band, what = next((n, c.title) for n, c in found if not c.background)
    return ProjectLayer(
        f"{plan.scene.ref.id}: {what}",
        plan.folder / PROBABILITY_NAME,
        _raster_crs(plan),
        probability_qml(band),
        group="Probability",
        visible=False,
    )


def _classes(plan: Plan) -> ProjectLayer:
    return ProjectLayer(
        plan.scene.ref.id,
        plan.folder / "classes.tif",
        _raster_crs(plan),
        classes_qml(_styles(plan)),
        group="Classes",
        visible=False,
    )


def _image(plan: Plan) -> Iterator[ProjectLayer]:
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
    stretch: tuple[float, float] | Literal["seen"] | None = "seen"
    if as_stored and plan.stretch is not None:
        stretch = plan.stretch
    elif plan.scene.dtype == "uint8":
        stretch = None
    yield ProjectLayer(
        plan.scene.ref.id,
        path,
        plan.scene.geobox.crs,
        ImageStyle(tuple(band.index for band in chosen), stretch),
        group="Scenes",
    )
