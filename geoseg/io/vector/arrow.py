"""pyarrow, an extra that GeoParquet alone needs."""

from __future__ import annotations

import importlib
from typing import Any

from geoseg.errors import OutputError

__all__ = ["check_format", "import_arrow"]


def import_arrow(module: str = "pyarrow") -> Any:
    """pyarrow, which only this format needs; an OutputError where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise OutputError(
            "GeoParquet needs pyarrow, which is not installed; pip install 'geoseg[parquet]', "
            "or choose the format gpkg or fgb"
        ) from error


def check_format(name: str) -> None:
    """Refuse a format of a workflow whose library is not installed, before any work; an OutputError."""
    if name == "parquet":
        import_arrow()
