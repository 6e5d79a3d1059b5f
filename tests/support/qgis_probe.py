"""What the real QGIS makes of a run's outputs; run by QGIS's own Python, never imported.

usage: /usr/bin/python3 qgis_probe.py JOB.json

``JOB.json`` holds a list of ``{"name", "folder", "layer", "rasters", "scene", "png"}``. One JSON object is
printed: for each job the validity, CRS, extent, renderer, colors and geometry errors of the layer and the
rasters, and how many colors each rendered picture has. Pictures are written to ``png``, a folder.

A job ``{"name", "project", "scales", "png"}`` opens a project instead: what is said of each layer is said in
the order of the map, with its group, whether it is shown, and its scales; one picture is drawn at each scale.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp()

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def crs_of(layer: Any) -> dict[str, Any]:
    crs = layer.crs()
    return {"valid": crs.isValid(), "id": crs.authid(), "name": crs.description(), "proj": crs.toProj()}


def extent_of(layer: Any) -> list[float]:
    box = layer.extent()
    return [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()]


def color_of(symbol: Any) -> str:
    return symbol.symbolLayer(symbol.symbolLayerCount() - 1).fillColor().name(QColor.HexRgb)


def vector_facts(layer: Any) -> dict[str, Any]:
    renderer = layer.renderer()
    facts = {
        "valid": layer.isValid(),
        "crs": crs_of(layer),
        "extent": extent_of(layer),
        "count": layer.featureCount(),
        "type": QgsWkbTypes.displayString(layer.wkbType()),
        "fields": [field.name() for field in layer.fields()],
        "renderer": renderer.type(),
        "geos_invalid": 0,
        "qgis_errors": 0,
    }
    if layer.labelsEnabled():
        facts["labels"] = layer.labeling().settings().fieldName
    if renderer.type() == "categorizedSymbol":
        facts["attribute"] = renderer.classAttribute()
        facts["classes"] = [[c.value(), c.label(), color_of(c.symbol())] for c in renderer.categories()]
    else:
        facts["classes"] = [[None, "", color_of(renderer.symbol())]]
    for feature in layer.getFeatures():
        geometry = feature.geometry()
        facts["geos_invalid"] += not geometry.isGeosValid()
        facts["qgis_errors"] += len(geometry.validateGeometry(Qgis.GeometryValidationEngine.QgisInternal))
    return facts


def raster_facts(layer: Any) -> dict[str, Any]:
    renderer = layer.renderer()
    facts = {
        "valid": layer.isValid(),
        "crs": crs_of(layer),
        "extent": extent_of(layer),
        "bands": [layer.bandName(n + 1) for n in range(layer.bandCount())],
        "renderer": renderer.type(),
    }
    if renderer.type() == "paletted":
        facts["classes"] = [[c.value, c.label, c.color.name(QColor.HexRgb)] for c in renderer.classes()]
    if renderer.type() == "singlebandpseudocolor":
        facts["range"] = [renderer.classificationMin(), renderer.classificationMax()]
        values = layer.dataProvider().block(1, layer.extent(), layer.width(), layer.height())
        data = [
            values.value(r, c)
            for r in range(layer.height())
            for c in range(layer.width())
            if not values.isNoData(r, c)
        ]
        facts["values"] = [min(data), max(data)]
    return facts


def picture(layers: list[Any], base: Any, path: Path) -> dict[str, Any]:
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(base.crs())
    settings.setExtent(base.extent())
    settings.setOutputSize(QSize(900, 900))
    settings.setBackgroundColor(QColor("white"))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    image = job.renderedImage()
    image.save(str(path))
    colors = {image.pixel(x, y) for x in range(0, 900, 3) for y in range(0, 900, 3)}
    return {"colors": len(colors), "errors": [error.message for error in job.errors()]}


def probe(job: dict[str, Any]) -> dict[str, Any]:
    folder, png = Path(job["folder"]), Path(job["png"])
    source = f"{folder / job['layer']}.gpkg|layername={job['layer']}"
    vector = QgsVectorLayer(source, job["layer"], "ogr")
    rasters = {name: QgsRasterLayer(str(folder / f"{name}.tif"), name) for name in job["rasters"]}
    scene = QgsRasterLayer(job["scene"], "scene")
    return {
        "name": job["name"],
        "layer": vector_facts(vector),
        "rasters": {name: raster_facts(raster) for name, raster in rasters.items()},
        "scene_proj": scene.crs().toProj(),
        "same_crs": {name: raster.crs() == vector.crs() for name, raster in rasters.items()},
        "pictures": {
            "polygons": picture([vector], scene, png / f"{job['name']}_polygons.png"),
            "overlay": picture([vector, scene], scene, png / f"{job['name']}_overlay.png"),
            **{
                name: picture([raster], scene, png / f"{job['name']}_{name}.png")
                for name, raster in rasters.items()
            },
        },
    }


def project_layer(node: Any) -> dict[str, Any]:
    layer = node.layer()
    facts = {
        "title": node.name(),
        "group": node.parent().name(),
        "shown": node.isVisible(),
        "found": layer is not None,
        "valid": layer is not None and layer.isValid(),
    }
    if layer is None or not layer.isValid():
        return facts
    scales = [layer.minimumScale(), layer.maximumScale()] if layer.hasScaleBasedVisibility() else None
    told = vector_facts(layer) if isinstance(layer, QgsVectorLayer) else raster_facts(layer)
    return {**facts, **told, "scales": scales, "source": layer.source()}


def project_probe(job: dict[str, Any]) -> dict[str, Any]:
    project = QgsProject()
    read = project.read(job["project"])
    nodes = project.layerTreeRoot().findLayers()
    tree = project.layerTreeRoot()
    shown = [layer for layer in tree.layerOrder() if tree.findLayer(layer).isVisible()]
    settings = QgsMapSettings()
    settings.setLayers([layer for layer in shown if layer.isValid()])
    settings.setDestinationCrs(project.crs())
    settings.setBackgroundColor(QColor("white"))
    settings.setOutputSize(QSize(1400, 1000))
    settings.setTransformContext(project.transformContext())
    view = project.viewSettings().defaultViewExtent()
    pictures = {}
    for scale in job["scales"]:  # 0: the whole extent
        settings.setExtent(view)
        if scale:
            box = settings.extent()
            box.scale(scale / settings.scale())
            settings.setExtent(box)
        here = QgsMapSettings(settings)
        here.setLayers([one for one in settings.layers() if one.isInScaleRange(settings.scale())])
        rendering = QgsMapRendererParallelJob(here)
        rendering.start()
        rendering.waitForFinished()
        image = rendering.renderedImage()
        image.save(str(Path(job["png"]) / f"{job['name']}_{scale}.png"))
        pictures[str(scale)] = {
            "layers": [layer.name() for layer in here.layers()],
            "scale": settings.scale(),
            "milliseconds": rendering.renderingTime(),
            "colors": len({image.pixel(x, y) for x in range(0, 1400, 4) for y in range(0, 1000, 4)}),
            "errors": [error.message for error in rendering.errors()],
        }
    return {
        "name": job["name"],
        "read": read,
        "error": project.error(),
        "title": project.title(),
        "crs": crs_of(project),
        "view": [view.xMinimum(), view.yMinimum(), view.xMaximum(), view.yMaximum()],
        "layers": [project_layer(node) for node in nodes],
        "order": [layer.name() for layer in tree.layerOrder()],
        "closed": [group.name() for group in tree.findGroups() if not group.isExpanded()],
        "pictures": pictures,
    }


def main() -> None:
    application = QgsApplication([], False, tempfile.mkdtemp())
    application.initQgis()
    results = [
        project_probe(job) if "project" in job else probe(job)
        for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    ]
    sys.stdout.write(json.dumps({"version": Qgis.QGIS_VERSION, "results": results}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # layers outlive QGIS otherwise, and it crashes after its work is done


main()
