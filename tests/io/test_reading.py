"""Reading against an oracle: the whole file, ``numpy.pad(mode="reflect")``, validity by the book."""

from __future__ import annotations

import pickle
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from support.rasters import write_raster

from geoseg.config.stac.refs import BandRef, MaskRef, NodataRule, SceneRef
from geoseg.errors import GridError, SceneError
from geoseg.grid.geobox import GeoBox
from geoseg.grid.resample import Resampler
from geoseg.grid.window import Window
from geoseg.io.raster import scene_reader
from geoseg.io.raster.reader import ArrayReader, Raster
from geoseg.io.raster.scene import Scene, describe
from geoseg.io.raster.scene_reader import ReadAhead, SceneReader, close_kept_reader, kept_reader
from geoseg.io.raster.validity import Nodata

UTM = "EPSG:32633"
NORTH_UP = Affine(2, 0, 500000, 0, -2, 5000000)
TRANSFORMS = {
    "north-up": NORTH_UP,
    "south-up": Affine(2, 0, 500000, 0, 2, 5000000),
    "rotated": Affine.translation(500000, 5000000) @ Affine.rotation(30) @ Affine.scale(2, -2),
    "tall pixels": Affine(2, 0, 500000, 0, -3, 5000000),
    "east-west flipped": Affine(-2, 0, 500000, 0, -2, 5000000),
    "rotated, south-up": Affine.translation(500000, 5000000) @ Affine.rotation(30) @ Affine.scale(2, 2),
}
FLIPPED = {"south-up": -2, "rotated, south-up": -2, "east-west flipped": -1}
"""The axis of an array that is read in the other order."""
PAD = 110


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reading")


def write(path: Path, pixels: NDArray[Any], *, transform: Affine = NORTH_UP, **options: Any) -> str:
    return str(write_raster(path, pixels, crs=UTM, transform=transform, **options))


def scene(href: str, **fields: Any) -> SceneRef:
    return SceneRef(id="s1", bands=(), href=href, **fields)


def reflected(array: NDArray[Any], window: Window) -> NDArray[Any]:
    """A window of the mirrored picture, by numpy's own padding."""
    margins = [(0, 0)] * (array.ndim - 2) + [(PAD, PAD), (PAD, PAD)]
    rows, cols = window.shift(PAD, PAD).slices
    return np.pad(array, margins, mode="reflect")[..., rows, cols]


def check(raster: Raster, pixels: NDArray[Any], valid: NDArray[np.bool_], window: Window) -> None:
    """A raster is the window of a whole picture, invalid pixels zeroed."""
    np.testing.assert_array_equal(raster.valid, reflected(valid, window))
    with np.errstate(over="ignore"):
        clean = np.where(valid, pixels, 0).astype(np.float32)
    assert raster.pixels.dtype == np.float32
    assert raster.pixels.tobytes() == np.ascontiguousarray(reflected(clean, window)).tobytes()


@st.composite
def windows(draw: st.DrawFn) -> Window:
    row, col = draw(st.integers(-70, 60)), draw(st.integers(-70, 60))
    return Window(row, col, draw(st.integers(1, 40)), draw(st.integers(1, 40)))


@dataclass(frozen=True)
class Drawn:
    """A file, its pixels as seen from above, and what their validity should be."""

    href: str
    pixels: NDArray[Any]
    valid: NDArray[np.bool_]
    override: float | None
    rule: NodataRule


def lacking(pixels: NDArray[Any], nodata: float | None, rule: NodataRule) -> NDArray[np.bool_]:
    """Where pixels (bands, rows, columns) are nodata, by the book."""
    held = [band == nodata for band in pixels]
    byte = pixels.dtype.itemsize == 1 and nodata is not None and 0 <= nodata <= 255
    joint = rule == "all" or (rule == "auto" and byte)
    return np.all(held, axis=0) if joint else np.any(held, axis=0)


@st.composite
def files(draw: st.DrawFn, folder: Path) -> Drawn:
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    dtype = np.dtype(draw(st.sampled_from(["uint8", "int8", "uint16", "int16", "float32"])))
    bands = draw(st.integers(1, 3))
    shape = draw(st.integers(1, 47)), draw(st.integers(1, 47))
    pixels = rng.integers(-2 if dtype.kind != "u" else 0, 4, (bands, *shape)).astype(dtype)
    tag = draw(st.sampled_from([None, 0.0, 3.0]))
    override = draw(st.sampled_from([None, None, 1.0, -9999.0, 0.5, -2.0]))
    rule: NodataRule = draw(st.sampled_from(["auto", "auto", "any", "all"]))
    valid = np.ones(shape, np.bool_)
    if dtype.kind == "f":
        pixels[rng.random(pixels.shape) < 0.1] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        valid &= np.isfinite(pixels).all(axis=0)
    nodata = tag if override is None else override
    if nodata is not None:
        valid &= ~lacking(pixels, nodata, rule)
    validity = draw(st.sampled_from(["none", "mask", "alpha"]))
    extra = rng.random(shape) < 0.8
    options: dict[str, Any] = {"tiled": draw(st.booleans()), "blockxsize": 16, "blockysize": 16}
    options = options if options["tiled"] else {}
    stored = pixels
    if validity != "none":
        valid &= extra
    if validity == "mask":
        options["mask"] = extra
    if validity == "alpha":
        stored = np.concatenate([pixels, np.where(extra, 200, 0).astype(dtype)[None]])
        options["interpretation"] = [*[ColorInterp.undefined] * bands, ColorInterp.alpha]
    how = draw(st.sampled_from(sorted(TRANSFORMS)))
    compress = draw(st.sampled_from(["deflate", "lzw"]))
    path = folder / "drawn.tif"
    href = write(path, stored, transform=TRANSFORMS[how], nodata=tag, compress=compress, **options)
    if how in FLIPPED:
        pixels, valid = (np.flip(array, FLIPPED[how]) for array in (pixels, valid))
    return Drawn(href, pixels, valid, override, rule)


@given(st.data())
def test_a_window_is_cut_from_the_mirrored_scene(folder: Path, data: st.DataObject) -> None:
    drawn = data.draw(files(folder))
    described = describe(scene(drawn.href, nodata=drawn.override, nodata_rule=drawn.rule))
    assert described.geobox.shape == drawn.valid.shape
    with SceneReader(described) as reader:
        for window in data.draw(st.lists(windows(), min_size=1, max_size=3)):
            raster = reader.read(window)
            check(raster, drawn.pixels, drawn.valid, window)
            assert raster.geobox == described.geobox[window]


@given(st.data(), st.integers(1, 60), st.integers(1, 60))
def test_on_another_grid_a_window_is_cut_from_the_resampled_scene(
    folder: Path, data: st.DataObject, height: int, width: int
) -> None:
    drawn = data.draw(files(folder))
    described = describe(scene(drawn.href, nodata=drawn.override, nodata_rule=drawn.rule))
    grid = described.geobox.zoom(height, width)
    resampler = Resampler.between(described.geobox, grid)
    values, known = resampler.values(list(drawn.pixels), drawn.valid, grid.window)
    with SceneReader(described, grid) as reader:
        for window in data.draw(st.lists(windows(), min_size=1, max_size=3)):
            check(reader.read(window), values, known, window)


@given(st.data(), st.integers(1, 60), st.integers(1, 60))
def test_bytes_are_kept_where_they_are_neither_resampled_nor_scaled(
    folder: Path, data: st.DataObject, height: int, width: int
) -> None:
    drawn = data.draw(files(folder))
    described = describe(scene(drawn.href, nodata=drawn.override, nodata_rule=drawn.rule))
    scaled = replace(described, bands=tuple(replace(band, scale=2.0) for band in described.bands))
    zoomed = described.geobox.zoom(height, width)
    for one, grid in ((described, described.geobox), (described, zoomed), (scaled, described.geobox)):
        window = data.draw(windows())
        with SceneReader(one, grid) as reader, SceneReader(one, grid, keep_bytes=True) as keeping:
            plain, kept = reader.read(window), keeping.read(window)
        keeps = drawn.pixels.dtype == np.uint8 and grid == described.geobox and one is described
        assert kept.pixels.dtype == (np.uint8 if keeps else np.float32)
        assert kept.pixels.astype(np.float32).tobytes() == plain.pixels.tobytes()
        assert kept.valid.tobytes() == plain.valid.tobytes()


@given(st.data(), st.integers(1, 60), st.integers(1, 60))
def test_an_array_reads_as_the_file_that_holds_it(
    folder: Path, data: st.DataObject, height: int, width: int
) -> None:
    drawn = data.draw(files(folder))
    nodata = data.draw(st.sampled_from([None, 0.0, 3.0, -9999.0, 0.5]))
    described = describe(
        scene(write(folder / "array.tif", drawn.pixels), nodata=nodata, nodata_rule=drawn.rule)
    )
    grid = data.draw(st.sampled_from([described.geobox, described.geobox.zoom(height, width)]))
    count = len(drawn.pixels)
    rule = Nodata.of([drawn.pixels.dtype.name] * count, [nodata] * count, drawn.rule)
    in_memory = ArrayReader(drawn.pixels, described.geobox, grid, nodata=rule)
    with SceneReader(described, grid) as reader:
        for window in data.draw(st.lists(windows(), min_size=1, max_size=3)):
            one, other = reader.read(window), in_memory.read(window)
            assert one.pixels.tobytes() == other.pixels.tobytes()
            assert one.valid.tobytes() == other.valid.tobytes()
            assert one.geobox == other.geobox


def test_an_array_of_any_real_type_is_valid_where_float32_can_hold_it() -> None:
    box = GeoBox(1, 3, NORTH_UP, UTM)
    for dtype, values, valid in (
        ("bool", [0, 1, 1], [True, True, True]),
        ("float16", [65504, np.inf, 1], [True, False, True]),
        ("float64", [1e300, 3e38, np.nan], [False, True, False]),
        ("uint64", [0, 1, 2**63], [True, True, True]),
    ):
        raster = ArrayReader(np.array([[values]]).astype(dtype), box).read(box.window)
        assert raster.valid.tolist() == [valid], dtype
        assert np.isfinite(raster.pixels).all()


@given(st.data())
def test_windows_agree_bit_for_bit_where_they_overlap(folder: Path, data: st.DataObject) -> None:
    drawn = data.draw(files(folder))
    described = describe(scene(drawn.href, nodata=drawn.override, nodata_rule=drawn.rule))
    grid = described.geobox.zoom(31, 23)
    one, other = data.draw(windows()), data.draw(windows())
    common = one.intersect(other)
    if common is None:
        return
    with SceneReader(described, grid) as reader:
        parts = [(reader.read(window), common.relative_to(window).slices) for window in (one, other)]
    (a, in_a), (b, in_b) = parts
    assert a.pixels[(slice(None), *in_a)].tobytes() == b.pixels[(slice(None), *in_b)].tobytes()
    assert a.valid[in_a].tobytes() == b.valid[in_b].tobytes()


@given(st.data())
def test_one_file_per_band_is_the_same_scene(folder: Path, data: st.DataObject) -> None:
    drawn = data.draw(files(folder))
    with rasterio.open(drawn.href) as file:
        transform = file.transform
        nodata = file.nodata
    # Alpha and masks say something of all bands, so they have no counterpart in the split files.
    together = write(folder / "joined.tif", drawn.pixels, transform=transform, nodata=nodata)
    split = tuple(
        BandRef(write(folder / f"b{i}.tif", band[None], transform=transform, nodata=nodata), 1, f"band{i}")
        for i, band in enumerate(drawn.pixels)
    )
    one = describe(scene(together, nodata=drawn.override, nodata_rule=drawn.rule))
    many = describe(SceneRef("s1", split, nodata=drawn.override, nodata_rule=drawn.rule))
    grid = data.draw(st.sampled_from([one.geobox, one.geobox.zoom(13, 29)]))
    window = data.draw(windows())
    with SceneReader(one, grid) as a, SceneReader(many, grid) as b:
        first, second = a.read(window), b.read(window)
    assert first.pixels.tobytes() == second.pixels.tobytes()
    assert first.valid.tobytes() == second.valid.tobytes()


@settings(max_examples=20)
@given(st.data(), st.integers(2, 4), st.integers(0, 99))
def test_bands_of_mixed_resolution_meet_on_the_finest(
    folder: Path, data: st.DataObject, factor: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    dtype = np.dtype(data.draw(st.sampled_from(["uint8", "uint16", "float32"])))
    rule: NodataRule = data.draw(st.sampled_from(["auto", "any", "all"]))
    height, width = rng.integers(1, 13, 2).tolist()
    fine = rng.integers(0, 3, (1, height * factor, width * factor)).astype(dtype)
    coarse = rng.integers(0, 3, (1, height, width)).astype(dtype)
    refs = (
        BandRef(
            write(folder / "c.tif", coarse, transform=NORTH_UP @ Affine.scale(factor), nodata=0), 1, "swir"
        ),
        BandRef(write(folder / "f.tif", fine, nodata=0), 1, "red"),
    )
    described = describe(SceneRef("s1", refs, nodata_rule=rule))
    assert described.geobox.shape == fine.shape[1:]
    assert [band.name for band in described.bands] == ["swir", "red"]
    # The oracle: where bands count jointly, nodata in both; one that is alone in it keeps the stored value.
    box = described.geobox
    resampler = Resampler.between(box.zoom(height, width), box)
    values, share = resampler.values(list(coarse), coarse[0] != 0, box.window)
    swir, red = share >= 0.5 - 1e-9, fine[0] != 0
    joint = rule == "all" or (rule == "auto" and dtype == np.uint8)
    valid = swir | red if joint else swir & red
    window = data.draw(windows())
    with SceneReader(described) as reader:
        check(reader.read(window), np.stack([np.where(swir, values[0], 0), fine[0]]), valid, window)


def test_scale_and_offset_of_the_catalog_come_after_nodata(folder: Path) -> None:
    stored = np.array([[[0, 1000, 65535]]], np.uint16)
    href = write(folder / "scaled.tif", stored, nodata=0)
    ref = SceneRef("s1", (BandRef(href, 1, "red", scale=0.0001, offset=-0.1),))
    with SceneReader(describe(ref)) as reader:
        raster = reader.read(Window(0, 0, 1, 3))
    assert raster.valid.tolist() == [[False, True, True]]
    np.testing.assert_array_equal(
        raster.pixels, np.array([[[0, 1000 * 0.0001 - 0.1, 65535 * 0.0001 - 0.1]]], np.float32)
    )


def test_scale_of_the_file_counts_where_the_catalog_lists_no_bands(folder: Path) -> None:
    href = write(folder / "tagged.tif", np.full((1, 2, 2), 50, np.uint8))
    with rasterio.open(href, "r+") as file:
        file.scales, file.offsets = (0.5,), (3.0,)
    with SceneReader(describe(scene(href))) as reader:
        assert (reader.read(Window(0, 0, 2, 2)).pixels == 28).all()


@given(st.data(), st.sampled_from([1, 2, 5]), st.integers(0, 99))
@settings(max_examples=20)
def test_a_mask_asset_counts_by_its_nearest_pixel(
    folder: Path, data: st.DataObject, factor: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    height, width = 10 * rng.integers(1, 5, 2)
    pixels = rng.integers(1, 255, (2, height, width)).astype(np.uint8)
    classes = rng.integers(0, 12, (1, height // factor, width // 5)).astype(np.uint8)
    grid = NORTH_UP @ Affine.scale(width / classes.shape[2], height / classes.shape[1])
    href = write(folder / "bands.tif", pixels)
    mask = MaskRef(write(folder / "scl.tif", classes, transform=grid), 1, (3, 8, 9))
    described = describe(scene(href, masks=(mask,)))
    rows = np.arange(height) * classes.shape[1] // height
    cols = np.arange(width) * classes.shape[2] // width
    valid = ~np.isin(classes[0], [3, 8, 9])[np.ix_(rows, cols)]
    window = data.draw(windows())
    with SceneReader(described) as reader:
        check(reader.read(window), pixels, valid, window)


def test_bands_are_chosen_by_name_or_number(folder: Path) -> None:
    pixels = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 3, 3), np.uint8)
    colors = [ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined]
    href = write(folder / "bgrn.tif", pixels, interpretation=colors)
    with rasterio.open(href, "r+") as file:
        file.set_band_description(4, "NIR")
    for bands, values in [
        (None, [0, 1, 2, 3]),
        (["red", "Green", "blue"], [2, 1, 0]),
        ([4, 1], [3, 0]),
        (["nir", "2"], [3, 1]),
        ([1, 1, 1], [0, 0, 0]),
    ]:
        with SceneReader(describe(scene(href), bands)) as reader:
            assert reader.read(Window(0, 0, 3, 3)).pixels[:, 0, 0].tolist() == values
    with pytest.raises(
        SceneError, match=r"scene s1: has no band 'swir'; it has 4 bands \(1 blue, 2 green, 3 red"
    ):
        describe(scene(href), ["red", "swir"])
    with pytest.raises(SceneError, match="no band 5; it has 4 bands"):
        describe(scene(href), [5])


def test_alpha_is_a_mask_unless_it_is_asked_for_or_has_another_name(folder: Path) -> None:
    pixels = np.stack([np.full((2, 2), 7), [[0, 9], [9, 9]]]).astype(np.uint8)
    href = write(folder / "alpha.tif", pixels, interpretation=[ColorInterp.gray, ColorInterp.alpha])
    window = Window(0, 0, 2, 2)
    with SceneReader(describe(scene(href))) as reader:
        assert reader.read(window).valid.tolist() == [[False, True], [True, True]]
    with SceneReader(describe(scene(href), [1, 2])) as reader:
        raster = reader.read(window)
        assert raster.valid.all()
        assert raster.pixels[1].tolist() == [[0, 9], [9, 9]]
    named = SceneRef("s1", (BandRef(href, 1, "red"), BandRef(href, 2, "nir")))
    assert [band.name for band in describe(named).bands] == ["red", "nir"]
    with SceneReader(describe(named, ["red"])) as reader:
        assert reader.read(window).valid.all()


def test_a_scene_says_what_it_is(folder: Path) -> None:
    href = write(folder / "a.tif", np.zeros((3, 4, 6), np.uint16), nodata=9)
    described = describe(scene(href))
    assert described.geobox.shape == (4, 6)
    assert described.geobox.crs == UTM
    assert described.dtype == "uint16"
    assert described.nodata == Nodata((9.0,) * 3, (False,) * 3)
    assert described.resolution.mean == pytest.approx(2, rel=1e-3)
    assert described.files == (href,)
    assert pickle.loads(pickle.dumps(described)) == described  # noqa: S301 - our own bytes
    assert describe(scene(href)).identity == described.identity
    assert describe(scene(href, nodata=3.0)).identity != described.identity
    summed = SceneRef("s1", (BandRef(href, 1, "red", checksum="1220ab"),))
    assert "1220ab" in describe(summed).identity


def test_a_reader_stays_where_it_is(folder: Path) -> None:
    href = write(folder / "r.tif", np.zeros((1, 4, 4), np.uint8))
    described = describe(scene(href))
    with SceneReader(described) as reader, pytest.raises(TypeError, match="send its scene"):
        pickle.dumps(reader)
    other = replace(described.geobox, crs="EPSG:32634")
    with pytest.raises(GridError, match="another CRS"):
        SceneReader(described, other)
    with pytest.raises(GridError, match="different ground"):
        SceneReader(described, described.geobox[Window(0, 0, 1, 1)])


def test_threads_may_share_a_reader(folder: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (3, 200, 200)).astype(np.uint8)
    described = describe(scene(write(folder / "t.tif", pixels, tiled=True, blockxsize=64, blockysize=64)))
    wrong: list[Window] = []

    def work(seed: int) -> None:
        corners = np.random.default_rng(seed).integers(0, 150, (20, 2))
        for row, col in corners.tolist():
            window = Window(row, col, 50, 50)
            if not np.array_equal(reader.read(window).pixels, pixels[(slice(None), *window.slices)]):
                wrong.append(window)

    with SceneReader(described) as reader:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_file_that_changes_during_a_run_is_refused(folder: Path) -> None:
    href = write(folder / "moving.tif", np.zeros((1, 8, 8), np.uint8))
    described = describe(scene(href))
    write(folder / "moving.tif", np.ones((1, 8, 8), np.uint8), compress="deflate")
    with SceneReader(described) as reader, pytest.raises(SceneError, match=r"moving\.tif has changed since"):
        reader.read(Window(0, 0, 8, 8))
    Path(href).unlink()
    with SceneReader(described) as reader, pytest.raises(SceneError, match=r"moving\.tif does not exist"):
        reader.read(Window(0, 0, 8, 8))


@pytest.mark.parametrize("compress", ["deflate", "lzw", "jpeg"])
def test_a_damaged_block_fails_every_window_that_needs_it(folder: Path, compress: str) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (3, 128, 128)).astype(np.uint8)
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64, "interleave": "pixel"}
    href = write(folder / f"{compress}.tif", pixels, compress=compress, **tiles)
    with rasterio.open(href) as file:
        start, size = (int(file.get_tag_item(f"BLOCK_{w}_1_1", "TIFF", 1)) for w in ("OFFSET", "SIZE"))
    content = bytearray(Path(href).read_bytes())
    content[start + size // 2 : start + size] = bytes(size - size // 2)
    Path(href).write_bytes(content)
    with SceneReader(describe(scene(href))) as reader:
        assert reader.read(Window(0, 0, 64, 64)).valid.all()
        for _ in range(2):
            with pytest.raises(
                SceneError, match=rf"{compress}\.tif is truncated or corrupt somewhere in rows 60"
            ):
                reader.read(Window(60, 60, 20, 20))
        assert reader.read(Window(0, 0, 64, 64)).valid.all()


@settings(max_examples=50)
@given(data=st.data())
def test_what_is_read_ahead_is_what_is_read(folder: Path, data: st.DataObject) -> None:
    """In any order, asked for or not, once or again, and after files were closed."""
    pixels = np.random.default_rng(3).integers(0, 9, (2, 47, 39)).astype(np.uint8)
    described = describe(scene(write(folder / "ahead.tif", pixels, nodata=0)))
    some = [Window(0, 0, 20, 20), Window(10, -5, 20, 20), Window(27, 19, 30, 30), Window(0, 0, 47, 39)]
    with SceneReader(described) as plain, SceneReader(described) as reader:
        for _ in range(data.draw(st.integers(1, 8))):
            match data.draw(st.sampled_from(["ahead", "read", "close"])):
                case "ahead":
                    reader.read_ahead(data.draw(st.lists(st.sampled_from(some), max_size=3)))
                case "close":
                    reader.close()
                case _:
                    window = data.draw(st.sampled_from(some))
                    found, wanted = reader.read(window), plain.read(window)
                    assert found.pixels.tobytes() == wanted.pixels.tobytes()
                    assert np.array_equal(found.valid, wanted.valid)


def test_what_cannot_be_read_ahead_is_told_who_asks_for_it(folder: Path) -> None:
    href = write(folder / "gone.tif", np.zeros((1, 40, 40), np.uint8))
    described = describe(scene(href))
    Path(href).unlink()
    window = Window(0, 0, 8, 8)
    with SceneReader(described) as reader:
        reader.read_ahead([window, Window(8, 8, 8, 8)])
        with pytest.raises(SceneError, match=r"^scene s1: .*gone\.tif does not exist"):
            reader.read(window)


def test_a_window_is_read_while_the_one_before_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = describe(scene(write(folder / "used.tif", np.ones((1, 40, 40), np.uint8))))
    first, second, third = (Window(10 * place, 0, 10, 40) for place in range(3))
    inside, done = SceneReader._inside, threading.Event()
    threads: dict[int, int] = {}

    def noted(self: SceneReader, window: Window) -> Any:
        threads[window.row] = threading.get_ident()
        if window == second:
            done.set()
        return inside(self, window)

    monkeypatch.setattr(SceneReader, "_inside", noted)
    with SceneReader(described) as reader:
        ahead = ReadAhead(reader, [first, second, third], 1)
        ahead.read(first)
        assert done.wait(60), "nobody has asked for it yet"
        assert third.row not in threads
        ahead.read(second)
        ahead.read(third)
    assert threads[first.row] == threading.get_ident()
    assert threads[second.row] == threads[third.row] != threads[first.row]


def test_the_kept_reader_stays_open_until_another_scene_or_its_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    plain = scene_reader.open_raster

    def counted(href: str, *args: Any, **options: Any) -> Any:
        opened.append(href)
        return plain(href, *args, **options)

    monkeypatch.setattr(scene_reader, "open_raster", counted)
    one, other = (write(folder / f"{name}.tif", np.ones((1, 9, 9), np.uint8)) for name in ("one", "other"))
    first, second = describe(scene(one)), describe(scene(other))

    def read(described: Scene, grid: GeoBox) -> None:
        kept_reader(pickle.loads(pickle.dumps(described)), grid).read(grid.window)  # noqa: S301 - our own

    for described, grid in (
        (first, first.geobox),
        (first, first.geobox),
        (first, first.geobox.zoom(3, 3)),
        (second, second.geobox),
        (first, first.geobox),
    ):
        read(described, grid)
    assert opened == [one, one, other, one]
    close_kept_reader()
    close_kept_reader()
    read(first, first.geobox)
    assert opened[4:] == [one]
    close_kept_reader()
