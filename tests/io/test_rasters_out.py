"""Rasters that are written: whole or not at all, the same pixels, readable by everyone."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rio_cogeo.cogeo import cog_validate

from geoseg.arrays import UInt8
from geoseg.errors import GridError, OutputError
from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window
from geoseg.io import files
from geoseg.io.files import free_bytes, sha256_of, staged, sweep_temporaries, write_json, write_text
from geoseg.io.raster.cog import strip_rows, write_cog
from geoseg.io.raster.maps import read_strips

UTM = Affine(0.3, 0, 621_000, 0, -0.3, 3_350_000)
PALETTE = {0: (200, 200, 190), 1: (230, 55, 45), 2: (120, 120, 130)}


def cut(pixels: UInt8, side: int, seed: int | None = None) -> Iterator[tuple[Window, UInt8]]:
    """Blocks of a picture, in raster order or shuffled."""
    height, width = pixels.shape[1:]
    windows = [
        Window(row, col, min(side, height - row), min(side, width - col))
        for row in range(0, height, side)
        for col in range(0, width, side)
    ]
    if seed is not None:
        np.random.default_rng(seed).shuffle(windows)
    return ((window, pixels[:, *window.slices]) for window in windows)


def picture(bands: int, height: int, width: int, top: int = 201) -> UInt8:
    random = np.random.default_rng(height * width)
    pixels = random.integers(0, top, (bands, height, width)).astype(np.uint8)
    pixels[:, : height // 7, : width // 5] = 255
    return pixels


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("shape", "transform", "crs"),
    [
        ((1, 700, 1100), UTM, "EPSG:26914"),
        ((1, 1, 1), UTM, "EPSG:26914"),
        ((1, 1, 1700), UTM, "EPSG:26914"),
        ((3, 530, 8), Affine(1, 0, 5e5, 0, 1, 4e6), "EPSG:2193"),
        (
            (4, 521, 523),
            Affine.translation(5e5, 4e6) @ Affine.rotation(33) @ Affine.scale(0.5, -0.7),
            "+proj=laea +lat_0=52 +lon_0=10 +datum=WGS84",
        ),
        ((1, 520, 100), Affine(1e-5, 0, 179.99, 0, -1e-5, -17), "EPSG:4326"),
        ((1, 520, 100), UTM, "EPSG:25832+7837"),
        ((1, 520, 100), UTM, "ESRI:102001"),
        ((1, 520, 100), Affine(1e-3, 0, 10, 0, -1e-3, 50), "+proj=longlat +a=6378000 +b=6370000"),
        ((1, 520, 100), Affine(1e-3, 0, 10, 0, -1e-3, 50), "OGC:CRS84"),
    ],
)
@pytest.mark.parametrize("kind", ["classes", "probability"])
def test_a_cog_reads_back_as_it_was_written(
    tmp_path: Path, shape: tuple[int, int, int], transform: Affine, crs: str, kind: str
) -> None:
    is_classes = kind == "classes"
    pixels = picture(*shape, top=3) if is_classes else picture(*shape)
    pixels = pixels[:1] if is_classes else pixels
    path = tmp_path / "out" / f"{kind}.tif"
    names = [f"band {n}" for n in range(len(pixels))]
    options: dict[str, Any] = (
        {"colormap": PALETTE} if is_classes else {"scale": 1 / 200, "overviews": "average"}
    )
    geobox = GeoBox(*shape[1:], transform, crs)
    write_cog(path, geobox, names, cut(pixels, 300, seed=1), tags={"MODEL": "m é"}, **options)

    assert visible(path.parent) == [path.name]
    ok, errors, warnings = cog_validate(path, strict=True)
    assert ok, (errors, warnings)
    with rasterio.open(path) as source:
        np.testing.assert_array_equal(source.read(), pixels)
        assert source.transform == transform
        assert source.descriptions == tuple(names)
        assert source.nodatavals == (255,) * len(pixels)
        assert source.scales == ((1,) if is_classes else (1 / 200,) * len(pixels))
        assert source.tags()["MODEL"] == "m é"
        if is_classes:
            table = source.colormap(1)
            assert {value: table[value][:3] for value in PALETTE} == PALETTE
        else:
            assert {band.name for band in source.colorinterp} <= {"gray", "undefined"}
        for factor, level in enumerate(source.overviews(1)):
            with rasterio.open(path, overview_level=factor) as overview:
                assert abs(max(overview.shape) - max(shape) / level) < 1


def test_overviews_are_of_the_pixels(tmp_path: Path) -> None:
    pixels = picture(2, 1024, 1024)
    geobox = GeoBox(1024, 1024, UTM, "EPSG:26914")
    for how in ("nearest", "average"):
        write_cog(tmp_path / "a.tif", geobox, ["a", "b"], cut(pixels, 512), overviews=how)  # type: ignore[arg-type]
        with rasterio.open(tmp_path / "a.tif", overview_level=0) as overview:
            half = overview.read().astype(int)
        quads = pixels.reshape(2, 512, 2, 512, 2).transpose(0, 1, 3, 2, 4).reshape(2, 512, 512, 4).astype(int)
        if how == "nearest":
            assert (quads == half[..., None]).any(axis=-1).all()
        else:
            data = quads != 255
            count = data.sum(axis=-1)
            mean = np.where(count, (quads * data).sum(axis=-1) / np.maximum(count, 1), 255)
            assert (abs(half - mean) <= 0.5).all()  # pixels without data take no part


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 45), st.integers(0, 99))
def test_the_same_pixels_are_the_same_bytes_in_any_blocks(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, side: int, seed: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    pixels, geobox = picture(2, height, width), GeoBox(height, width, UTM, "EPSG:26914")
    write_cog(folder / "a.tif", geobox, ["a", "b"], cut(pixels, 64), scale=1 / 200)
    write_cog(folder / "b.tif", geobox, ["a", "b"], cut(pixels, side, seed), scale=1 / 200)
    assert sha256_of(folder / "a.tif") == sha256_of(folder / "b.tif")


def test_the_same_pixels_are_the_same_bytes_over_many_tiles(tmp_path: Path) -> None:
    pixels, geobox = picture(2, 1100, 1300), GeoBox(1100, 1300, UTM, "EPSG:26914")
    for name, side, seed in (("a", 512, None), ("b", 333, 4), ("c", 2000, None)):
        write_cog(tmp_path / f"{name}.tif", geobox, ["a", "b"], cut(pixels, side, seed), overviews="average")
    assert len({sha256_of(path) for path in tmp_path.iterdir()}) == 1


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 40))
def test_strips_are_the_rows_from_the_top(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, rows: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "strips.tif"
    pixels = picture(3, height, width)
    write_cog(path, GeoBox(height, width, UTM, "EPSG:26914"), list("abc"), cut(pixels, 64), scale=1 / 200)
    strips = list(read_strips(path, [3, 1], rows))
    np.testing.assert_array_equal(np.concatenate(strips, axis=1), pixels[[2, 0]])
    assert {strip.shape[1] for strip in strips[:-1]} <= {rows}


def test_strips_are_whole_tiles_and_bounded() -> None:
    assert strip_rows(1000) % 512 == 0
    for width in (1, 512, 8192, 100_000, 10**7):
        assert strip_rows(width) >= 1
        assert strip_rows(width) * width <= max(1 << 22, width)


def test_blocks_that_do_not_cover_the_grid_once_are_refused(tmp_path: Path) -> None:
    geobox, path = GeoBox(10, 10, UTM, "EPSG:26914"), tmp_path / "a.tif"
    block = np.zeros((1, 10, 5), np.uint8)
    left, right = Window(0, 0, 10, 5), Window(0, 5, 10, 5)
    for blocks, message in [
        ([(left, block)], "row 0, column 5.* covered 0 times"),
        ([(left, block), (right, block), (left, block)], "column 0.* covered 2 times"),
        ([(left, block), (right, block.astype(int))], "int64"),
        ([(left, block), (right, block[:, 1:])], "needed uint8"),
        ([(left, block), (right.shift(0, 1), block)], "past the grid"),
    ]:
        with pytest.raises(GridError, match=message):
            write_cog(path, geobox, ["a"], blocks)
        assert visible(tmp_path) == []


@pytest.mark.parametrize(
    ("transform", "crs", "message"),
    [
        (Affine.identity(), "EPSG:26914", "counts pixels"),
        (Affine(1, 0, 0, 0, -1, 0), "EPSG:26914", "counts pixels"),
        (UTM, "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39 +lon_0=18", "cannot hold"),
        (UTM, "EPSG:999999", "cannot be written"),
    ],
)
def test_what_a_geotiff_cannot_hold_is_refused(
    tmp_path: Path, transform: Affine, crs: str, message: str
) -> None:
    with pytest.raises(OutputError, match=message):
        write_cog(tmp_path / "a.tif", GeoBox(9, 9, transform, crs), ["a"], cut(picture(1, 9, 9), 9))
    assert visible(tmp_path) == []


def test_a_file_that_reads_back_differently_gets_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    geobox, pixels = GeoBox(600, 600, UTM, "EPSG:26914"), picture(1, 600, 600)
    path = tmp_path / "a.tif"
    write_cog(path, geobox, ["a"], cut(pixels, 600))
    before = sha256_of(path)
    fsync = os.fsync

    def flip_a_byte(handle: int) -> None:
        name = Path(f"/proc/self/fd/{handle}").resolve()
        if name.suffix == ".tif":  # what a disk that loses a write does
            data = bytearray(name.read_bytes())
            data[-5000] ^= 255
            name.write_bytes(data)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", flip_a_byte)
    with pytest.raises(OutputError, match=r"a\.tif (reads|cannot be read) back"):
        write_cog(path, geobox, ["a"], cut(255 - pixels, 600))
    assert sha256_of(path) == before
    assert visible(tmp_path) == ["a.tif"]


def test_ctrl_c_leaves_nothing_and_keeps_the_older_file(tmp_path: Path) -> None:
    geobox, pixels = GeoBox(600, 600, UTM, "EPSG:26914"), picture(1, 600, 600)
    write_cog(tmp_path / "a.tif", geobox, ["a"], cut(pixels, 100))
    before = sha256_of(tmp_path / "a.tif")

    def interrupted() -> Iterator[tuple[Window, UInt8]]:
        for n, block in enumerate(cut(pixels, 100)):
            if n == 20:
                raise KeyboardInterrupt
            yield block

    with pytest.raises(KeyboardInterrupt):
        write_cog(tmp_path / "a.tif", geobox, ["a"], interrupted())
    assert visible(tmp_path) == ["a.tif"]
    assert sha256_of(tmp_path / "a.tif") == before


def test_gdal_s_settings_are_as_they_were_while_blocks_are_made(tmp_path: Path) -> None:
    geobox, pixels = GeoBox(600, 600, UTM, "EPSG:26914"), picture(1, 600, 600)
    seen = []

    def blocks() -> Iterator[tuple[Window, UInt8]]:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            for block in cut(pixels, 300):
                seen.append({**rasterio.env.getenv()})
                yield block

    write_cog(tmp_path / "a.tif", geobox, ["a"], blocks())
    readers = [read_strips(tmp_path / "a.tif", [1], 100) for _ in range(2)]
    for pair in zip(*readers, strict=True):
        assert (pair[0] == pair[1]).all()
    assert all("GDAL_PAM_ENABLED" not in one for one in seen)
    assert not rasterio.env.hasenv()


# --- files ----------------------------------------------------------------------------------------------


def test_staged_files_appear_whole_and_take_stale_side_files_away(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x.gpkg"
    with staged(path) as temporary:
        temporary.write_text("one")
        assert temporary.parent == path.parent
        assert temporary.name.startswith(".x")
        assert temporary.suffix == ".gpkg"
        assert not path.exists()
    assert path.read_text() == "one"
    for side in ("x.gpkg-wal", "x.gpkg-journal", "x.gpkg-shm", "x.gpkg.aux.xml"):
        (path.parent / side).write_text("of the older file")
    with staged(path) as temporary:
        temporary.write_text("two")
    assert visible(path.parent) == ["x.gpkg"]
    assert path.read_text() == "two"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_any_error_nothing_remains(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "x.gpkg"
    path.write_text("older")
    with pytest.raises(error), staged(path) as temporary:  # noqa: PT012 the context is what is tested
        temporary.write_text("half")
        for side in ("-journal", "-wal", ".aux.xml"):
            temporary.with_name(temporary.name + side).write_text("side")
        temporary.with_name(temporary.stem + ".scratch.tif").write_text("scratch")
        raise error
    assert visible(tmp_path) == ["x.gpkg"]
    assert path.read_text() == "older"


def test_verify_can_refuse(tmp_path: Path) -> None:
    def refuse(temporary: Path) -> None:
        raise OutputError(f"{temporary.read_text()} is wrong")

    with pytest.raises(OutputError, match="content is wrong"), staged(tmp_path / "x", refuse) as temporary:
        temporary.write_text("content")
    assert visible(tmp_path) == []


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="x cannot be written"), staged(tmp_path / "x"):
        pass


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk full: .* free; free space and run again"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "quota"),
        (OSError(errno.EROFS, "Read-only file system"), "read-only; choose another output"),
        (OSError(errno.EACCES, "Permission denied"), "no permission"),
        (OSError(errno.EIO, "Input/output error"), "check it and run again"),
        (OSError("TIFFAppendToStrip:Write error: No space left on device"), "disk full"),
        (OSError("something else"), "something else"),
    ],
)
def test_errors_of_the_system_say_what_to_do(tmp_path: Path, error: OSError, advice: str) -> None:
    path = tmp_path / "map.tif"
    with (
        pytest.raises(OutputError, match=f"^{re.escape(str(path))} cannot be written: .*{advice}"),
        staged(path),
    ):
        raise error


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(OutputError, match="not a folder"):
        write_text(tmp_path / "runs" / "a" / "x.txt", "text")
    (tmp_path / "x.txt").mkdir()
    with pytest.raises(OutputError, match="a folder has this name"):
        write_text(tmp_path / "x.txt", "text")


def test_long_names_have_room_for_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / f"{'é' * 120}.txt"
    write_text(path, "text")
    assert path.read_text() == "text"
    with pytest.raises(OutputError, match="too long"):
        write_text(tmp_path / ("a" * 300), "text")


def test_json_is_plain_and_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": "é"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"b": [1, 2.5], "a": "é"}
    assert list(json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))) == ["b", "a"]
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "b.json", float("nan"))
    assert visible(tmp_path) == ["a.json"]


def test_checksums_are_sha256(tmp_path: Path) -> None:
    data = np.random.default_rng(0).bytes(3_000_000)
    (tmp_path / "x").write_bytes(data)
    assert sha256_of(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_free_bytes_asks_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet" / "x.tif") > 0


def test_the_sweep_takes_what_dead_processes_left_and_nothing_else(tmp_path: Path) -> None:
    killed = f"""
import os
from pathlib import Path
from geoseg.io.files import staged
with staged(Path({str(tmp_path / "map.tif")!r})) as temporary:
    temporary.write_text("half")
    Path(str(temporary) + "-journal").write_text("side")
    temporary.with_name(temporary.stem + ".scratch.tif").write_text("scratch")
    os._exit(9)
"""
    subprocess.run([sys.executable, "-c", killed], check=False)
    assert len(visible(tmp_path)) == 3
    left = [tmp_path / name for name in visible(tmp_path)]
    for name in ("map.tif", ".hidden", ".map.tmp-notours.tif"):
        (tmp_path / name).write_text("mine")
    foreign = tmp_path / f".map.tmp-00000000-{os.getpid()}-0123abcd.tif"
    foreign.write_text("of another host")
    with staged(tmp_path / "busy.tif") as temporary:
        temporary.write_text("being written")
        assert sorted(sweep_temporaries(tmp_path)) == sorted(left)
        assert temporary.exists()
    assert foreign.exists()
    os.utime(foreign, (0, 0))
    assert sweep_temporaries(tmp_path) == [foreign]
    assert visible(tmp_path) == [".hidden", ".map.tmp-notours.tif", "busy.tif", "map.tif"]
    assert sweep_temporaries(tmp_path / "absent") == []


# --- disks that are full or closed ----------------------------------------------------------------------


def test_a_full_disk_leaves_nothing_readable_but_wrong(tmpfs: Callable[[str], Path]) -> None:
    place = tmpfs("size=2m")
    geobox = GeoBox(700, 900, UTM, "EPSG:26914")
    pixels = picture(1, 700, 900)
    whole = None
    refusals = []
    for free in (0, 4, 40, 100, 200, 400, 560, 600, 640, 680, 720, 800, 1000, 1200, 1300, 1400, 1500, 2048):
        ballast = place / "ballast"
        ballast.write_bytes(bytes(max(0, 2048 - free) * 1024))
        try:
            write_cog(place / "map.tif", geobox, ["p"], cut(pixels, 256), scale=1 / 200, overviews="average")
        except OutputError as error:
            refusals.append(str(error))
            assert visible(place) == ["ballast"]
        else:
            assert visible(place) == ["ballast", "map.tif"]
            whole = whole or sha256_of(place / "map.tif")
            assert sha256_of(place / "map.tif") == whole  # overviews included
            (place / "map.tif").unlink()
        ballast.unlink()
    assert whole is not None
    assert len(refusals) > 5
    assert all(re.search(r"map\.tif cannot be written: disk full: .* run again$", one) for one in refusals)


def test_small_files_on_a_full_disk(tmpfs: Callable[[str], Path]) -> None:
    place = tmpfs("size=64k")
    with pytest.raises(OutputError, match="disk full"):
        write_text(place / "x.txt", "x" * 200_000)
    assert visible(place) == []


def test_a_read_only_disk_is_refused(tmpfs: Callable[[str], Path]) -> None:
    place = tmpfs("size=2m,ro")
    for path in (place / "a.tif", place / "folder" / "a.tif"):
        with pytest.raises(OutputError, match=r"a\.tif cannot be written: the file system is read-only"):
            write_cog(path, GeoBox(9, 9, UTM, "EPSG:26914"), ["p"], cut(picture(1, 9, 9), 9))


def test_crc_is_over_all_bands() -> None:
    assert zlib.crc32(picture(2, 3, 3).data) != zlib.crc32(picture(2, 3, 3)[::-1].copy().data)
    assert files.__all__ == sorted(files.__all__)
