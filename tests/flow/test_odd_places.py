"""Whole runs where coordinates are odd: across the antimeridian, near a pole, in feet, in degrees, turned."""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from scipy import ndimage
from support.rasters import write_raster
from support.stac import stac_item, write_catalog
from synthetic.neighborhood import generate

from geoseg.flow.run.run import run
from geoseg.grid.geobox import GeoBox

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 150, 170
DEGREE = 0.3 / 111_320
"""Degrees of latitude in 0.3 m."""
FOOT = 1200 / 3937
LEAST = 6.0


def in_degrees(west: float, north: float) -> Affine:
    """Pixels of about 0.3 m, from a corner in degrees."""
    return Affine(DEGREE / math.cos(math.radians(north)), 0, west, 0, -DEGREE, north)


def in_meters(crs: str, lon: float, lat: float, turned: float = 0.0, unit: float = 1.0) -> Affine:
    """Pixels of 0.3 m around a place."""
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    size = Affine.scale(0.3 / unit, -0.3 / unit)
    place: Affine = Affine.translation(x, y) @ Affine.rotation(turned) @ size
    return place @ Affine.translation(-WIDTH / 2, -HEIGHT / 2)


@dataclass(frozen=True)
class Place:
    crs: str
    transform: Affine
    west: float
    east: float
    """Longitudes of its footprint, roughly; west > east: across the antimeridian."""

    @property
    def box(self) -> GeoBox:
        return GeoBox(HEIGHT, WIDTH, self.transform, self.crs)


PLACES = {
    "zone 60": Place("EPSG:32760", in_meters("EPSG:32760", 180, -17), 179.9997, -179.9997),
    "zone 1": Place("EPSG:32601", in_meters("EPSG:32601", 180, 52), 179.9996, -179.9996),
    "past 180 degrees": Place("EPSG:4326", in_degrees(180 - 2.4e-4, 20), 179.9997, -179.9997),
    "past 180 degrees, south": Place("EPSG:4326", in_degrees(180 - 2.4e-4, -17), 179.9997, -179.9997),
    "to 180 degrees": Place("EPSG:4326", in_degrees(180 - WIDTH * DEGREE, 1e-4), 179.9995, 180),
    "80 degrees north": Place("EPSG:3413", in_meters("EPSG:3413", 15, 80), 14.998, 15.002),
    "80 degrees north, in degrees": Place("EPSG:4326", in_degrees(15, 80), 15, 15.003),
    "turned feet": Place("EPSG:2263", in_meters("EPSG:2263", -73.9, 40.7, 31, FOOT), -73.901, -73.899),
}


def mapped(folder: Path, *names: str, **options: str) -> Path:
    """The folder of a run over some places."""
    for name in names:
        place = generate(size=(HEIGHT, WIDTH), seed=5)
        write_raster(folder / name / "scene.tif", place.image, PLACES[name].box)
    write_catalog(folder / "catalog.json", *(stac_item(name, version="1.0.0") for name in names))
    (folder / "flow.yaml").write_text("catalog: catalog.json\nmodel: buildings-mininet2\n")
    settings = {
        "compute.executor": "serial", "tiling.window": "192 px", "tiling.halo": "16 px",
        "vectorize.merge": "true", "vectorize.layer": "roofs",
    }  # fmt: skip
    output = folder / "maps"
    summary = run(folder / "flow.yaml", {"output": str(output), **settings, **options})
    assert summary.count("done") == len(names), summary.scenes
    return output


def pixel_areas(box: GeoBox) -> NDArray[np.float64]:
    """Square meters of every pixel, by geodesics around some of them."""
    crs = CRS.from_user_input(box.crs)
    geodetic, geod = crs.geodetic_crs, crs.get_geod()
    assert geodetic is not None
    assert geod is not None
    to_globe = Transformer.from_crs(crs, geodetic, always_xy=True)
    areas = []
    for row in (0, box.height - 1):
        for col in (0, box.width - 1):
            corners = [box.transform @ (col + c, row + r) for r, c in ((0, 0), (1, 0), (1, 1), (0, 1))]
            lon, lat = to_globe.transform(*zip(*corners, strict=True))
            areas.append(abs(geod.polygon_area_perimeter(lon, lat)[0]))
    down, across = np.linspace(0, 1, box.height)[:, None], np.linspace(0, 1, box.width)
    upper, lower = (
        areas[0] * (1 - across) + areas[1] * across,
        areas[2] * (1 - across) + areas[3] * across,
    )
    return np.asarray(upper * (1 - down) + lower * down)


@pytest.mark.parametrize("name", PLACES)
def test_a_run_is_right_wherever_it_is(name: str, tmp_path: Path) -> None:
    output = mapped(tmp_path, name, **{"vectorize.mode": "exact", "vectorize.min_area": f"{LEAST} m2"})
    place, (folder,) = PLACES[name], [path for path in output.iterdir() if path.is_dir()]
    box = place.box
    layer = pyogrio.read_dataframe(folder / "roofs.gpkg", layer="roofs")
    assert len(layer) > 2
    assert layer.geometry.is_valid.all()
    assert layer.crs == place.crs
    frame = shapely.Polygon(box.corners)
    assert shapely.within(
        layer.geometry.to_numpy(), shapely.buffer(frame, 1e-6 * math.sqrt(frame.area))
    ).all()
    # Areas are those of the ground, and decide what is large enough.
    with rasterio.open(folder / "classes.tif") as raster:
        classes = raster.read(1)
    parts, count = ndimage.label(classes == 1)
    truth = ndimage.sum_labels(pixel_areas(box), parts, np.arange(1, count + 1))
    assert (truth < LEAST).any(), "something is too small"
    assert np.sort(layer.area_m2) == pytest.approx(np.sort(truth[truth >= LEAST]), rel=1e-3)
    # The item lies where the scene does.
    item = json.loads((folder / "item.json").read_text())
    west, south, east, north = item["bbox"]
    assert (west, east) == pytest.approx((place.west, place.east), abs=1.5e-3)
    outline = shapely.geometry.shape(item["geometry"])
    assert outline.is_valid
    assert outline.geom_type == ("MultiPolygon" if place.west > place.east else "Polygon")
    assert outline.bounds[0] >= -180
    assert outline.bounds[2] <= 180
    assert 0 < north - south < 2e-3
    # What a run leaves beside its scenes.
    assert zipfile.ZipFile(output / "run.qgz").testzip() is None
    merged = pyogrio.read_dataframe(output / "merged.gpkg", layer="roofs")
    assert merged.crs == place.crs
    assert sorted(merged.geometry.to_wkb()) == sorted(layer.geometry.to_wkb())


@pytest.mark.parametrize("name", PLACES)
def test_fitted_objects_have_the_ground_s_areas_and_right_angles(name: str, tmp_path: Path) -> None:
    output = mapped(tmp_path, name, **{"vectorize.min_area": f"{LEAST} m2"})
    merged = pyogrio.read_dataframe(output / "merged.gpkg", layer="roofs")
    assert len(merged) > 1
    assert merged.geometry.is_valid.all()
    crs = CRS.from_user_input(PLACES[name].crs)
    geod = crs.get_geod()
    assert geod is not None
    to_globe = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    turns = []
    for polygon, area, shape in zip(merged.geometry, merged.area_m2, merged["shape"], strict=True):
        globe = shapely.transform(polygon, lambda xy: np.stack(to_globe.transform(*xy.T), axis=1))
        assert abs(geod.geometry_area_perimeter(globe)[0]) == pytest.approx(area, rel=1e-3)
        assert area > 0.97 * LEAST  # a fit may be a little smaller than the contour that was large enough
        if shape in ("rectangle", "rectilinear"):
            lon, lat = globe.exterior.coords.xy
            ahead, _, _ = geod.inv(lon[:-1], lat[:-1], lon[1:], lat[1:])
            turns += (np.diff(ahead) % 90).tolist()
    turns_off = np.minimum(turns, 90 - np.array(turns))
    assert len(turns_off) > 3
    assert np.median(turns_off) < 0.02  # all but where a neighbor or the scene's edge cuts one


def test_maps_of_two_crs_meet_at_the_antimeridian(tmp_path: Path) -> None:
    names = ("past 180 degrees, south", "zone 60")
    output = mapped(tmp_path, *names)
    merged = pyogrio.read_dataframe(output / "merged.gpkg", layer="roofs")
    assert merged.crs == "EPSG:4326"
    assert merged.geometry.is_valid.all()
    assert set(merged.scene) == set(names)
    bounds = merged.geometry.bounds
    assert (bounds.maxx - bounds.minx).max() < 3e-4
    assert bounds.minx.min() > 179.999
    assert bounds.maxx.max() < 180.001
    assert json.loads((output / "run.json").read_text())["merged"]["features"] == len(merged)
