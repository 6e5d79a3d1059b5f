"""A QGIS project of a finished run, written without QGIS.

``run.qgz`` is a zip of one XML file. Its layers are named by paths relative to itself, so a run folder can be
moved, and opens as long as what it links to moves with it. The same content gives the same bytes.

What QGIS 3.22 and later need of the XML was found by opening it there: ids of more than ten characters
(others are replaced, and the tree loses its layers), ``ProjectionsEnabled`` (else the project's CRS is
ignored), each layer's own style (what a GeoPackage holds is not consulted).
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from xml.etree import ElementTree as ET

from pyproj import CRS

from geoseg.errors import OutputError
from geoseg.io.crs import is_code, written_crs
from geoseg.io.files import staged
from geoseg.io.qgis.style import DOCTYPE, NOT_XML, scale_range

__all__ = ["Bounds", "ImageStyle", "ProjectLayer", "project_text", "write_project"]

_VERSION: Final = "3.22.0"
_MARGIN: Final = 0.03
"""Part of the extent that is left free around it."""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""A zip's earliest time: no clock enters the file."""
_ID_LETTERS: Final = re.compile(r"[^A-Za-z0-9]+")
_RGB: Final = 3

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ImageStyle:
    """How a scene's own image is shown: three bands as red, green and blue, or one as gray."""

    bands: tuple[int, ...]
    """Band numbers in the file, from 1: three, or one."""
    stretch: tuple[float, float] | Literal["canvas"] | None = None
    """Stored values that mean black and white; canvas: QGIS finds them in what is on the screen, and
    again after each move; None: bytes, which are shown as they are."""


@dataclass(frozen=True, slots=True)
class ProjectLayer:
    """A layer of the project."""

    title: str
    path: Path
    """Absolute path of its file."""
    crs: str
    style: str | ImageStyle
    """A QML text of :mod:`geoseg.io.qgis.style`, or how an image is shown."""
    group: str = ""
    """Name of the group that it stands in; empty: none."""
    table: str | None = None
    """Layer of a vector file; None: a raster."""
    visible: bool = True
    nearest: float | None = None
    """Denominator of the scale from which on it is shown; None: however near."""
    farthest: float | None = None
    """Denominator below which it is shown; None: however far."""


def write_project(path: Path, text: str) -> None:
    """Write a project's text as ``.qgz``; errors are those of :func:`geoseg.io.files.staged`."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(f"{path.stem}.qgs", _EPOCH)
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, text)
    with staged(path) as temporary:
        temporary.write_bytes(packed.getvalue())


def project_text(
    folder: Path,
    title: str,
    *,
    crs: str,
    extent: Bounds,
    layers: Sequence[ProjectLayer],
    collapsed: bool = False,
) -> str:
    """The XML of a project, its layers from the top of the map to its ground.

    Their paths become relative to ``folder``, an absolute one, where the project will lie. ``extent`` is what
    is shown when it opens: ``(min x, min y, max x, max y)`` in ``crs``. The legend has the groups in the
    order of their first layers, whatever lies between these on the map; ``collapsed``: closed.

    Raises:
        OutputError: PROJ does not know a CRS, or a style is not XML.
    """
    root = ET.Element("qgis", projectname=title, version=_VERSION)
    ET.SubElement(root, "title").text = title
    _crs(ET.SubElement(root, "projectCrs"), crs)
    sources = {layer: _source(folder, layer) for layer in layers}
    names = {layer: _identity(layer, sources[layer]) for layer in layers}
    _tree(root, layers, sources, names, collapsed=collapsed)
    west, south, east, north = extent
    margin = _MARGIN * max(east - west, north - south)
    shown = west - margin, south - margin, east + margin, north + margin
    canvas = ET.SubElement(root, "mapcanvas", name="theMapCanvas", annotationsVisible="1")
    ET.SubElement(canvas, "units").text = "degrees" if CRS.from_user_input(crs).is_geographic else "meters"
    box = ET.SubElement(canvas, "extent")
    view = dict(zip(("xmin", "ymin", "xmax", "ymax"), map(repr, shown), strict=True))
    for side, text in view.items():
        ET.SubElement(box, side).text = text
    _crs(ET.SubElement(canvas, "destinationsrs"), crs)
    held = ET.SubElement(root, "projectlayers")
    for layer in layers:
        held.append(_map_layer(layer, sources[layer], names[layer]))
    properties = ET.SubElement(root, "properties")
    for section, key, kind, value in (
        ("SpatialRefSys", "ProjectionsEnabled", "int", "1"),
        ("Paths", "Absolute", "bool", "false"),
    ):
        ET.SubElement(ET.SubElement(properties, section), key, type=kind).text = value
    settings = ET.SubElement(root, "ProjectViewSettings", UseProjectScales="0")
    _crs(ET.SubElement(settings, "DefaultViewExtent", view), crs)
    ET.indent(root, " ")
    return DOCTYPE + NOT_XML.sub("\N{REPLACEMENT CHARACTER}", ET.tostring(root, encoding="unicode")) + "\n"


def _source(folder: Path, layer: ProjectLayer) -> str:
    """The layer's place as QGIS writes it, relative to the project; it does not follow links either."""
    relative = Path(os.path.relpath(layer.path, folder)).as_posix()
    place = relative if relative.startswith("../") else f"./{relative}"
    return place if layer.table is None else f"{place}|layername={layer.table}"


def _identity(layer: ProjectLayer, source: str) -> str:
    """An id that stays the same from run to run."""
    digest = hashlib.sha256(f"{layer.group}|{source}".encode()).hexdigest()[:16]
    return f"{_ID_LETTERS.sub('_', layer.title)[:40]}_{digest}"


def _crs(parent: ET.Element, crs: str) -> None:
    text = written_crs(crs)
    found = ET.SubElement(parent, "spatialrefsys", nativeFormat="Wkt")
    ET.SubElement(found, "wkt").text = CRS.from_user_input(text).to_wkt()
    ET.SubElement(found, "authid").text = text if is_code(text) else ""


def _tree(
    root: ET.Element,
    layers: Sequence[ProjectLayer],
    sources: Mapping[ProjectLayer, str],
    names: Mapping[ProjectLayer, str],
    *,
    collapsed: bool,
) -> None:
    """The legend, and the order of the map where that is another."""
    top = ET.SubElement(root, "layer-tree-group", name="", checked="Qt::Checked", expanded="1")
    groups = {"": top}
    for layer in layers:
        if layer.group not in groups:
            state = {"name": layer.group, "checked": "Qt::Checked", "expanded": "0" if collapsed else "1"}
            groups[layer.group] = ET.SubElement(top, "layer-tree-group", state)
        ET.SubElement(
            groups[layer.group],
            "layer-tree-layer",
            {
                "id": names[layer],
                "name": layer.title,
                "checked": "Qt::Checked" if layer.visible else "Qt::Unchecked",
                "expanded": "1" if layer.visible and layer.table is not None else "0",
                "providerKey": "gdal" if layer.table is None else "ogr",
                "source": sources[layer],
            },
        )
    drawn = [names[layer] for layer in layers]
    own = [one.get("id") for one in top.iter("layer-tree-layer")] != drawn
    order = ET.SubElement(top, "custom-order", enabled="1" if own else "0")
    for name in drawn if own else ():
        ET.SubElement(order, "item").text = name


def _map_layer(layer: ProjectLayer, source: str, name: str) -> ET.Element:
    kind = {"type": "raster"} if layer.table is None else {"type": "vector", "geometry": "Polygon"}
    limits = scale_range(layer.nearest, layer.farthest)
    made = ET.Element("maplayer", {**kind, **limits, "autoRefreshEnabled": "0"})
    ET.SubElement(made, "id").text = name
    ET.SubElement(made, "datasource").text = source
    ET.SubElement(made, "layername").text = layer.title
    _crs(ET.SubElement(made, "srs"), layer.crs)
    provider = ET.SubElement(made, "provider", {} if layer.table is None else {"encoding": "UTF-8"})
    provider.text = "gdal" if layer.table is None else "ogr"
    if isinstance(layer.style, ImageStyle):
        made.append(_image(layer.style))
        return made
    try:  # a QML text: our own, or what somebody has saved over it
        made.extend(ET.fromstring(layer.style))  # noqa: S314 from the run's own folder
        if made.find("labeling") is not None:
            made.set("labelsEnabled", "1")
    except ET.ParseError as error:
        raise OutputError(
            f"the style of the layer {layer.title!r} is not XML ({error}); "
            "save it from QGIS again, or remove it"
        ) from error
    return made


def _image(style: ImageStyle) -> ET.Element:
    pipe = ET.Element("pipe")
    shown = ("red", "green", "blue")
    common = {"opacity": "1", "alphaBand": "-1", "nodataColor": ""}
    if len(style.bands) == _RGB:
        bands = {f"{color}Band": str(band) for color, band in zip(shown, style.bands, strict=True)}
        made = ET.SubElement(pipe, "rasterrenderer", {"type": "multibandcolor", **bands, **common})
        places = [f"{color}ContrastEnhancement" for color in shown]
    else:
        gray = {"grayBand": str(style.bands[0]), "gradient": "BlackToWhite"}
        made = ET.SubElement(pipe, "rasterrenderer", {"type": "singlebandgray", **gray, **common})
        places = ["contrastEnhancement"]
    ET.SubElement(made, "rasterTransparency")
    if style.stretch is not None:
        _limits(made, places, style.stretch)
    return pipe


def _limits(
    renderer: ET.Element, places: Sequence[str], stretch: tuple[float, float] | Literal["canvas"]
) -> None:
    """Black and white: as given, or around the middle 96 % of what is on the screen."""
    origin = ET.SubElement(renderer, "minMaxOrigin")
    for name, value in (
        ("limits", "CumulativeCut" if stretch == "canvas" else "None"),
        ("extent", "UpdatedCanvas" if stretch == "canvas" else "WholeRaster"),
        ("statAccuracy", "Estimated"),
        ("cumulativeCutLower", "0.02"),
        ("cumulativeCutUpper", "0.98"),
    ):
        ET.SubElement(origin, name).text = value
    for place in places:
        made = ET.SubElement(renderer, place)
        low, high = (0.0, 65_535.0) if stretch == "canvas" else stretch
        ET.SubElement(made, "minValue").text = f"{low:.15g}"
        ET.SubElement(made, "maxValue").text = f"{high:.15g}"
        ET.SubElement(made, "algorithm").text = "StretchToMinimumMaximum"
