"""Which pixels have no data: nodata values by type, masks and what a scene says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.enums import ColorInterp
from support.rasters import write_raster

from geoseg.config.stac.item import scene_of
from geoseg.config.stac.refs import BandRef, MaskRef, NodataRule, SceneRef
from geoseg.config.training.data import DataEntry
from geoseg.config.workflow import Scenes
from geoseg.errors import SceneError
from geoseg.grid.geobox import GeoBox
from geoseg.io.raster.reader import ArrayReader
from geoseg.io.raster.scene import Reading, Scene, describe
from geoseg.io.raster.scene_reader import SceneReader, without_data
from geoseg.io.raster.score_raster import ScoreReader, describe_scores
from geoseg.io.raster.validity import Nodata

UTM = "EPSG:32633"
PLACE = Affine(2, 0, 500000, 0, -2, 5000000)
FLOAT_FILL = -3.4028234663852886e38


def valid(scene: Scene) -> list[list[bool]]:
    """Where a scene's pixels have data."""
    with SceneReader(scene) as reader:
        answer: list[list[bool]] = reader.read(scene.geobox.window).valid.tolist()
        return answer


RULE: list[tuple[str, float | None, NodataRule, str, list[int]]] = [
    # type, nodata, rule as set, rule that holds, valid pixels of [all hold it, one holds it, none does]
    ("uint8", 0, "auto", "all", [0, 1, 1]),
    ("uint8", 255, "auto", "all", [0, 1, 1]),
    ("uint8", 0, "any", "any", [0, 0, 1]),
    ("int8", 0, "auto", "all", [0, 1, 1]),
    ("int8", -128, "auto", "any", [0, 0, 1]),
    ("uint16", 0, "auto", "any", [0, 0, 1]),
    ("uint16", 65535, "auto", "any", [0, 0, 1]),
    ("uint16", 0, "all", "all", [0, 1, 1]),
    ("int16", -9999, "auto", "any", [0, 0, 1]),
    ("int16", -32768, "auto", "any", [0, 0, 1]),
    ("int16", -9999, "all", "all", [0, 1, 1]),
    ("uint32", 0, "auto", "any", [0, 0, 1]),
    ("float32", 0, "auto", "any", [0, 0, 1]),
    ("float32", -9999, "auto", "any", [0, 0, 1]),
    ("float32", FLOAT_FILL, "auto", "any", [0, 0, 1]),
    ("float64", -9999.5, "auto", "any", [0, 0, 1]),
    ("float32", 0, "all", "all", [0, 1, 1]),
    ("uint8", None, "auto", "none", [1, 1, 1]),
    ("uint8", -9999, "auto", "none", [1, 1, 1]),
    ("int16", 0.5, "any", "none", [1, 1, 1]),
]


@pytest.mark.parametrize("case", RULE, ids=lambda case: " ".join(map(str, case[:3])))
def test_one_rule_for_stacks_files_per_band_and_arrays(
    tmp_path: Path, case: tuple[str, float | None, NodataRule, str, list[int]]
) -> None:
    dtype, nodata, rule, holds, expected = case
    pixels = np.full((3, 1, 3), 7, dtype)
    if holds != "none":
        pixels[:, 0, 0] = nodata
        pixels[1, 0, 1] = nodata
    stack = write_raster(tmp_path / "stack.tif", pixels, crs=UTM, transform=PLACE)
    files = [
        write_raster(tmp_path / f"{number}.tif", band, crs=UTM, transform=PLACE)
        for number, band in enumerate(pixels)
    ]
    bands = tuple(BandRef(str(file), 1, file.stem) for file in files)
    for ref in (
        SceneRef("stack", (), str(stack), nodata=nodata, nodata_rule=rule),
        SceneRef("files", bands, nodata=nodata, nodata_rule=rule),
    ):
        scene = describe(ref)
        assert scene.nodata.rule == holds
        assert valid(scene) == [[bool(one) for one in expected]]
    box = GeoBox(1, 3, PLACE, UTM)
    array = ArrayReader(pixels, box, nodata=Nodata.of([dtype] * 3, [nodata] * 3, rule))
    assert array.read(box.window).valid.tolist() == [[bool(one) for one in expected]]


def test_nan_and_infinity_in_one_band_are_invalid_under_every_rule(tmp_path: Path) -> None:
    pixels = np.ones((3, 1, 4), np.float32)
    pixels[1, 0, :3] = [np.nan, np.inf, -np.inf]
    href = str(write_raster(tmp_path / "f.tif", pixels, crs=UTM, transform=PLACE, nodata=-9999))
    rules: tuple[NodataRule, ...] = ("auto", "any", "all")
    for rule in rules:
        assert valid(describe(SceneRef("s", (), href, nodata_rule=rule))) == [[False, False, False, True]]


def test_a_fill_that_its_header_rounds_is_found_all_the_same(tmp_path: Path) -> None:
    pixels = np.array([[[FLOAT_FILL, 1, -1e30]]], np.float32)
    href = str(write_raster(tmp_path / "f.tif", pixels, crs=UTM, transform=PLACE))
    assert valid(describe(SceneRef("s", (), href, nodata=-3.40282e38))) == [[False, True, True]]


def test_a_band_that_is_not_read_makes_nothing_invalid(tmp_path: Path) -> None:
    pixels = np.array([[[5, 5]], [[0, 5]]], np.uint16)
    href = str(write_raster(tmp_path / "two.tif", pixels, crs=UTM, transform=PLACE, nodata=0))
    assert valid(describe(SceneRef("s", (), href), [1])) == [[True, True]]
    assert valid(describe(SceneRef("s", (), href), [1, 2])) == [[False, True]]


def test_bands_may_differ_in_type_and_nodata(tmp_path: Path) -> None:
    def band(name: str, values: list[int], **options: Any) -> BandRef:
        pixels = np.array([values], options.pop("dtype"))
        path = write_raster(tmp_path / f"{name}.tif", pixels, crs=UTM, transform=PLACE, **options)
        return BandRef(str(path), 1, name)

    red = band("red", [0, 0, 9, 9], dtype="uint8", nodata=0)
    green = band("green", [255, 9, 255, 9], dtype="uint8", nodata=255)
    nir = band("nir", [5, 5, 5, -1], dtype="int16", nodata=-1)
    assert valid(describe(SceneRef("s", (red, green)))) == [[False, True, True, True]]
    mixed = describe(SceneRef("s", (red, green, nir)))
    assert mixed.nodata.rule == "mixed"
    assert valid(mixed) == [[False, True, True, False]]
    assert mixed.warnings == ()


@pytest.mark.parametrize("tag", [None, 9])
def test_what_the_catalog_states_of_a_file_whose_bands_it_does_not_list_counts_for_all(
    tmp_path: Path, tag: int | None
) -> None:
    pixels = np.array([[[5, 0, 7]], [[5, 6, 7]], [[5, 6, 9]]], np.uint16)
    href = str(write_raster(tmp_path / "image.tif", pixels, nodata=tag, crs=UTM, transform=PLACE))
    fields = {"nodata": 0, "raster:scale": 0.5, "raster:offset": 1}
    asset = {"href": href, "type": "image/tiff", "roles": ["data"], **fields}
    scene = describe(scene_of("s", {}, {"image": asset}, lambda _, path: path, "catalog"))
    assert scene.nodata.values == (0.0,) * 3
    with SceneReader(scene) as reader:
        raster = reader.read(scene.geobox.window)
    assert raster.valid.tolist() == [[True, False, True]]
    assert raster.pixels[:, 0, 2].tolist() == [4.5, 4.5, 5.5]
    assert ["the catalog declares nodata 0 for" in text for text in scene.warnings] == [True] * bool(tag)


@pytest.mark.parametrize("stored", ["north-up", "mirrored"])
def test_bands_of_one_file_may_differ_in_type_and_nodata(tmp_path: Path, stored: str) -> None:
    """A VRT's bands need not have one type; -999.9 of float32 is another number in float64."""
    bands = {
        "float32": ([-999.9, 5, 5, 5], -999.9),
        "int32": ([7, -1, 7, 7], -1),
        "uint8": ([0, 9, 0, 9], None),
    }
    place, order = PLACE, slice(None)
    if stored == "mirrored":
        place, order = PLACE @ Affine(-1, 0, 4, 0, 1, 0), slice(None, None, -1)
    parts = []
    for number, (dtype, (values, nodata)) in enumerate(bands.items(), 1):
        pixels = np.array([values[order]], dtype)
        write_raster(tmp_path / f"{dtype}.tif", pixels, crs=UTM, transform=place, nodata=nodata)
        said = "" if nodata is None else f"<NoDataValue>{nodata}</NoDataValue>"
        kind = {"float32": "Float32", "int32": "Int32", "uint8": "Byte"}[dtype]
        source = f'<SourceFilename relativeToVRT="1">{dtype}.tif</SourceFilename><SourceBand>1</SourceBand>'
        parts.append(
            f'<VRTRasterBand dataType="{kind}" band="{number}">{said}<SimpleSource>{source}</SimpleSource>'
            "</VRTRasterBand>"
        )
    grid = ", ".join(map(str, place.to_gdal()))
    (tmp_path / "a.vrt").write_text(
        f'<VRTDataset rasterXSize="4" rasterYSize="1"><SRS>{UTM}</SRS><GeoTransform>{grid}</GeoTransform>'
        f"{''.join(parts)}</VRTDataset>"
    )
    scene = describe(SceneRef("s", (), str(tmp_path / "a.vrt"), trust="local"))
    assert valid(scene) == [[False, False, True, True]]
    with SceneReader(scene) as reader:
        assert reader.read(scene.geobox.window).pixels[:, 0, 2:].tolist() == [[5, 5], [7, 7], [0, 9]]


def test_nodata_that_contradicts_itself_is_a_warning_that_names_the_key(tmp_path: Path) -> None:
    byte = np.array([[0, 9]], np.uint8)
    black = str(write_raster(tmp_path / "black.tif", byte, crs=UTM, transform=PLACE, nodata=0))
    plain = str(write_raster(tmp_path / "plain.tif", byte, crs=UTM, transform=PLACE))
    half = describe(SceneRef("s", (BandRef(black, 1, "red"), BandRef(plain, 1, "green"))))
    assert valid(half) == [[True, True]]
    (warning,) = half.warnings
    assert "declared as 0 in red but not in green" in warning
    assert "scenes.nodata" in warning
    (warning,) = describe(SceneRef("s", (), plain, nodata=-9999)).warnings
    assert "-9999, a value that the type of b1 cannot hold" in warning
    assert "set scenes.nodata to" in warning
    assert describe(SceneRef("s", (), black)).warnings == ()
    stated = BandRef(black, 1, "red", nodata=9)
    (warning,) = describe(SceneRef("s", (stated,))).warnings
    assert "the catalog declares nodata 9 for red but the file 0" in warning
    assert "scenes.nodata" in warning
    assert describe(SceneRef("s", (stated,), nodata=9)).warnings == ()


def test_the_rule_is_a_part_of_what_a_scene_is(tmp_path: Path) -> None:
    href = str(write_raster(tmp_path / "a.tif", np.zeros((2, 1, 2), np.uint8), crs=UTM, transform=PLACE))
    rules: tuple[NodataRule, ...] = ("auto", "any", "all")
    assert (
        len({describe(SceneRef("s", (), href, nodata=0, nodata_rule=rule)).identity for rule in rules}) == 3
    )
    own = [BandRef(href, 1, "a", nodata=value) for value in (None, 0.0, 9.0)]
    assert len({describe(SceneRef("s", (band,))).identity for band in own}) == 3


def test_a_scene_without_data_is_refused_with_what_made_it_so(tmp_path: Path) -> None:
    pixels = np.full((2, 300, 300), 7, np.uint16)
    image = str(write_raster(tmp_path / "image.tif", pixels, crs=UTM, transform=PLACE))
    good = write_raster(tmp_path / "good.tif", np.ones((300, 300), np.uint8), crs=UTM, transform=PLACE)
    nan = str(
        write_raster(tmp_path / "nan.tif", np.full((4, 4), np.nan, np.float32), crs=UTM, transform=PLACE)
    )
    for ref, words in (
        (SceneRef("s", (), image, nodata=7), r"all hold nodata 7 \(rule any\); .* scenes.nodata or"),
        (
            SceneRef("s", (), image, masks=(MaskRef(str(good), 1, (1,)),)),
            "good.tif calls all of them invalid",
        ),
        (SceneRef("s", (), image, nodata=7, masks=(MaskRef(str(good), 1, (1,)),)), "all hold nodata 7"),
        (SceneRef("s", (), nan), "NaN"),
    ):
        scene = describe(ref)
        assert not np.any(valid(scene))
        with pytest.raises(SceneError, match=f"^0 % of its pixels are valid: .*{words}"):
            raise without_data(scene)


def test_all_that_a_file_says_of_its_validity_counts_at_once(tmp_path: Path) -> None:
    pixels = np.array([[[0, 9, 9, 0]]] * 3, np.uint8)
    inside = np.array([[True, False, True, False]])
    masked = write_raster(tmp_path / "m.tif", pixels, crs=UTM, transform=PLACE, nodata=0, mask=inside)
    alpha = np.concatenate([pixels, np.where(inside, 255, 0).astype(np.uint8)[None]])
    colors = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    place = {"crs": UTM, "transform": PLACE, "nodata": 0}
    rgba = write_raster(tmp_path / "a.tif", alpha, interpretation=colors, photometric="rgb", **place)
    for path in (masked, rgba):
        assert valid(describe(SceneRef("s", (), str(path)))) == [[False, False, True, False]]


@pytest.mark.parametrize(
    ("dtype", "bits", "largest"), [("uint8", 8, 255), ("uint16", 12, 4095), ("uint8", 4, 15)]
)
def test_an_image_whose_zero_is_white_is_inverted(
    tmp_path: Path, dtype: str, bits: int, largest: int
) -> None:
    pixels = np.array([[0, 1, largest, largest - 1]], dtype)
    path = tmp_path / "white.tif"
    href = str(
        write_raster(path, pixels, crs=UTM, transform=PLACE, nodata=0, photometric="miniswhite", nbits=bits)
    )
    scene = describe(SceneRef("s", (), href))
    assert "white.tif (photometric MINISWHITE): it is inverted" in scene.warnings[0]
    with SceneReader(scene) as reader:
        raster = reader.read(scene.geobox.window)
    assert raster.valid.tolist() == (pixels != 0).tolist()
    assert raster.pixels[0].tolist() == np.where(pixels != 0, largest - pixels.astype(int), 0).tolist()
    with ScoreReader(describe_scores(path), 1 << 20) as scores:  # ids are ids, whatever color they have
        assert scores.found_ids().tolist() == np.unique(pixels[pixels != 0]).tolist()


def test_an_image_whose_zero_is_white_and_that_has_no_black_is_refused(tmp_path: Path) -> None:
    pixels = np.ones((4, 4), np.float32)
    path = write_raster(tmp_path / "f.tif", pixels, crs=UTM, transform=PLACE, photometric="miniswhite")
    with pytest.raises(SceneError, match=r"0 white .* holds float32, which has no black: invert it"):
        describe(SceneRef("s", (), str(path)))


def test_a_workflow_and_a_training_have_scenes_read_by_the_same_keys() -> None:
    given: dict[str, Any] = {"nodata": 0.0, "nodata_rule": "any", "snow": "invalid", "collar": "auto"}
    source = {"name": "x", "attribution": "x", "license": "CC0-1.0"}
    entry = {"catalog": "c.json", "asset": "labels", "source": source}
    for options in ({}, given):
        scenes, data = Scenes(**options), DataEntry(**entry, **options)
        assert Reading.of(scenes, ["red"]) == Reading.of(data, ["red"])
        assert all(getattr(Reading.of(scenes, ["red"]), key) == value for key, value in options.items())


def test_zero_is_a_probability_in_whatever_type_and_minus_9999_is_none() -> None:
    steps = [(1e-4, 0.0)] * 2
    assert Nodata.of_scores(["uint16"] * 2, [0.0, 0.0], steps).joint == (True, True)
    assert Nodata.of_scores(["float32"] * 2, [0.0, 1.0], [(1.0, 0.0)] * 2).joint == (True, True)
    assert Nodata.of_scores(["float32"] * 2, [-9999.0, None], [(1.0, 0.0)] * 2).joint == (False, True)
    assert Nodata.of_scores(["uint8"] * 2, [255.0, 255.0], [(1 / 200, 0.0)] * 2).joint == (False, False)
