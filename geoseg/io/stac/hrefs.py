"""Hrefs of a catalog to local paths.

GDAL would take ``/vsicurl/…``, ``vrt://…`` or ``WMS:…`` where a path is expected, and fetch them. So hrefs
are read here, and only plain local paths reach GDAL.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from geoseg.errors import CatalogError

__all__ = ["UnsetVariableError", "local_path"]

_VARIABLE = re.compile(r"\$(?:(?P<plain>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)\})(?=/|$)", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # two letters or more: `C:` is a drive


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
            may be a ``file://`` URL of this machine. Other text, such as ``%20``, stands for itself.
        folder: absolute; what a relative path is relative to.
        environment: the variables; a relative value counts from the working directory, as in a shell.

    Raises:
        UnsetVariableError: the variable is not set, or empty.
        CatalogError: a URL, a GDAL prefix or virtual file, or a control character.
    """
    text = href
    if _CONTROL.search(text):
        raise CatalogError(f"{href!r} holds a control character, so it is no path")
    base = folder
    found = _VARIABLE.match(text)
    if found is not None:
        name = found["plain"] or found["braced"]
        value = environment.get(name, "")
        if not value:
            raise UnsetVariableError(name, href)
        text, base = value + text[found.end() :], Path.cwd()
    if text.lower().startswith("file://"):
        url = urlsplit(text)
        if url.netloc not in ("", "localhost"):
            raise CatalogError(f"{href!r} is on another machine; copy the file here and give its path")
        text = unquote(url.path)
    elif _PREFIX.match(text):
        raise CatalogError(
            f"{href!r} is no local path; download the file and give its path "
            "(for a name with a colon, put ./ before it)"
        )
    path = Path(os.path.abspath(base / text))  # noqa: PTH100 a link stays the name that the catalog gives
    if len(path.parts) > 1 and path.parts[1].lower().startswith("vsi"):
        raise CatalogError(
            f"{href!r} is one of GDAL's virtual files, which are not opened; give a plain path"
        )
    return path
