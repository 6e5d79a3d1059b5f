"""Laws of which band is which: names before color interpretation, and contradictions are refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import ColorInterp
from support.rasters import write_raster

from geoseg.arrays import Float32, UInt8
from geoseg.config.band_names import common_name, fits_wavelength, is_sensor_code, name_at, says_nothing
from geoseg.config.stac.refs import BandRef, SceneRef
from geoseg.config.workflow import Scenes
from geoseg.errors import SceneError
from geoseg.grid.window import Window
from geoseg.io.raster.data_array import in_model_order
from geoseg.io.raster.scene import Reading, Scene, describe
from geoseg.io.raster.scene_reader import SceneReader
from geoseg.io.stac.folder import make_catalog, open_catalog

RGB = ("red", "green", "blue")
INTERPRETATIONS = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
AROUND = Window(-3, -2, 40, 50)
CENTERS = {"red": 0.665, "green": 0.56, "blue": 0.49, "nir": 0.842}
PIXELS = {
    name: np.full((4, 6), value, np.uint8) for value, name in enumerate(("red", "green", "blue", "nir"), 1)
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bands")


def written(path: Path, order: Sequence[str], names: Sequence[str] = (), **options: Any) -> SceneRef:
    """A file of constant bands: red is 1, green 2, blue 3, near infrared 4."""
    write_raster(path, np.stack([PIXELS[name] for name in order]), names=names, **options)
    return SceneRef("s", (), href=str(path))


def values(scene: Scene) -> list[float]:
    with SceneReader(scene) as reader:
        raster = reader.read(Window(0, 0, 4, 6))
    assert raster.valid.all()
    return [float(band[0, 0]) for band in raster.pixels]


def tag(path: Path, domain: str | None, **per_band: Sequence[str]) -> None:
    with rasterio.open(path, "r+") as file:
        for key, texts in per_band.items():
            for band, text in enumerate(texts, 1):
                file.update_tags(band, ns=domain, **{key: text})


ORDERS = st.permutations(("red", "green", "blue", "nir"))


@given(
    order=ORDERS,
    how=st.sampled_from(["description", "catalog", "own", "micrometers", "nanometers", "center"]),
)
def test_any_order_of_named_bands_gives_the_same_pixels(folder: Path, order: list[str], how: str) -> None:
    """Whoever states the names, and whatever the file's color interpretation."""
    path, names = folder / "order.tif", [f"Band {n} ({name.upper()})" for n, name in enumerate(order, 1)]
    ref = written(
        path,
        order,
        names if how == "description" else (),
        interpretation=[*INTERPRETATIONS, ColorInterp.alpha],
    )
    if how == "micrometers":
        tag(path, "IMAGERY", CENTRAL_WAVELENGTH_UM=[str(CENTERS[name]) for name in order])
    if how == "nanometers":
        tag(path, None, wavelength=[str(CENTERS[name] * 1000) for name in order])
    if how in {"catalog", "own", "center"}:
        given = {"catalog": "common", "center": "wavelength"}.get(how)
        bands = [
            BandRef(str(path), i, f"b{i}", **{given: CENTERS[name] if how == "center" else name})
            if given
            else BandRef(str(path), i, name)
            for i, name in enumerate(order, 1)
        ]
        ref = SceneRef("s", tuple(bands))
    for wanted in (RGB, ("NIR", "red", "Green band")):
        scene = describe(ref, wanted)
        assert values(scene) == [float(PIXELS[common_name(name) or ""][0, 0]) for name in wanted]
    believed = order[:3] == list(RGB)
    assert bool(describe(ref, RGB).warnings) != believed


@given(
    order=st.permutations(RGB),
    place=st.integers(0, 2),
    name=st.sampled_from(["", "Band 1", "red", "green", "blue"]),
)
def test_a_name_that_is_missing_or_doubled_is_never_guessed(
    folder: Path, order: list[str], place: int, name: str
) -> None:
    """Refused with a value that fits, or read right: where the rest agrees with the color interpretation."""
    names = [*order]
    names[place] = name
    ref = written(folder / "one.tif", order, names, interpretation=INTERPRETATIONS)
    if names == order or (order == list(RGB) and not common_name(name)):
        assert values(describe(ref, RGB)) == [1, 2, 3]
        return
    with pytest.raises(SceneError, match=r"set scenes\.bands"):
        describe(ref, RGB)
    assert len(describe(ref, [1, 2, 3]).bands) == 3, "numbers are the user's choice"
    if not common_name(name):
        with pytest.raises(SceneError) as caught:
            describe(ref, RGB)
        fitting = json.loads(str(caught.value).rpartition("such as scenes.bands: ")[2])
        assert values(describe(ref, fitting)) == [1, 2, 3]


@given(order=st.permutations(RGB))
def test_the_catalog_of_a_folder_has_the_names_of_its_files(tmp_path_factory: Any, order: list[str]) -> None:
    folder = tmp_path_factory.mktemp("catalog")
    named = written(folder / "named.tif", order, order, interpretation=INTERPRETATIONS)
    (ref,) = make_catalog(folder, folder / "items.json").scenes
    assert [band.name for band in ref.bands] == order
    assert values(describe(ref, RGB)) == values(describe(named, RGB)) == [1, 2, 3]
    assert describe(ref, RGB).warnings[:1] == tuple(
        line.replace("the description in the file", "the catalog") for line in describe(named, RGB).warnings
    )


@pytest.mark.parametrize(
    ("names", "bands", "words"),
    [
        (
            ("blue", "green", "red"),
            {"name": RGB},
            r"band 1 as red by the catalog but blue by the desc.* \[1, 2, 3\] where.*\(bands 3, 2, 1",
        ),
        (("", "", ""), {"name": ("red", "red", "blue")}, r"has band 'red' 2 times"),
        (("", "", ""), {"common": ("red", "red", "blue")}, r"has band 'red' 2 times"),
        (("", "", ""), {"wavelength": (0.665, 0.66, 0.49)}, r"has band 'red' 2 times"),
        (
            ("red", "green", "blue"),
            {"wavelength": (490, 560, 665)},
            r"band 1 as blue by the catalog's wavelength of 0\.49 µm but red by the description in the file",
        ),
        (
            ("", "", ""),
            {"name": ("red", "green", "nir")},
            r"what is stated \(band 1 red, band 2 green, band 3 nir\) contradicts its color interpretation",
        ),
        (("red", "green", "nir"), {}, r"\(1 red, 2 green, 3 nir\), and what is stated"),
    ],
)
def test_contradictory_statements_are_refused_with_both(
    folder: Path, names: Sequence[str], bands: dict[str, Sequence[Any]], words: str
) -> None:
    path = folder / "both.tif"
    ref = written(path, RGB, names, interpretation=INTERPRETATIONS)
    said = [dict(zip(bands, row, strict=True)) for row in zip(*bands.values(), strict=True)]
    listed = tuple(
        BandRef(str(path), i, one.pop("name", f"b{i}"), **one) for i, one in enumerate(said, start=1)
    )
    with pytest.raises(SceneError, match=words) as caught:
        describe(SceneRef("s", listed, href=None if listed else ref.href), RGB)
    assert "set scenes.bands" in str(caught.value)
    by_number = describe(SceneRef("s", listed, href=None if listed else ref.href), [1, 2, 3])
    assert values(by_number) == [1, 2, 3]


def test_wavelengths_name_bands_only_where_every_band_has_one(folder: Path) -> None:
    path = folder / "partial.tif"
    ref = written(path, ("blue", "green", "red"), interpretation=INTERPRETATIONS)
    tag(path, None, wavelength=["490", "560"], wavelength_units=["Nanometers"] * 2)
    assert values(describe(ref, RGB)) == [3, 2, 1], "as the color interpretation says"
    tag(path, None, wavelength=["0.49", "560 nm", "665"], wavelength_units=["Micrometers", "", "nm"])
    scene = describe(ref, RGB)
    assert values(scene) == [1, 2, 3]
    (warning,) = scene.warnings
    assert "although the file's color interpretation is red, green, blue" in warning


def test_sensors_of_many_narrow_bands_need_numbers(folder: Path) -> None:
    path, centers = folder / "narrow.tif", np.arange(450, 700, 10)
    write_raster(path, np.zeros((len(centers), 4, 6), np.uint8))
    tag(path, None, wavelength=[f"{center} nm" for center in centers])
    with pytest.raises(SceneError, match=r"'red' 8 times; it has 25 bands .* \[22, 11, 4\]"):
        describe(SceneRef("s", (), href=str(path)), RGB)


def test_one_contradiction_takes_the_trust_in_a_whole_file(folder: Path) -> None:
    """Where a fourth band is described as red, the first can be no red, and green and blue are doubtful."""
    ref = written(
        folder / "fourth.tif",
        ("nir", "green", "blue", "red"),
        ["", "", "", "red"],
        interpretation=[*INTERPRETATIONS, ColorInterp.undefined],
    )
    assert values(describe(ref, ["red"])) == [1]
    with pytest.raises(SceneError, match=r"no band 'green'.*\(band 4 red\) contradicts"):
        describe(ref, ["green", "blue"])


def test_what_is_described_as_a_measurement_is_no_alpha(folder: Path) -> None:
    pixels = np.zeros((4, 4, 6), np.uint8)
    options: dict[str, Any] = {"interpretation": [*INTERPRETATIONS, ColorInterp.alpha]}
    for text, masked in [
        ("near infrared", False),
        ("DSM", False),
        ("", True),
        ("Band 4", True),
        ("mask", True),
    ]:
        href = str(write_raster(folder / "fourth.tif", pixels, names=["", "", "", text], **options))
        scene = describe(SceneRef("s", (), href=href), RGB)
        with SceneReader(scene) as reader:
            assert reader.read(Window(0, 0, 4, 6)).valid.any() != masked, text
        assert len(describe(SceneRef("s", (), href=href)).bands) == (3 if masked else 4)
        assert scene.warnings == ()
    href = str(write_raster(folder / "fourth.tif", pixels, names=["", "", "", "quality"], **options))
    (warning,) = describe(SceneRef("s", (), href=href), RGB).warnings
    assert "described as 'quality' but is alpha" in warning


@pytest.mark.parametrize(
    "name", ["alpha", "mask", "A", "opacity", "dataMask", "b4", "quality", "nir", "DSM", "NDWI", "B08"]
)
def test_alpha_masks_whatever_the_catalog_calls_it_but_a_measurement(folder: Path, name: str) -> None:
    masks = name not in {"nir", "DSM", "NDWI", "B08"}
    pixels = np.zeros((4, 4, 6), np.uint8)
    href = str(
        write_raster(folder / "rgba.tif", pixels, interpretation=[*INTERPRETATIONS, ColorInterp.alpha])
    )
    names = (*RGB, name.lower())
    ref = SceneRef("s", tuple(BandRef(href, i, text) for i, text in enumerate(names, 1)))
    scene = describe(ref, RGB)
    with SceneReader(scene) as reader:
        assert reader.read(Window(0, 0, 4, 6)).valid.any() != masks
    assert [band.name for band in describe(ref).bands] == list(RGB if masks else names)
    asked = describe(ref, [*RGB, name])
    assert len(asked.bands) == 4
    assert asked.alpha == ()
    said = "band 4 is called 'quality' by the catalog but is alpha by the file's color interpretation"
    assert [said in warning for warning in scene.warnings] == [True] * (name == "quality")


def test_codes_of_sensors_are_no_names(folder: Path) -> None:
    ref = written(folder / "codes.tif", RGB, ["B04", "B03", "B02"], interpretation=INTERPRETATIONS)
    scene = describe(ref, RGB)
    assert values(scene) == [1, 2, 3]
    assert "are called B04, B03, B02, which are no common names" in scene.warnings[0]
    assert describe(ref, ["b04", "b03", "b02"]).warnings == ()
    bare = written(folder / "bare.tif", RGB, ["B4", "B3", "B2"], interpretation=[ColorInterp.undefined] * 3)
    with pytest.raises(SceneError, match=r"no band 'red'; it has 3 bands \(1 b4, 2 b3, 3 b2\).*\[1, 2, 3\]"):
        describe(bare, RGB)


def by_fields(path: Path, **fields: Sequence[str]) -> SceneRef:
    """The file in a catalog whose ``bands`` have these fields."""
    bands = [dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)]
    return by_catalog(path, "bands", bands)


def by_catalog(path: Path, field: str, bands: Sequence[dict[str, Any]]) -> SceneRef:
    """The file in a catalog that lists these bands."""
    asset = {"href": path.name, "type": "image/tiff; application=geotiff", "roles": ["data"], field: bands}
    item = {"type": "Feature", "stac_version": "1.1.0", "id": "s", "geometry": None, "links": []}
    item |= {"properties": {"datetime": "2024-06-01T10:00:00Z"}, "assets": {"image": asset}}
    catalog = path.with_suffix(".json")
    catalog.write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    return open_catalog(catalog).scenes[0]


UNDERSTOOD = [("blue_median", "green_median", "red_median"), ("S2_blue", "S2_green", "S2_red")]
NOT_UNDERSTOOD = [
    ("Blau", "Grün", "Rot"),
    ("B02", "B03", "B04"),
    ("B2_median", "B3_median", "B4_median"),
    ("490 nm", "560 nm", "665 nm"),
    ("Blue of the drone", "Green of the drone", "Red of the drone"),
    ("", "", "haze"),
]


@pytest.mark.parametrize("names", [*UNDERSTOOD, *NOT_UNDERSTOOD])
@pytest.mark.parametrize("how", ["file", "folder", "made", "name", "description", "both"])
def test_names_are_understood_or_doubted_wherever_they_are_stated(
    tmp_path: Path, names: Sequence[str], how: str
) -> None:
    """Where GDAL's default, red, green and blue, decides against names, this is said."""
    path, of_file = tmp_path / "s.tif", how in ("file", "folder", "made")
    ref = written(path, ("blue", "green", "red"), names if of_file else (), interpretation=INTERPRETATIONS)
    if how == "folder":
        (ref,) = open_catalog(tmp_path).scenes
    elif how == "made":
        (ref,) = make_catalog(tmp_path, tmp_path / "items.json").scenes
        assert "eo:common_name" not in (tmp_path / "items.json").read_text() or names in UNDERSTOOD
    elif not of_file:
        given = [name or f"b{i}" for i, name in enumerate(names, 1)]
        plain = [f"x{i}" for i in range(1, 4)]
        fields = {"name": {"name": given}, "description": {"description": given}}
        ref = by_fields(path, **fields.get(how, {"name": plain, "description": given}))
    scene = describe(ref, RGB)
    if names in UNDERSTOOD:
        assert values(scene) == [1, 2, 3]
        assert "although the file's color interpretation" in scene.warnings[0]
    else:
        assert values(scene) == [3, 2, 1]
        assert "no common name" in scene.warnings[0]
        assert names[2].lower() in scene.warnings[0].lower()
    assert values(describe(ref, [3, 2, 1])) == [1, 2, 3]
    assert describe(ref, [3, 2, 1]).warnings == ()


def test_the_advice_on_a_contradiction_differs_by_who_is_right(folder: Path) -> None:
    """It gives numbers for either statement, once where they are the same."""
    path = folder / "three.tif"
    written(path, RGB, ("blue", "green", "red"), interpretation=INTERPRETATIONS)
    tag(path, None, wavelength=["665", "560", "490"], wavelength_units=["Nanometers"] * 3)
    named = SceneRef("s", tuple(BandRef(str(path), i, name) for i, name in enumerate(RGB, 1)))
    with pytest.raises(SceneError, match=r"\[1, 2, 3\] where the catalog is right \(bands 3, 2, 1 where"):
        describe(named, RGB)
    written(path, ["red"], ["blue"])
    one = SceneRef("s", (BandRef(str(path), 1, "red"),))
    with pytest.raises(SceneError, match=r"red by the catalog but blue by .*: set .*: \[1, 1, 1\]$"):
        describe(one, RGB)


def test_two_names_of_a_catalog_may_not_contradict_each_other(tmp_path: Path) -> None:
    """Its common names, its own and its descriptions; a family's names agree."""
    written(tmp_path / "s.tif", RGB, interpretation=INTERPRETATIONS)
    common = {"eo:common_name": RGB}
    for other in ({"name": ("blue", "green", "red")}, {"description": ("Blue", "Green", "Red")}):
        ref = by_fields(tmp_path / "s.tif", **common, **other)
        with pytest.raises(
            SceneError, match=r"band 1 as red by the catalog but blue by the catalog's '[Bb]lue'"
        ):
            describe(ref, RGB)
    ref = by_fields(tmp_path / "s.tif", **common, name=("B-4", "green_i", "B02"), description=("", "x", "y"))
    assert describe(ref, RGB).warnings == ()


def test_a_default_of_gdal_is_no_statement_of_a_catalog(tmp_path: Path) -> None:
    """An image without names: its catalog states none, and its map is the same."""
    ref = written(tmp_path / "s.tif", RGB, interpretation=INTERPRETATIONS)
    (made,) = make_catalog(tmp_path, tmp_path / "items.json").scenes
    assert [band.name for band in made.bands] == ["b1", "b2", "b3"]
    one, other = describe(ref, RGB), describe(made, RGB)
    assert [band.name for band in other.bands] == [band.name for band in one.bands] == list(RGB)
    assert values(other) == values(one) == [1, 2, 3]
    assert one.warnings == other.warnings == ()


def test_a_catalogs_own_names_stay_next_to_what_the_file_says(folder: Path) -> None:
    """Files per band whose assets are b1, b2, b3: by the catalog's names, and by the files' descriptions."""
    order = ("blue", "green", "red")
    refs = [written(folder / f"b{i}.tif", [name], [name]) for i, name in enumerate(order, 1)]
    ref = SceneRef("s", tuple(BandRef(one.href or "", 1, f"b{i}") for i, one in enumerate(refs, 1)))
    for wanted in (["b3", "b2", "b1"], RGB, [3, 2, 1]):
        assert values(describe(ref, wanted)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("names", "numbers", "doubted"),
    [
        (("blue", "green", "red"), [1, 2, 3], True),
        (("blue", "green", "red"), [3, 2, 1], False),
        (("nir", "swir16", "red"), [1, 2, 3], True),
        (("nir", "green", "blue"), [1, 2, 3], False),
        (("blue", "green", ""), [1, 2, 3], False),
        (("blue", "green", "red"), [1, 1, 1], False),
    ],
)
def test_numbers_are_the_users_choice(
    folder: Path, names: Sequence[str], numbers: list[int], *, doubted: bool
) -> None:
    ref = written(folder / "numbers.tif", RGB, names, interpretation=INTERPRETATIONS)
    scene = Reading.of(Scenes.model_validate({"bands": numbers}), RGB).describe(ref)
    assert values(scene) == numbers
    assert bool(scene.warnings) == doubted


def test_a_gray_image_serves_a_model_of_colors(folder: Path) -> None:
    ref = written(folder / "gray.tif", ["green"])
    with pytest.raises(SceneError, match=r"one band .* red, green, blue .* gray, .*\[1, 1, 1\]"):
        Reading.of(Scenes(), RGB).describe(ref)
    scene = Reading.of(Scenes.model_validate({"bands": [1, 1, 1]}), RGB).describe(ref)
    assert values(scene) == [2, 2, 2]


@pytest.mark.parametrize("field", ["raster:bands", "eo:bands", "bands"])
@pytest.mark.parametrize("said", [{"nodata": 0}, {"name": "red"}, {"name": "red", "eo:common_name": "red"}])
def test_a_catalog_that_lists_too_few_bands_is_refused_with_its_field(
    tmp_path: Path, field: str, said: dict[str, Any]
) -> None:
    """It never makes a gray image of a file of colors; alpha need not be listed."""
    written(tmp_path / "s.tif", (*RGB, "nir"), interpretation=[*INTERPRETATIONS, ColorInterp.alpha])
    for wanted in (RGB, [1, 2, 3]):
        ref = by_catalog(tmp_path / "s.tif", field, [said])
        with pytest.raises(
            SceneError, match=rf"the catalog lists 1 of the 4 bands of .* in {field}; "
        ) as caught:
            describe(ref, wanted)
        assert "gray" not in str(caught.value)
        assert values(describe(ref, [1, 1, 1])) == [1, 1, 1]
    assert values(describe(by_catalog(tmp_path / "s.tif", field, [{}] * 3), RGB)) == [1, 2, 3]
    write_raster(
        tmp_path / "g.tif",
        np.stack([PIXELS["green"]] * 2),
        interpretation=[ColorInterp.gray, ColorInterp.alpha],
    )
    with pytest.raises(SceneError, match=r"to read it as gray"):
        describe(by_catalog(tmp_path / "g.tif", field, [said]), RGB)


def palette(path: Path, image: UInt8, dtype: str = "uint8", **options: Any) -> tuple[str, UInt8]:
    """An image of few colors as indices into a color table, and the indices."""
    colors, indices = np.unique(image.reshape(3, -1).T, axis=0, return_inverse=True)
    table = {i: (*map(int, color), 255) for i, color in enumerate(colors)}
    stored = indices.reshape(image.shape[1:]).astype(dtype)
    return str(write_raster(path, stored, colors=table, **options)), stored


def read(href: str, wanted: Sequence[str | int] = RGB, window: Window = AROUND) -> tuple[Float32, Any]:
    with SceneReader(describe(SceneRef("s", (), href=href), wanted)) as reader:
        raster = reader.read(window)
    return raster.pixels, raster.valid


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_color_table_is_read_as_the_image_of_its_colors(folder: Path, dtype: str) -> None:
    image = (np.random.default_rng(5).integers(0, 5, (3, 24, 30)) * 51).astype(np.uint8)
    href, indices = palette(folder / "table.tif", image, dtype)
    plain = str(write_raster(folder / "plain.tif", image))
    for wanted in (RGB, ("blue", "R", "green")):
        for one, other in zip(read(href, wanted), read(plain, wanted), strict=True):
            np.testing.assert_array_equal(one, other)
    assert describe(SceneRef("s", (), href=href), RGB).value_dtype == "uint8"
    hole = int(indices[5, 6])
    href, _ = palette(folder / "hole.tif", image, dtype, nodata=hole)
    np.testing.assert_array_equal(read(href, window=Window(0, 0, 24, 30))[1], indices != hole)
    href, _ = palette(folder / "scaled.tif", image, dtype, scale=0.5)
    for one, other in zip(read(href), read(plain), strict=True):
        np.testing.assert_array_equal(one, other)
    for wanted in ([1, 1, 1], ["nir"]):
        with pytest.raises(SceneError, match=r"palette indices|no band 'nir'"):
            describe(SceneRef("s", (), href=href), wanted)


def array_of(order: Sequence[str], **options: Any) -> xr.DataArray:
    """An array of constant bands, as :func:`written`."""
    pixels = np.stack([PIXELS[name] for name in order])
    return xr.DataArray(pixels, dims=("band", "y", "x"), **options)


def firsts(array: xr.DataArray, needed: Sequence[str] = RGB) -> list[int]:
    return [int(value) for value in in_model_order(array, needed)[0][:, 0, 0]]


NAMINGS = {
    "coordinate": lambda order: {"coords": {"band": list(order)}},
    "spelled": lambda order: {"coords": {"band": [f"{name.title()} band" for name in order]}},
    "common_name": lambda order: {
        "coords": {"band": [f"X{n}" for n in order], "common_name": ("band", order)}
    },
    "long_name": lambda order: {"coords": {"band": [1, 2, 3, 4]}, "attrs": {"long_name": tuple(order)}},
    "wavelength": lambda order: {
        "coords": {"wavelength": ("band", [1000 * CENTERS[name] for name in order])}
    },
}


@given(order=ORDERS, how=st.sampled_from(sorted(NAMINGS)), moved=st.permutations(range(4)))
def test_named_bands_of_an_array_are_found_in_any_order(order: list[str], how: str, moved: list[int]) -> None:
    """As they are, and after the array's bands were moved: ``long_name`` stays, but numbers lead to it."""
    array = array_of(order, **NAMINGS[how](order))
    for one in (array, array.isel(band=moved)):
        assert firsts(one) == [1, 2, 3]
        assert firsts(one, ("nir", "R")) == [4, 1]


def test_what_lists_a_value_per_band_moves_with_the_bands() -> None:
    attrs = {"scales": (0.3, 0.2, 0.1), "offsets": (3.0, 2.0, 1.0), "_FillValue": 0}
    named = array_of(("blue", "green", "red"), coords={"band": ["blue", "green", "red"]}, attrs=attrs)
    moved, _ = in_model_order(named, RGB)
    assert moved.attrs == {"scales": (0.1, 0.2, 0.3), "offsets": (1.0, 2.0, 3.0), "_FillValue": 0}
    assert named.attrs == attrs


@given(order=st.permutations(RGB), place=st.integers(0, 2), name=st.sampled_from(["", "Band 1", *RGB]))
def test_a_missing_or_doubled_name_of_an_array_is_never_guessed(
    order: list[str], place: int, name: str
) -> None:
    names = [*order]
    names[place] = name
    array = array_of(order, coords={"band": names})
    if names == order or (order == list(RGB) and not common_name(name)):
        assert firsts(array) == [1, 2, 3]
        return
    with pytest.raises(SceneError, match=r"name every band with array\.assign_coords\(band="):
        in_model_order(array, RGB)


def test_an_array_without_names_is_in_the_models_order() -> None:
    order = ("blue", "green", "red")
    for coords in ({}, {"band": [1, 2, 3]}, {"band": ["Band 1", "b2", "3"]}, {"band": [665, 560, 490]}):
        array = array_of(order, coords=coords)
        assert in_model_order(array, RGB) == (array, ())
    array = array_of(order, coords={"band": ["B02", "B03", "B04"]})
    assert firsts(array) == [3, 2, 1]
    assert "B02, B03, B04, which are no common names" in in_model_order(array, RGB)[1][0]
    with pytest.raises(SceneError, match="no band 'blue'"):
        in_model_order(array_of(order, coords={"band": ["nir", "red", "green"]}), RGB)
    both = array_of(order, coords={"band": list(order)}, attrs={"long_name": RGB})
    with pytest.raises(SceneError, match=r"as blue by the coordinate 'band' but red by long_name"):
        in_model_order(both, RGB)


def test_transparent_colors_of_a_table_are_no_data(folder: Path) -> None:
    """TIFF's color tables have no alpha; those of other formats do."""
    table = "".join(f'<Entry c1="{9 * i}" c2="7" c3="8" c4="{255 * (i != 1)}" />' for i in range(2))
    write_raster(folder / "indices.tif", (np.arange(24) % 3).reshape(4, 6).astype(np.uint8))
    text = (
        '<VRTDataset rasterXSize="6" rasterYSize="4"><SRS>EPSG:26914</SRS>'
        "<GeoTransform>621000, 0.3, 0, 3350000, 0, -0.3</GeoTransform>"
        '<VRTRasterBand dataType="Byte" band="1"><ColorInterp>Palette</ColorInterp>'
        f"<ColorTable>{table}</ColorTable><SimpleSource>"
        '<SourceFilename relativeToVRT="1">indices.tif</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    (folder / "clear.vrt").write_text(text)
    scene = describe(SceneRef("s", (), href=str(folder / "clear.vrt"), trust="local"), RGB)
    with SceneReader(scene) as reader:
        raster = reader.read(Window(0, 0, 4, 6))
    expected = (np.arange(24) % 3 == 0).reshape(4, 6)
    np.testing.assert_array_equal(raster.valid, expected)
    assert (raster.pixels[:, expected] == [[0], [7], [8]]).all()


@pytest.mark.parametrize(
    ("text", "name"),
    {
        "Band 4 (Red)": "red",
        "R": "red",
        "red_665nm": "red",
        "vis-red": "red",
        "red (R)": "red",
        "RedEdge": "rededge",
        "Near-Infrared": "nir",
        "NIR": "nir",
        "nir08": "nir08",
        "green_i": "green05",
        "Coastal Aerosol": "coastal",
        "pan": "pan",
        "blue_median": "blue",
        "S2_blue": "blue",
        "sentinel-2 green p50": "green",
        "Visible red": "red",
        "red_std": None,
        "median": None,
        "B04": None,
        "B 04": None,
        "B_4_median": None,
        "orthophoto": None,
        "red green": None,
        "infrared": None,
        "": None,
        "Rot": None,
    }.items(),
)
def test_common_names_have_many_spellings(text: str, name: str | None) -> None:
    assert common_name(text) == name


def test_what_says_nothing_is_a_number_of_its_own_place() -> None:
    assert all(says_nothing(text, 3) for text in ("", "Band 3", "b3", "layer_3", "03", "gray", "Channel 3"))
    assert not any(says_nothing(text, 1) for text in ("Band 3", "B04", "red", "haze"))
    assert not any(says_nothing(text, 1) for text in ("median", "S2", "B2_median", "Band 4 (665 nm)"))
    assert is_sensor_code("sr_b4", 1)


@given(center=st.floats(0.3, 13))
def test_the_name_of_a_wavelength_fits_it(center: float) -> None:
    name = name_at(center)
    assert name is None or fits_wavelength(name, center)
