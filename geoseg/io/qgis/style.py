"""How QGIS shows the outputs: QML texts for polygons, classes and probabilities.

Only the symbology is set, in the form that QGIS 3.22 and later read. Polygons stay readable over imagery: a
light fill and an outline in full color, with a pale casing round it where objects stand apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import quoteattr

from geoseg.config.model.contract import COLOR
from geoseg.errors import OutputError

__all__ = [
    "DOCTYPE", "NOT_XML", "ClassStyle", "at_scales", "classes_qml", "kinds_qml", "labeled", "palette",
    "polygons_qml", "probability_qml", "scale_range",
]  # fmt: skip

DOCTYPE: Final = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
"""First line of every document."""
NOT_XML: Final = re.compile("[^\\t\\n\\r -\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
"""What a title or a scene's id may hold and XML may not."""
_CASING: Final = "255,255,255,200"
_RAMP: Final = (
    (0.0, "#ffffcc", 0),
    (0.25, "#fed976", 110),
    (0.5, "#fd8d3c", 180),
    (0.75, "#e31a1c", 215),
    (1.0, "#800026", 235),
)
"""Probability, color (ColorBrewer YlOrRd, which the color-blind can read) and opacity of 255: unlikely
places stay clear, so the scene below is seen."""


@dataclass(frozen=True, slots=True)
class ClassStyle:
    """How a class is shown: its color as ``#rrggbb`` and a title that XML can hold, else an OutputError."""

    id: int
    title: str
    color: str
    background: bool = False
    """Whether it is what lies between the objects: clear on the map, and without polygons."""

    def __post_init__(self) -> None:
        if not re.fullmatch(COLOR, self.color):
            raise OutputError(f"class {self.title!r} has the color {self.color!r}, needed one like #d62728")
        if NOT_XML.search(self.title):
            raise OutputError(
                f"class {self.id} has control characters in its title {self.title!r}; remove them"
            )

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0 to 255."""
        red, green, blue = bytes.fromhex(self.color[1:])
        return red, green, blue


def palette(classes: Iterable[ClassStyle]) -> dict[int, tuple[int, int, int]]:
    """Class id → red, green, blue: the color table of a class raster."""
    return {style.id: style.rgb for style in classes}


def polygons_qml(classes: Sequence[ClassStyle]) -> str:
    """Style of a polygon layer: one symbol for one class, else one per ``class_id`` in the classes' order."""
    if len(classes) == 1:
        (style,) = classes
        casing = _fill("0,0,0,0", _CASING, 0.9)
        symbols = _symbol(0, casing, _fill(_rgba(style, 50), _rgba(style, 255), 0.4))
        renderer = f'type="singleSymbol" {_RENDERER}>'
    else:
        symbols = "".join(
            _symbol(n, _fill(_rgba(style, 110), _rgba(style, 255), 0.2)) for n, style in enumerate(classes)
        )
        renderer = _by_value("class_id", "long", [(str(style.id), style.title) for style in classes])
    return _vector(renderer, symbols)


def kinds_qml(kinds: Sequence[ClassStyle], attribute: str) -> str:
    """Style of a polygon layer with one symbol per text that an attribute holds, outlines in full color.

    Titles of the kinds are the attribute's texts; ids do not matter. Background: an outline alone.
    """
    symbols = "".join(
        _symbol(n, _fill(_rgba(kind, 0 if kind.background else 90), _rgba(kind, 255), 0.4))
        for n, kind in enumerate(kinds)
    )
    return _vector(_by_value(attribute, "string", [(kind.title, kind.title) for kind in kinds]), symbols)


def labeled(qml: str, expression: str) -> str:
    """A style of polygons with a label in each: what an expression of QGIS gives, dark on a pale border."""
    buffer = (
        '<text-buffer bufferDraw="1" bufferSize="0.8" bufferSizeUnits="MM" bufferColor="255,255,255,220"/>'
    )
    labeling = (
        '<labeling type="simple">\n<settings calloutType="simple">\n'
        f'<text-style fieldName={quoteattr(expression)} isExpression="1" fontSize="9" fontSizeUnit="Point" '
        f'textColor="40,40,40,255" textOpacity="1">{buffer}</text-style>\n'
        '<placement placement="1" centroidWhole="0" centroidInside="1"/>\n'
        '<rendering drawLabels="1" obstacle="0"/>\n</settings>\n</labeling>\n'
    )
    labels = 'styleCategories="Symbology|Labeling" labelsEnabled="1"'
    return qml.replace(_CATEGORIES, labels, 1).replace("</qgis>", f"{labeling}</qgis>")


def _by_value(attribute: str, kind: str, values: Sequence[tuple[str, str]]) -> str:
    """A renderer of a symbol per value; values with their labels."""
    categories = "".join(
        f'<category render="true" symbol="{n}" type="{kind}" value={quoteattr(value)} '
        f"label={quoteattr(label)}/>\n"
        for n, (value, label) in enumerate(values)
    )
    return (
        f'type="categorizedSymbol" attr={quoteattr(attribute)} {_RENDERER}>\n'
        f"<categories>\n{categories}</categories>"
    )


def _vector(renderer: str, symbols: str) -> str:
    return _document(
        f"<renderer-v2 {renderer}\n<symbols>\n{symbols}</symbols>\n</renderer-v2>\n"
        "<blendMode>0</blendMode>\n<layerOpacity>1</layerOpacity>\n"
    )


def classes_qml(classes: Sequence[ClassStyle]) -> str:
    """Style of ``classes.tif``: the named classes and nothing else, background clear."""
    entries = "".join(
        f'<paletteEntry value="{style.id}" color="{style.color}" alpha="{0 if style.background else 255}" '
        f"label={quoteattr(style.title)}/>\n"
        for style in classes
    )
    return _raster(f'type="paletted" band="1" {_OPAQUE}', f"<colorPalette>\n{entries}</colorPalette>\n")


def probability_qml(band: int = 1) -> str:
    """Style of ``probability.tif``: one band (from 1), clear at 0 to dark red at 1.

    QGIS applies the band's scale, so the values are probabilities.
    """
    items = "".join(
        f'<item value="{value:g}" label="{value:g}" color="{color}" alpha="{alpha}"/>\n'
        for value, color, alpha in _RAMP
    )
    return _raster(
        f'type="singlebandpseudocolor" band="{band}" {_OPAQUE} classificationMin="0" classificationMax="1"',
        '<rastershader>\n<colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0" '
        'minimumValue="0" maximumValue="1" labelPrecision="2">\n'
        f"{items}</colorrampshader>\n</rastershader>\n",
    )


def scale_range(nearest: float | None, farthest: float | None) -> dict[str, str]:
    """QGIS's attributes for a layer that is shown between two scales.

    Args:
        nearest: denominator from which on it is shown (20000: at 1:20000 and farther); None: however near.
        farthest: denominator below which it is shown (20000: nearer than 1:20000); None: however far.
    """
    limited = nearest is not None or farthest is not None
    return {
        "hasScaleBasedVisibilityFlag": str(int(limited)),
        # QGIS counts scales, not denominators: the smallest scale is the farthest away. 0: no limit.
        "minScale": f"{farthest or (_FARTHEST if limited else 0):.0f}",
        "maxScale": f"{nearest or 0:.0f}",
    }


def at_scales(qml: str, nearest: float | None, farthest: float | None) -> str:
    """A style of this module, shown between two scales only: see :func:`scale_range`."""
    limits = " ".join(f'{name}="{value}"' for name, value in scale_range(nearest, farthest).items())
    return qml.replace(_CATEGORIES, f'styleCategories="Symbology|Rendering" {limits}', 1)


_FARTHEST: Final = 1e9
"""Denominator beyond any map."""
_CATEGORIES: Final = 'styleCategories="Symbology"'
_RENDERER: Final = 'symbollevels="0" enableorderby="0" forceraster="0"'
_OPAQUE: Final = 'opacity="1" alphaBand="-1" nodataColor=""'


def _document(body: str) -> str:
    return f'{DOCTYPE}<qgis version="3.22.0" {_CATEGORIES}>\n{body}</qgis>\n'


def _raster(renderer: str, body: str) -> str:
    return _document(
        f"<pipe>\n<rasterrenderer {renderer}>\n<rasterTransparency/>\n{body}</rasterrenderer>\n"
        '<brightnesscontrast brightness="0" contrast="0" gamma="1"/>\n<huesaturation saturation="0"/>\n'
        "</pipe>\n<blendMode>0</blendMode>\n"
    )


def _rgba(style: ClassStyle, alpha: int) -> str:
    return ",".join(map(str, (*style.rgb, alpha)))


def _symbol(name: int, *layers: str) -> str:
    return (
        f'<symbol type="fill" name="{name}" alpha="1" clip_to_extent="1" force_rhr="0">\n'
        f"{''.join(layers)}</symbol>\n"
    )


def _fill(fill: str, outline: str, width: float) -> str:
    """A fill with an outline, width in millimeters; written twice, for old and new QGIS."""
    properties: Mapping[str, str] = {
        "color": fill,
        "joinstyle": "miter",
        "outline_color": outline,
        "outline_style": "solid",
        "outline_width": f"{width:g}",
        "outline_width_unit": "MM",
        "style": "solid",
    }
    new = "".join(f'<Option type="QString" name="{key}" value="{text}"/>' for key, text in properties.items())
    old = "".join(f'<prop k="{key}" v="{text}"/>' for key, text in properties.items())
    return (
        '<layer class="SimpleFill" enabled="1" locked="0" pass="0">'
        f'<Option type="Map">{new}</Option>{old}</layer>\n'
    )
