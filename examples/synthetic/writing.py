"""Generated scenes as files: the GeoTIFF, its footprints, its land cover."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyogrio
import rasterio
import shapely
from affine import Affine

from synthetic.neighborhood import LANDCOVER_CLASSES, Neighborhood

__all__ = ["SceneFiles", "scene_transform", "write_scene"]

TAKEN = "2021:01:18 11:30:00"
"""The moment that the generated scenes claim, as TIFF writes it."""
ORIGIN = (621000.0, 3349000.0)
DEEP = (200, 40)
"""Offset and gain of the 16-bit variant: 200 + 40 × the 8-bit count."""


@dataclass(frozen=True, slots=True)
class SceneFiles:
    """Where a scene was written."""

    scene: Path
    buildings: Path
    landcover: Path


def scene_transform(resolution: float, rotate: float = 0.0, origin: tuple[float, float] = ORIGIN) -> Affine:
    """Pixels to CRS units: upper left at ``origin``, turned counter-clockwise by ``rotate`` degrees."""
    turned: Affine = (
        Affine.translation(*origin) * Affine.rotation(rotate) * Affine.scale(resolution, -resolution)
    )
    return turned


def _holes(shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Where the variant with nodata has none: the wedge of a flight line's end, and a disc."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    wedge = columns + 0.35 * rows < 0.16 * shape[1]
    disc = np.hypot(rows - 0.62 * shape[0], columns - 0.7 * shape[1]) < 0.08 * min(shape)
    return np.asarray(wedge | disc, np.bool_)


def _bands(place: Neighborhood, dtype: str, nodata: float | None) -> npt.NDArray[Any]:
    image: npt.NDArray[Any] = place.image
    if dtype == "uint16":
        image = (DEEP[0] + DEEP[1] * image.astype(np.int64)).astype(np.uint16)
    if nodata is not None:
        image = np.where(image == nodata, nodata + (1 if nodata < 1 else -1), image).astype(dtype)
        image[:, _holes(image.shape[1:])] = nodata
    return image


def write_scene(
    folder: Path,
    place: Neighborhood,
    *,
    epsg: int = 26914,
    origin: tuple[float, float] = ORIGIN,
    dtype: str = "uint8",
    rotate: float = 0.0,
    nodata: float | None = None,
    lossless: bool = False,
) -> SceneFiles:
    """Write ``scene.tif``, ``buildings.gpkg`` (layer ``buildings``) and ``landcover.tif``.

    Args:
        folder: made if absent; files of these names are replaced.
        place: what `synthetic.neighborhood.generate` returned.
        epsg: the CRS; its units are taken as meters.
        origin: CRS coordinates of the image's upper left corner.
        dtype: ``uint8``, or ``uint16`` (200 + 40 × the 8-bit count).
        rotate: turns the grid counter-clockwise about that corner, degrees.
        nodata: where given, a wedge and a disc hold this value, declared in the file; the truth stays whole.
        lossless: deflate even where JPEG can be used (8 bits without nodata).

    Returns:
        The three paths. The files say in their tags that they are synthetic. The same call writes the same
        pixels and coordinates.

    Raises:
        ValueError: a dtype other than these, or a nodata value that it cannot hold.
    """
    if dtype not in ("uint8", "uint16"):
        raise ValueError(f"a generated scene is uint8 or uint16, not {dtype}")
    if nodata is not None and not (float(nodata).is_integer() and 0 <= nodata <= np.iinfo(dtype).max):
        raise ValueError(f"{dtype} cannot hold the nodata value {nodata}")
    folder.mkdir(parents=True, exist_ok=True)
    files = SceneFiles(folder / "scene.tif", folder / "buildings.gpkg", folder / "landcover.tif")
    transform = scene_transform(place.resolution, rotate, origin)
    tags = {
        "TIFFTAG_DATETIME": TAKEN,
        "TIFFTAG_SOFTWARE": "geoseg examples/make_scene.py",
        "TIFFTAG_IMAGEDESCRIPTION": f"SYNTHETIC scene, generated from seed {place.seed}; not a photograph",
        "SYNTHETIC": "YES",
        "SEED": str(place.seed),
    }
    jpeg = dtype == "uint8" and nodata is None and not lossless
    squeeze: dict[str, Any] = (
        {"compress": "jpeg", "photometric": "ycbcr", "jpeg_quality": 90, "interleave": "pixel"}
        if jpeg
        else {"compress": "deflate", "predictor": 2, "zlevel": 9, "photometric": "rgb", "interleave": "pixel"}
    )
    shape: dict[str, Any] = {
        "driver": "GTiff", "height": place.image.shape[1], "width": place.image.shape[2],
        "transform": transform, "crs": f"EPSG:{epsg}", "tiled": True, "blockxsize": 256, "blockysize": 256,
    }  # fmt: skip
    with rasterio.open(files.scene, "w", **shape, **squeeze, count=3, dtype=dtype, nodata=nodata) as target:
        target.write(_bands(place, dtype, nodata))
        target.update_tags(**tags)
        for band, name in enumerate(("red", "green", "blue"), start=1):
            target.set_band_description(band, name)
    with rasterio.open(
        files.landcover, "w", **shape, compress="deflate", zlevel=9, count=1, dtype="uint8"
    ) as target:
        target.write(place.landcover, 1)
        target.write_colormap(1, {c.id: _rgb(c.color) for c in LANDCOVER_CLASSES})
        target.update_tags(**tags, CLASSES=", ".join(f"{c.id}={c.name}" for c in LANDCOVER_CLASSES))
    _write_buildings(files.buildings, place, transform, epsg)
    return files


def _rgb(color: str) -> tuple[int, int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16), 255


def _write_buildings(path: Path, place: Neighborhood, transform: Affine, epsg: int) -> None:
    a, b, c, d, e, f = transform[:6]

    def to_crs(xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x, y = xy[:, 0], xy[:, 1]
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)

    shapes = [shapely.transform(outline, to_crs) for outline in place.buildings]
    scale = math.sqrt(abs(a * e - b * d)) ** 2
    area = [round(outline.area * scale, 3) for outline in place.buildings]
    table = gpd.GeoDataFrame(
        {"building": np.arange(1, len(shapes) + 1), "area_m2": np.array(area, float)},
        geometry=shapes,
        crs=f"EPSG:{epsg}",
    )
    path.unlink(missing_ok=True)
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options(
        {"OGR_CURRENT_DATE": "2021-01-18T11:30:00.000Z"}
    )  # else the file holds today
    try:
        table.to_file(
            path, layer="buildings", driver="GPKG", engine="pyogrio", VERSION="1.2", GEOMETRY_NAME="geom"
        )
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})
