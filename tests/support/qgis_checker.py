"""QGIS's own geometry checker over layers; run by QGIS's own Python, never imported.

usage: /usr/bin/python3 qgis_checker.py LAYER.gpkg...

Each file holds a layer of its stem's name. One JSON object is printed: file → check → the errors that it
found, each ``[fid, x, y, what]``, and its messages. The checks are those of the Geometry Checker plugin and
of QGIS's topology checks while digitizing, with their own tolerance of 1e-8 CRS units.

Python knows the checks of the registry only, and no pool of a layer's features. The rest is in the library,
though, so it is made there through the C++ names of QGIS 3 on 64-bit Linux; that a check made so works is
seen in what it finds where something is broken.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp()

from PyQt5 import sip
from qgis.analysis import QgsAnalysis, QgsFeaturePool, QgsGeometryCheck, QgsGeometryCheckContext
from qgis.core import (
    QgsApplication,
    QgsCoordinateTransformContext,
    QgsFeedback,
    QgsProject,
    QgsVectorLayer,
)

REGISTERED = (
    "QgsIsValidCheck",
    "QgsGeometrySelfIntersectionCheck",
    "QgsGeometryGapCheck",
    "QgsGeometryOverlapCheck",
    "QgsGeometryMissingVertexCheck",
)
"""Checks that Python can ask for."""
BUILT: dict[str, tuple[float, ...]] = {
    "QgsGeometrySelfContactCheck": (),
    "QgsGeometryDuplicateNodesCheck": (),
    "QgsGeometryDuplicateCheck": (),
    "QgsGeometryContainedCheck": (),
    "QgsGeometryAngleCheck": (1.0,),
}
"""Further checks, with what their C++ objects hold beyond those of all: the smallest angle, in degrees."""
CHECK = 24
"""Bytes of what all checks hold: table of methods, context, configuration."""


def library(name: str) -> ctypes.CDLL:
    """The library of this name that this process has loaded."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return ctypes.CDLL(next(line.split()[-1] for line in maps if name in line))


ANALYSIS, QT = library("libqgis_analysis"), library("libQt5Core")
KEPT: list[Any] = []
"""What C++ objects point to, which Python must not take away."""


def room(size: int) -> int:
    """Address of zeros that stay."""
    KEPT.append(ctypes.create_string_buffer(size))
    return ctypes.addressof(KEPT[-1])


def address(symbols: ctypes.CDLL, name: str) -> int:
    """Where something of a library lies."""
    return ctypes.addressof(ctypes.c_char.in_dll(symbols, name))


def pool_of(layer: Any) -> Any:
    """The plugin's pool of a layer's features."""
    made = room(4096)
    construct = ANALYSIS._ZN32QgsVectorDataProviderFeaturePoolC1EP14QgsVectorLayerb
    construct.argtypes, construct.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_bool], None
    construct(made, sip.unwrapinstance(layer), False)
    return sip.wrapinstance(made, QgsFeaturePool)


def check_of(name: str, context: Any, values: tuple[float, ...]) -> Any:
    """A check that Python does not know: what all checks are, with the methods of this one."""
    made, configuration = room(256), room(8)
    ctypes.c_uint64.from_address(configuration).value = address(QT, "_ZN12QMapDataBase11shared_nullE")
    construct = ANALYSIS._ZN16QgsGeometryCheckC1EPK23QgsGeometryCheckContextRK4QMapI7QString8QVariantE
    construct.argtypes, construct.restype = [ctypes.c_void_p] * 3, None
    construct(made, sip.unwrapinstance(context), configuration)
    ctypes.c_uint64.from_address(made).value = address(ANALYSIS, f"_ZTV{len(name)}{name}") + 16
    for nth, value in enumerate(values):
        ctypes.c_double.from_address(made + CHECK + 8 * nth).value = value
    return sip.wrapinstance(made, QgsGeometryCheck)


def checked(path: str) -> dict[str, Any]:
    layer = QgsVectorLayer(f"{path}|layername={Path(path).stem}", Path(path).stem, "ogr")
    assert layer.isValid(), path
    context = QgsGeometryCheckContext(8, layer.crs(), QgsCoordinateTransformContext(), QgsProject.instance())
    registry = QgsAnalysis.geometryCheckRegistry()
    checks = {name: registry.geometryCheck(name, context, {}) for name in REGISTERED}
    checks |= {name: check_of(name, context, values) for name, values in BUILT.items()}
    pool, found = pool_of(layer), {}
    for name, check in checks.items():
        errors, messages = check.collectErrors({layer.id(): pool}, [], [], QgsFeedback())
        told = [[e.featureId(), e.location().x(), e.location().y(), str(e.value() or "")] for e in errors]
        found[name] = {"errors": told, "messages": messages}
    return found


def main() -> None:
    application = QgsApplication([], False, tempfile.mkdtemp())
    application.initQgis()
    sys.stdout.write(json.dumps({path: checked(path) for path in sys.argv[1:]}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # layers outlive QGIS otherwise, and it crashes after its work is done


main()
