"""What is shown at which scale: outlines thin out with distance, and a generalized layer takes over.

A width in millimeters that is right at 1:1000 hides small objects at 1:5000. Styles are changed as XML, since
a layer may hold one that somebody saved over ours from QGIS.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Final
from xml.etree import ElementTree as ET

from geoseg.errors import OutputError
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import ground_resolution
from geoseg.io.qgis.style import DOCTYPE, at_scales
from geoseg.io.vector.features import LayerStyle
from geoseg.io.vector.writer import Overview

__all__ = ["Generalization", "thin_qml", "thinning_qml"]

_SCREEN: Final = 0.0254 / 96
"""Meters of a screen's pixel, as QGIS counts scales."""
_COARSE: Final = 5
"""Pixels of the scene in one of the screen, at the scale where layers change: nearer, outlines have room."""
_HAIRLINE: Final = 0.1
"""Width of outlines far away, in millimeters."""
_FULL: Final = 1.5
"""Pixels of the scene in one of the screen, up to which outlines have their full width."""
_OPACITY: Final = 150
"""Least opacity of fills far away, of 255."""
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_RGBA: Final = "rgba"
_ROUND: Final = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Generalization:
    """What a grid's pixels make of scales: at 0.3 m, the overview is shown from 1:5000 on."""

    scale: float
    """Denominator of the scale from which on the overview is shown, a round number."""
    overview: Overview
    """Outlines move by about a screen's pixel at that scale; objects smaller than one go."""

    @classmethod
    def of(cls, geobox: GeoBox, *, coverage: bool) -> Generalization:
        """What suits a scene's grid, in the layer's CRS; ``coverage``: polygons share their edges.

        A grid whose center has no longitude and latitude is a GridError.
        """
        wanted = _COARSE * ground_resolution(geobox).mean / _SCREEN
        power = 10.0 ** math.floor(math.log10(wanted))
        scale = power * min(_ROUND, key=lambda step: abs(math.log(step * power / wanted)))
        side = _COARSE * math.sqrt(abs(geobox.transform.determinant))
        return cls(scale, Overview(side, 0.0 if coverage else side**2, coverage))

    def styled(self, style: LayerStyle | None) -> Overview:
        """The overview, in a layer's own colors at its scales."""
        if style is None:
            return self.overview
        limited = replace(style, qml=at_scales(thin_qml(style.qml), self.scale, None))
        return replace(self.overview, style=limited)


def thin_qml(qml: str) -> str:
    """A polygon style, ours or QGIS's, for far away: hairlines without casing, fuller fills."""
    root = _parsed(qml)
    for symbol in root.iter("symbol"):
        *casing, fill = symbol.findall("layer") or [symbol]
        for layer in casing:
            symbol.remove(layer)
        _set(fill, "outline_width", f"{_HAIRLINE:g}")
        parts = _get(fill, "color").split(",")
        if len(parts) >= len(_RGBA) and parts[3].isdecimal():
            _set(fill, "color", ",".join([*parts[:3], str(max(int(parts[3]), _OPACITY))]))
    return _text(root)


def thinning_qml(qml: str, pixel: float) -> str:
    """A polygon style, ours or QGIS's, whose outlines thin out with distance, down to hairlines.

    ``pixel``: side of the scene's pixels on the ground, in meters: it says what is near. Widths are in
    millimeters. What is not XML is an OutputError.
    """
    root = _parsed(qml)
    meters = _FULL * pixel / _SCREEN / 1000  # on the ground, for a millimeter on the screen
    for symbol in root.iter("symbol"):
        layers = symbol.findall("layer")
        for depth, layer in enumerate(reversed(layers)):  # a casing stays wider than what it lies under
            width = _get(layer, "outline_width")
            if _get(layer, "outline_width_unit") != "MM" or not _NUMBER.fullmatch(width):
                continue
            least = min(float(width), _HAIRLINE * (1 + 2 * depth))
            _set(layer, "outline_width", f"{float(width) * meters:.6g}")
            _set(layer, "outline_width_unit", "RenderMetersInMapUnits")
            _set(layer, "outline_width_map_unit_scale", f"3x:0,0,1,{least:g},1,{float(width):g}")
    return _text(root)


def _parsed(qml: str) -> ET.Element:
    try:
        return ET.fromstring(qml)  # noqa: S314 from the run's own folder
    except ET.ParseError as error:
        raise OutputError(
            f"a layer's style is not XML ({error}); save it from QGIS again, or remove it"
        ) from error


def _text(root: ET.Element) -> str:
    return DOCTYPE + ET.tostring(root, encoding="unicode") + "\n"


def _get(layer: ET.Element, key: str) -> str:
    """A property of a symbol's layer; empty: it has none."""
    found = layer.find(f".//Option[@name='{key}']")
    return "" if found is None else found.get("value", "")


def _set(layer: ET.Element, key: str, value: str) -> None:
    """Set a property, which is written twice, for new and old QGIS."""
    for parent, tag, name, text in (
        (layer.find("Option"), "Option", "name", "value"),
        (layer, "prop", "k", "v"),
    ):
        if parent is None:
            continue
        entry = parent.find(f"{tag}[@{name}='{key}']")
        if entry is None:
            entry = ET.SubElement(parent, tag, {name: key})
            if tag == "Option":
                entry.set("type", "QString")
        entry.set(text, value)
