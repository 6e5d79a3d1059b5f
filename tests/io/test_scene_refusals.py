"""What is refused by its header, in one line that names scene and file; what hostile files do not get."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

from geoseg.config.stac.refs import BandRef, MaskRef, SceneRef, Trust
from geoseg.errors import SceneError
from geoseg.grid.window import Window
from geoseg.io.raster.scene import describe
from geoseg.io.raster.scene_reader import SceneReader

PLACE = {"crs": "EPSG:32633", "transform": Affine(1, 0, 500000, 0, -1, 5000000)}
SHAPE = {"driver": "GTiff", "count": 1, "height": 64, "width": 64, "dtype": "uint8"}


def tiff(path: Path, **profile: Any) -> Path:
    profile = {**SHAPE, **PLACE, **profile}
    with rasterio.open(path, "w", **profile) as file:
        if not profile.get("sparse_ok"):
            file.write(np.ones((profile["count"], profile["height"], profile["width"]), profile["dtype"]))
    return path


def content(data: bytes) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_bytes(data)
        return path

    return write


def cut(size: int) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_bytes(tiff(path).read_bytes()[:size])
        return path

    return write


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def ground_control_points(path: Path) -> Path:
    points = [GroundControlPoint(r, c, 5e5 + c, 5e6 - r) for r in (0, 64) for c in (0, 64)]
    return tiff(path, transform=None, gcps=points)


def camera_model(path: Path) -> Path:
    tiff(path, crs=None, transform=Affine(1, 0, 1, 0, 1, 1))
    terms = [1.0] + [0.0] * 19
    model = RPC(100, 500, 40, 1, terms, terms, 32, 32, -86, 1, terms, terms, 32, 32, 1, 1)
    with rasterio.open(path, "w", **SHAPE, rpcs=model) as file:
        file.write(np.ones((1, 64, 64), np.uint8))
    return path


def palette(path: Path) -> Path:
    tiff(path)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})
    return path


def sparse(**profile: Any) -> Callable[[Path], Path]:
    return lambda path: tiff(path, sparse_ok=True, tiled=True, compress="deflate", **profile)


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda path: path, "does not exist: check the path"),
    "folder": (folder, "is not a file"),
    "empty": (content(b""), r"is empty \(0 bytes\)"),
    "text": (content(b"hello, world"), "is not a GeoTIFF but something else"),
    "html": (content(b"<html>404</html>"), "is not a GeoTIFF but XML or HTML"),
    "jpeg": (
        content(b"\xff\xd8\xff\xe0\0\x10JFIF"),
        "is not a GeoTIFF but a JPEG.* or set scenes.trust: local",
    ),
    "lfs": (
        content(b"version https://git-lfs.github.com/spec/v1\n"),
        "is not a GeoTIFF but a Git LFS pointer",
    ),
    "header cut": (cut(40), "a header that is truncated or corrupt"),
    "end cut": (cut(2000), "is truncated: its pixels reach to byte [0-9]+ but the file ends at 2000"),
    "no georeference": (lambda path: tiff(path, crs=None, transform=None), "neither CRS nor transform"),
    "no CRS": (lambda path: tiff(path, crs=None), "has no CRS: assign it with gdal_translate -a_srs"),
    "no transform": (lambda path: tiff(path, transform=None), "has a CRS but no transform"),
    "GCPs": (ground_control_points, "placed by 4 ground control points only"),
    "RPC": (camera_model, "placed by RPC only"),
    "local CRS": (lambda path: tiff(path, crs='LOCAL_CS["site",UNIT["metre",1]]'), "size on the ground|CRS"),
    "zero pixels": (lambda path: tiff(path, transform=Affine(1, 1, 5e5, 1, 1, 5e6)), "has no usable grid"),
    "complex": (lambda path: tiff(path, dtype="complex64"), r"complex numbers \(complex64\) in band 1"),
    "complex integer": (sparse(dtype="complex_int16"), r"complex numbers \(complex_int16\)"),
    "palette": (palette, "holds palette indices in band 1"),
    "huge block": (
        sparse(width=20000, height=20000, blockxsize=16384, blockysize=16384),
        "blocks of 16384×16384 pixels, 268 MB each",
    ),
    "huge scene": (sparse(width=10**6, height=10**6, blockxsize=4096, blockysize=4096), "more than 1e"),
    "many bands": (lambda path: tiff(path, count=1025, height=1, width=1), "1025 bands, more than 1024"),
}


UNPLACED = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
"""The tests write such files; that reading them warns nobody is seen in ``test_odd_files``."""


def refused(ref: SceneRef, words: str, bands: list[str | int] | None = None) -> None:
    with pytest.raises(SceneError, match=words) as caught:
        describe(ref, bands)
    line = str(caught.value)
    assert line.startswith("scene s1")
    assert "\n" not in line
    assert len(line) < 500


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("trust", ["catalog", "local"])
@UNPLACED
def test_unusable_files_are_refused_in_one_line(tmp_path: Path, what: str, trust: Trust) -> None:
    build, words = REFUSED[what]
    path = build(tmp_path / "scene.tif")
    if trust == "local" and "is not a GeoTIFF" in words:
        words = "is not a raster that GDAL reads"
    refused(SceneRef("s1", (), str(path), trust=trust), f"scene s1: {re.escape(str(path))} .*({words})")


@pytest.mark.parametrize("trust", ["catalog", "local"])
@pytest.mark.parametrize(
    "href",
    [
        "http://127.0.0.1:1/a.tif",
        "https://example.com/a.tif",
        "s3://bucket/a.tif",
        "/vsicurl/http://127.0.0.1:1/a.tif",
        "/./vsicurl/http://127.0.0.1:1/a.tif",
        "/vsizip/vsicurl/a.zip",
        "zip+http://127.0.0.1:1/a.zip!a.tif",
        "vrt://a.tif",
        "NETCDF:a.nc:t",
        "WMS:http://127.0.0.1:1/",
        "file:///a.tif",
        "",
        "/a\0b.tif",
        "/" + "a" * 5000,
    ],
)
def test_only_paths_of_local_files_are_opened(href: str, trust: Trust) -> None:
    refused(SceneRef("s1", (), href, trust=trust), "is an address|is not a path|does not exist")


def test_files_of_a_scene_have_to_fit(tmp_path: Path) -> None:
    here = BandRef(str(tiff(tmp_path / "a.tif")), 1, "red")
    place = PLACE["transform"]
    for name, profile, words in [
        ("crs.tif", {"crs": "EPSG:32634"}, r"crs\.tif is in EPSG:32634, the scene in EPSG:32633"),
        ("turned.tif", {"transform": place @ Affine.rotation(5)}, r"turned\.tif does not fit.*rotated"),
        (
            "far.tif",
            {"transform": place @ Affine.translation(9, 0)},
            r"far\.tif does not fit.*different ground",
        ),
    ]:
        other = BandRef(str(tiff(tmp_path / name, **profile)), 1, "nir")
        refused(SceneRef("s1", (here, other)), words)
        refused(SceneRef("s1", (here,), masks=(MaskRef(other.href, 1, (0,)),)), words)
    refused(SceneRef("s1", (here,), masks=(MaskRef(here.href, 2, (0,)),)), "no band 2 for the mask; it has 1")
    refused(SceneRef("s1", (BandRef(here.href, 3, "red"),)), "has 1 bands but the catalog puts red in 3")
    refused(SceneRef("s1", (here, here)), "has band 'red' 2 times; it has 2 bands", ["red"])
    refused(SceneRef("s1", (here,)), "has no band 'nir'; it has 1 band", ["nir"])
    refused(SceneRef("s1", (here,)), "no band to read", [])
    refused(SceneRef("s1", ()), "names neither bands nor a file")


@UNPLACED
def test_side_files_count_only_for_files_of_ones_own(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", transform=None)
    (tmp_path / "a.tfw").write_text("1\n0\n0\n-1\n500000.5\n4999999.5\n")
    refused(
        SceneRef("s1", (), str(path)), r"no transform.*a\.tfw beside it is read only with scenes.trust: local"
    )
    described = describe(SceneRef("s1", (), str(path), trust="local"))
    assert described.geobox.transform == PLACE["transform"]
    assert described.files == (str(path), str(tmp_path / "a.tfw"))

    path = tiff(tmp_path / "b.tif")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(np.zeros((64, 64), np.bool_))
    assert (tmp_path / "b.tif.msk").exists()
    for trust, valid in (("catalog", True), ("local", False)):
        with SceneReader(describe(SceneRef("s1", (), str(path), trust=trust))) as reader:
            assert reader.read(Window(0, 0, 64, 64)).valid.all() == valid


def test_a_mosaic_of_ones_own_is_read_and_listed(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif")
    mosaic = tmp_path / "mosaic.vrt"
    mosaic.write_text(vrt(str(path)))
    refused(SceneRef("s1", (), str(mosaic)), "is not a GeoTIFF but a VRT")
    described = describe(SceneRef("s1", (), str(mosaic), trust="local"))
    assert described.files == (str(mosaic), str(path))
    with SceneReader(described) as reader:
        assert (reader.read(Window(0, 0, 64, 64)).pixels == 1).all()


def vrt(source: str) -> str:
    return f"""<VRTDataset rasterXSize="64" rasterYSize="64">
    <SRS>EPSG:32633</SRS><GeoTransform>500000, 1, 0, 5000000, 0, -1</GeoTransform>
    <VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>{source}</SourceFilename>
    <SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"""


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A loopback server's address, and what it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815 - same

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_no_file_makes_geoseg_call_the_network(tmp_path: Path, listener: tuple[str, list[str]]) -> None:
    address, asked = listener
    service = (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{address}/wms/${{z}}</ServerUrl></Service><DataWindow>'
        "<UpperLeftX>-1</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1</LowerRightX><LowerRightY>-1"
        "</LowerRightY><SizeX>64</SizeX><SizeY>64</SizeY></DataWindow><Projection>EPSG:32633</Projection>"
        "<BandsCount>1</BandsCount></GDAL_WMS>"
    )
    (tmp_path / "wms.xml").write_text(service)
    sources = [
        f"/vsicurl/{address}/a.tif",
        f"/vsicurl_streaming/{address}/b.tif",
        f"/vsizip//vsicurl/{address}/c.zip/c.tif",
        f"{address}/d.tif",
        str(tmp_path / "wms.xml"),
    ]
    for number, source in enumerate(sources):
        path = tmp_path / f"{number}.vrt"
        path.write_text(vrt(source))
        with (
            pytest.raises(SceneError),
            SceneReader(describe(SceneRef("s1", (), str(path), trust="local"))) as reader,
        ):
            reader.read(Window(0, 0, 64, 64))
    refused(SceneRef("s1", (), str(tmp_path / "wms.xml"), trust="local"), "is not a raster that GDAL reads")

    tagged = tiff(tmp_path / "tag.tif")
    with rasterio.open(tagged, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=f"/vsicurl/{address}/tag.tif")
    for trust in ("catalog", "local"):
        described = describe(SceneRef("s1", (), str(tagged), trust=trust))
        with SceneReader(described, described.geobox.zoom(8, 8)) as reader:
            assert (reader.read(Window(0, 0, 8, 8)).pixels == 1).all()
    assert asked == []
    with pytest.raises(rasterio.errors.RasterioIOError), rasterio.open(tmp_path / "0.vrt") as file:
        file.read()
    assert asked, "the listener hears what is not held back"
