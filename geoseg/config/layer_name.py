"""Names that a layer of polygons, and its fields, can have in every format."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, StrictStr, WithJsonSchema

__all__ = ["LayerName", "is_layer_name", "sql_name"]

_FORM: Final = "[A-Za-z][A-Za-z0-9_]{0,62}"
_PREFIXES: Final = ("gpkg", "sqlite_", "rtree_")
_RESERVED: Final = (
    "fid", "ogc_fid", "rowid", "oid", "geom", "geometry", "bbox", "ogr_empty_table", "layer_styles",
    "qgis_projects",
)  # fmt: skip
"""With a meaning for SQLite, a format or QGIS, which refuse or swallow them as a layer or a column."""
_TAKEN: Final = ("classes", "probability", "errors")
"""A layer of this name would share its file, its style or its key in the item with another one."""


def sql_name(name: str, what: str) -> str:
    """The name of a layer or field (``what``), where every format takes it.

    Raises:
        ValueError: it is not a word of at most 63 ASCII letters, digits and underscores, or reserved.
    """
    lower = name.lower()
    if re.fullmatch(_FORM, name) is None or lower.startswith(_PREFIXES) or lower in _RESERVED:
        raise ValueError(
            f"{name!r} cannot name a {what}: use a letter, then up to 62 letters, digits or _, and no name "
            "that SQLite, the formats or QGIS reserve, such as gpkg…, sqlite_…, rtree_…, fid or geom"
        )
    return name


def _layer_name(name: str) -> str:
    if sql_name(name, "layer").lower() in _TAKEN:
        raise ValueError(f"{name!r} is the name of another file of the map; choose another")
    return name


def is_layer_name(name: str) -> bool:
    """Whether a workflow can give a layer this name."""
    try:
        _layer_name(name)
    except ValueError:
        return False
    return True


def _any_case(word: str) -> str:
    return "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in word)


_REFUSED: Final = "|".join(
    [*map(_any_case, _PREFIXES), *(f"{_any_case(name)}$" for name in _RESERVED + _TAKEN)]
)
LayerName = Annotated[
    StrictStr,
    AfterValidator(_layer_name),
    WithJsonSchema({"type": "string", "pattern": f"^(?!{_REFUSED}){_FORM}$"}),
]
"""Name of a layer in a workflow: one that every format takes, and no other file of the map has."""
