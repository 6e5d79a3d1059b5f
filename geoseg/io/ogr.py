"""pyogrio without pandas: a run reads and writes arrays.

pyogrio imports geopandas, pandas and pyarrow when it is imported, half a second of it, to see which versions
there are; what it does with them it imports again where it does it. So it is told the versions.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

__all__ = ["DataLayerError", "DataSourceError", "pyogrio"]

_ONLY_ASKED_FOR = ("geopandas", "pandas", "pyarrow")


@contextmanager
def _versions_alone() -> Iterator[None]:
    """For the length of a ``with`` block, packages that nobody has imported are their versions alone.

    Where other threads run, which might import one just then, nothing is done.
    """
    told = {}
    for name in _ONLY_ASKED_FOR if threading.active_count() == 1 else ():
        if name not in sys.modules:  # where a test or a person has barred one, it is None
            try:
                told[name] = ModuleType(name)
                told[name].__version__ = version(name)  # type: ignore[attr-defined] # as packages have it
            except PackageNotFoundError:
                del told[name]
    sys.modules.update(told)
    try:
        yield
    finally:
        for name in told:
            del sys.modules[name]


with _versions_alone():
    import pyogrio
    import pyogrio.raw
    from pyogrio.errors import DataLayerError, DataSourceError
