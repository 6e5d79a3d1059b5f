"""``geoseg vectorize`` with what it cannot use: one plain line, exit code 2, nothing written."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import rioxarray  # noqa: F401 - the accessor rio
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from support.commands import Command
from support.rasters import write_raster

from geoseg.api.vectorize import vectorize as frame_of
from geoseg.errors import SceneError, SceneWarning
from geoseg.flow.vectorize import vectorize
from geoseg.io.raster.score_raster import describe_scores
from geoseg.io.vector.reader import layer_info

PLACE = Affine(0.3, 0, 500_000, 0, -0.3, 4_500_000)
POLAR = Affine(1, 0, 0, 0, -1, 100)
SHAPE = (40, 60)
BYTE = np.zeros((1, *SHAPE), np.uint8)
write = partial(write_raster, crs="EPSG:32618", transform=PLACE)


def scores() -> NDArray[np.float32]:
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return (0.5 + 0.49 * np.sin(rows / 4) * np.sin(cols / 5))[None].astype(np.float32)


@pytest.fixture
def refused(geoseg: Command, tmp_path: Path) -> Callable[..., str]:
    """Runs the command, which must refuse in one line and leave everything as it was; gives the line."""

    def ask(raster: Path, *options: str | Path, output: Path | None = None) -> str:
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        code, out, err = geoseg("vectorize", raster, "-o", output or tmp_path / "new" / "out.gpkg", *options)
        assert (code, out) == (2, ""), err
        *usage, line = err.splitlines()
        assert not usage or usage[0].startswith("Usage:"), err
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        return line

    return ask


@pytest.mark.parametrize(
    ("pixels", "changes", "said"),
    [
        (BYTE, {"transform": PLACE @ Affine.translation(0.5, 0)}, "500000.15"),
        (BYTE, {"transform": PLACE @ Affine.scale(1.001)}, "0.3003"),
        (BYTE, {"transform": PLACE @ Affine.rotation(1)}, "another grid"),
        (BYTE[:, 1:], {}, "39×60 px"),
        (BYTE, {"crs": "EPSG:32619"}, "EPSG:32619"),
        (BYTE, {"crs": None}, "has no CRS"),
        (BYTE, {}, "no pixel with data"),
    ],
    ids=["half a pixel off", "other pixels", "turned", "smaller", "other CRS", "no CRS", "nothing left"],
)
def test_a_mask_that_does_not_fit_is_told(
    pixels: NDArray[np.uint8],
    changes: dict[str, Any],
    said: str,
    refused: Callable[..., str],
    tmp_path: Path,
) -> None:
    raster = write(tmp_path / "p.tif", scores())
    mask = write(tmp_path / "mask.tif", pixels, **changes)
    line = refused(raster, "--mask", mask)
    assert said in line
    assert "mask" in line


def test_a_mask_fits_whatever_its_crs_is_called(tmp_path: Path) -> None:
    crs = CRS.from_proj4("+proj=laea +lat_0=41 +lon_0=-75 +datum=WGS84 +units=m")
    renamed = CRS.from_wkt(crs.to_wkt().replace('PROJCS["unknown"', 'PROJCS["mine"'))
    assert renamed.to_wkt() != crs.to_wkt()
    raster = write(tmp_path / "p.tif", scores(), crs=crs)
    mask = write(tmp_path / "mask.tif", BYTE + 1, crs=renamed)
    assert describe_scores(raster, mask=mask).scene.ref.masks


@pytest.mark.parametrize(
    ("pixels", "changes", "said"),
    [
        (scores().astype(np.complex64), {}, "1 band of complex64"),
        (scores() - 0.6, {}, "and a probability lies in 0 to 1"),
        (scores() * 100, {}, "and a probability lies in 0 to 1"),
        (scores(), {"transform": Affine.identity(), "crs": None}, "has no georeference"),
        (scores(), {"transform": POLAR, "crs": "EPSG:4326"}, "no longitude and latitude"),
        (scores(), {"crs": 'ENGCRS["a",EDATUM["b"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],'
                    'LENGTHUNIT["metre",1]]'}, "local CRS 'a', which has no place on the globe"),
        (BYTE.astype(np.int64) + (1 << 40), {}, "class ids are whole numbers below"),
    ],
    ids=["complex", "below 0", "per cent", "nowhere", "beyond the pole", "a building site", "huge ids"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_that_cannot_be_used_is_told(
    pixels: NDArray[Any],
    changes: dict[str, Any],
    said: str,
    refused: Callable[..., str],
    tmp_path: Path,
) -> None:
    line = refused(write(tmp_path / "p.tif", pixels, **changes))
    assert said in line
    assert "p.tif" in line


def test_many_whole_numbers_are_classes_only_where_something_says_so(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    ids = (np.arange(33).repeat(40).reshape(33, 40)).astype(np.uint8)
    gray = write(tmp_path / "gray.tif", ids)
    assert re.search(
        r"gray\.tif holds 33 different.*--as probability \(value/255\) or --as classes", refused(gray)
    )
    assert "gdal_edit.py -scale" in refused(write(tmp_path / "deep.tif", ids.astype(np.uint16)))
    array = xr.DataArray(ids, dims=("y", "x")).rio.write_crs("EPSG:32618").rio.write_transform(PLACE)
    for source in (gray, array):
        with pytest.raises(SceneError, match="holds 33 different whole numbers"):
            frame_of(source)
        assert len(set(frame_of(source, kind="classes", mode="exact").class_id)) == 32  # 0: background
    table = {value: (value, 255 - value, 0, 255) for value in range(256)}
    colored = write(tmp_path / "colored.tif", ids, colors=table)
    fewer = write(tmp_path / "fewer.tif", np.minimum(ids, 31))
    for name, raster, names in (("a", colored, {}), ("b", fewer, {}), ("c", gray, {7: "roof"})):
        made = vectorize(raster, tmp_path / f"{name}.gpkg", names=names)
        assert (made.kind, made.warnings) == ("classes", ())


@pytest.mark.parametrize(("largest", "one"), [(1, 1), (93, 100), (100, 100), (200, 200), (255, 255)])
def test_bytes_in_another_scale_are_warned_of(
    largest: int, one: int, geoseg: Command, tmp_path: Path
) -> None:
    raster = write(tmp_path / "p.tif", np.rint(scores() / scores().max() * largest).astype(np.uint8))
    code, out, err = geoseg("vectorize", raster, "-o", tmp_path / "p.gpkg", "--as", "probability")
    assert code == 0
    assert out
    said = rf"largest value is {largest}: read as value/255.*gdal_edit\.py -scale {1 / one:.6g}\n"
    assert bool(re.search(said, err)) == (largest < 255), err
    if largest < 255:
        with pytest.warns(SceneWarning, match=f"largest value is {largest}"):
            frame_of(raster, kind="probability")
        with rasterio.open(raster, "r+") as file:
            file.scales = (1 / one,)
        assert vectorize(raster, tmp_path / "scaled.gpkg").warnings == ()


@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.95])
@pytest.mark.parametrize("driver", ["GTiff", "COG"])
def test_a_truncated_raster_is_told(
    driver: str, part: float, refused: Callable[..., str], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).random((1, 600, 600)).astype(np.float32)
    whole = write(tmp_path / "whole.tif", noise, driver=driver, compress="deflate").read_bytes()
    broken = tmp_path / "broken.tif"
    broken.write_bytes(whole[: int(part * len(whole))])
    line = refused(broken)
    assert "broken.tif" in line
    assert "Traceback" not in line


@pytest.mark.parametrize(
    "name",
    ["geom", "FID", "gpkg_contents", "sqlite_x", "rtree_a_geom", "layer_styles", "1st", "a-b", "a.b", "é", "",
     "a" * 64, 'a"b', "a;b"],
)  # fmt: skip
def test_a_layer_name_that_a_geopackage_cannot_have_is_refused(
    name: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    line = refused(write(tmp_path / "p.tif", scores()), "--set", f"vectorize.layer={name}")
    assert "vectorize.layer: " in line
    assert "cannot name a layer" in line or (name == "" and "is empty" in line)


@pytest.mark.parametrize("name", ["select", "table", "class_id", "gpkg_contents", "sqlite_master", "rtree_x"])
def test_any_name_of_a_file_gives_a_layer(name: str, geoseg: Command, tmp_path: Path) -> None:
    code, _, err = geoseg("vectorize", write(tmp_path / "p.tif", scores()), "-o", tmp_path / f"{name}.gpkg")
    assert code == 0, err
    (layer,) = {name, f"polygons_{name}"} & set(pyogrio.list_layers(tmp_path / f"{name}.gpkg")[:, 0])
    assert layer_info(tmp_path / f"{name}.gpkg", layer).count > 0


@pytest.mark.parametrize(
    ("names", "said"),
    [(("1=a", "1=b"), "class 1 has the name 'a' already"), (("1=a\x07",), "control characters")],
)
def test_names_of_classes_that_make_no_sense_are_told(
    names: tuple[str, ...], said: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    options = [part for name in names for part in ("--class", name)]
    assert said in refused(write(tmp_path / "p.tif", scores()), *options)


def test_places_that_cannot_be_written_are_told(
    refused: Callable[..., str], tmp_path: Path, tmpfs: Callable[[str], Path]
) -> None:
    raster = write(tmp_path / "p.tif", scores())
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.gpkg").mkdir()
    sealed = tmpfs("size=1m,ro")
    for output, said in (
        (tmp_path / "file" / "out.gpkg", "is a file, not a folder"),
        (tmp_path / "folder.gpkg", "is there already"),
        (sealed / "out.gpkg", "read-only"),
        (sealed / "new" / "out.gpkg", "read-only"),
        (tmp_path / "out.shp", "needs the ending of a format"),
        (tmp_path / "out", "needs the ending of a format"),
        (tmp_path / ".gpkg", "needs the ending of a format"),
    ):
        assert said in refused(raster, output=output)
    assert "a folder has this name" in refused(raster, "--overwrite", output=tmp_path / "folder.gpkg")
