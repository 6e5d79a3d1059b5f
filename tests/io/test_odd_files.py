"""Real GeoTIFFs that break readers: each is mapped as this table says, or refused in one clear line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import CRS
from rasterio.windows import Window as RasterioWindow

from geoseg.config.stac.refs import SceneRef, Trust
from geoseg.errors import SceneError
from geoseg.grid.window import Window
from geoseg.io.raster.scene import Scene, describe
from geoseg.io.raster.scene_reader import SceneReader


@dataclass(frozen=True)
class Mapped:
    """What the file is."""

    why: str
    crs: str
    """Code, or method of the projection where the CRS has no code."""
    resolution: float
    """Meters on the ground."""
    bands: tuple[str, ...] | int
    dtype: str
    nodata: float | None
    valid: float
    """Share of valid pixels."""


@dataclass(frozen=True)
class Refused:
    """Why it is not mapped."""

    line: str


RGB = ("red", "green", "blue")

ODD: dict[str, Mapped | Refused] = {
    "all_nodata_uint16.tif": Mapped(
        "named bands in the order B G R N; nothing but nodata",
        "EPSG:32628", 3.0003, ("blue", "green", "red", "nir"), "uint16", 0, 0.0,
    ),
    "bad_crs_projfail.tif": Refused("has a CRS that PROJ cannot express: assign another"),
    "bands31_esri102001.tif": Mapped(
        "31 bands; ESRI:102001 without its code, tied to WGS 84 by a shift of zero, which is dropped",
        "Albers Equal Area", 100.0, 31, "uint8", 255, 0.2049,
    ),
    "corrupt.tif": Refused("is truncated: its pixels reach to byte 307086 but the file ends at 298232"),
    "float_nan_ovr.tif": Mapped(
        "NaN as nodata; overviews", "EPSG:4326", 252.7, ("b1",), "float32", None, 0.3519,
    ),
    "gcps_only_uint16.tif": Refused("is placed by 210 ground control points only: warp it with gdalwarp"),
    "huge_36000x18000.tif": Mapped(
        "648 Mpx, the whole Earth in degrees; sparse", "EPSG:4326", 1109.5, ("b1",), "uint8", 0, 1 / 3,
    ),
    "int16_customproj_nodata.tif": Mapped(
        "negative nodata, a projection without a code, strips of 2 rows",
        "Albers Equal Area", 30.0, 3, "int16", -9999, 1.0,
    ),
    "jpeg_named_tif_auxxml.tif": Refused("is not a GeoTIFF but a JPEG: .* or set scenes.trust: local"),
    "landsat8_uint16_60m.tif": Mapped(
        "no nodata declared", "EPSG:32621", 59.987, ("b1",), "uint16", None, 1.0
    ),
    "nocrs_rgb_drone.tif": Refused("has no georeference, neither CRS nor transform"),
    "pan_uint16_atlanta.tif": Mapped(
        "uncompressed strips of 4 rows", "EPSG:32616", 0.49986, ("b1",), "uint16", 0, 1.0,
    ),
    "rgb_8448.tif": Mapped(
        "one pixel is 76 m in EPSG:3857 and 60 m on the ground", "EPSG:3857", 59.565, RGB, "uint8", None, 1.0,
    ),
    "rgba_2cm_drone.tif": Mapped(
        "an alpha band, which is a mask, not data", "EPSG:32633", 0.020002, RGB, "uint8", None, 1.0,
    ),
    "rotated_rgb_customcrs.tif": Mapped(
        "rotated by 180.2°, a projection without a code, lossy pixels with nodata 0",
        "Transverse Mercator", 5.6389, RGB, "uint8", 0, 1.0,
    ),
    "rotated_uint16_nodata_mask_6500x2255.tif": Mapped(
        "skewed; an internal mask that calls every pixel valid, all of which hold nodata",
        "EPSG:32613", 0.99972, ("b1",), "uint16", 0, 0.0,
    ),
    "rpc_nocrs.tif": Refused(r"is placed by RPC only \(a camera model\): orthorectify it"),
    "uint16_rgb_tiled_ovr_nodata.tif": Mapped(
        "16-bit color without color names", "EPSG:32618", 300.15, 3, "uint16", 0, 0.6754,
    ),
}  # fmt: skip
"""What becomes of each file under ``trust: catalog``."""

LOCAL: dict[str, Mapped | Refused] = {
    "jpeg_named_tif_auxxml.tif": Mapped(
        "a JPEG, placed by the side file", "EPSG:4326", 0.13201, RGB, "uint8", None, 1.0,
    ),
}  # fmt: skip
"""Where ``trust: local`` differs."""

SIDE_FILES = {"jpeg_named_tif_auxxml.tif.aux.xml"}


def test_the_table_names_every_file(shared_data: Path) -> None:
    files = {path.name for path in (shared_data / "odd").iterdir()}
    assert files == ODD.keys() | SIDE_FILES


@pytest.mark.parametrize("trust", ["catalog", "local"])
@pytest.mark.parametrize("name", ODD)
def test_odd_files_are_mapped_or_refused(shared_data: Path, name: str, trust: Trust) -> None:
    path = shared_data / "odd" / name
    expected = ODD[name] if trust == "catalog" else LOCAL.get(name, ODD[name])
    ref = SceneRef("odd one", (), str(path), trust=trust)
    if isinstance(expected, Refused):
        with pytest.raises(SceneError, match=expected.line) as caught:
            describe(ref)
        assert str(caught.value).startswith(f"scene odd one: {path} ")
        assert "\n" not in str(caught.value)
        return
    scene = describe(ref)
    check_header(scene, expected)
    with SceneReader(scene) as reader:
        check_pixels(reader, path)
        assert valid_share(reader) == pytest.approx(expected.valid, abs=1e-4)


def check_header(scene: Scene, expected: Mapped) -> None:
    if scene.geobox.crs != expected.crs:
        operation = CRS.from_user_input(scene.geobox.crs).coordinate_operation
        assert operation is not None
        assert operation.method_name == expected.crs
    names = tuple(band.name for band in scene.bands)
    bands = expected.bands
    assert names == (tuple(f"b{i + 1}" for i in range(bands)) if isinstance(bands, int) else bands)
    assert scene.dtype == expected.dtype
    assert set(map(str, scene.nodata.values)) == {
        str(None if expected.nodata is None else float(expected.nodata))
    }
    assert scene.resolution.mean == pytest.approx(expected.resolution, rel=2e-4)


def check_pixels(reader: SceneReader, path: Path) -> None:
    """Inside the scene pixels are the file's; past its corners they are mirrored; none is NaN."""
    height, width = reader.grid.shape
    row, col = height // 2, width // 2
    inside = reader.read(Window(row, col, 30, 30))
    with rasterio.open(path) as file:
        indexes = [band.index for band in reader.scene.bands]
        stored = file.read(indexes, window=RasterioWindow(col, row, 30, 30))
    np.testing.assert_array_equal(inside.pixels, np.where(inside.valid, stored, 0).astype(np.float32))
    for corner in (Window(-20, -20, 41, 41), Window(height - 21, width - 21, 41, 41)):
        raster = reader.read(corner)
        assert np.isfinite(raster.pixels).all()
        np.testing.assert_array_equal(raster.pixels, raster.pixels[:, ::-1, ::-1])
        np.testing.assert_array_equal(raster.valid, raster.valid[::-1, ::-1])


def valid_share(reader: SceneReader) -> float:
    """Of the whole scene; of nine windows where it is larger than 100 Mpx."""
    height, width = reader.grid.shape
    if height * width > 1e8:
        places = [(row, col) for row in (0, height // 2, height - 99) for col in (0, width // 2, width - 99)]
        windows = [Window(row, col, 99, 99) for row, col in places]
    else:
        windows = [Window(row, 0, min(512, height - row), width) for row in range(0, height, 512)]
    counts = [int(reader.read(window).valid.sum()) for window in windows]
    return sum(counts) / sum(window.pixels for window in windows)
