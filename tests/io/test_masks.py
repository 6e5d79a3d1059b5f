"""Masks of a catalog: published classes and bits of quality bands, and ``geoseg:invalid``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from support.rasters import write_raster

from geoseg.config.stac.item import scene_of
from geoseg.config.stac.refs import MaskBits, MaskRef, SceneRef
from geoseg.errors import CatalogError, SceneError
from geoseg.io.raster.scene import Reading, describe
from geoseg.io.raster.scene_reader import SceneReader
from geoseg.io.raster.validity import unusable

PLACE = Affine(30, 0, 500000, 0, -30, 5000000)
UTM = "EPSG:32633"


def flag(offset: int, name: str, *classes: str, length: int = 1) -> dict[str, Any]:
    """A field of bits as a catalog publishes it; its classes are numbered from 0."""
    listed = [{"value": value, "name": text, "description": text} for value, text in enumerate(classes)]
    return {"name": name, "offset": offset, "length": length, "classes": listed}


LEVELS = ("not_set", "low", "medium", "high")
QA_PIXEL: dict[str, Any] = {
    "href": "QA_PIXEL.tif",
    "type": "image/tiff",
    "roles": ["cloud", "cloud-shadow", "snow-ice", "water-mask"],
    "classification:bitfields": [
        flag(0, "fill", "not_fill", "fill"),
        flag(1, "dilated_cloud", "not_dilated", "dilated"),
        flag(2, "cirrus", "not_cirrus", "cirrus"),
        flag(3, "cloud", "not_cloud", "cloud"),
        flag(4, "cloud_shadow", "not_shadow", "shadow"),
        flag(5, "snow", "not_snow", "snow"),
        flag(6, "clear", "not_clear", "clear"),
        flag(7, "water", "not_water", "water"),
        flag(8, "cloud_confidence", *LEVELS, length=2),
        flag(10, "cloud_shadow_confidence", "not_set", "low", "reserved", "high", length=2),
        flag(12, "snow_confidence", "not_set", "low", "reserved", "high", length=2),
        flag(14, "cirrus_confidence", "not_set", "low", "reserved", "high", length=2),
    ],
}
QA_RADSAT: dict[str, Any] = {
    "href": "QA_RADSAT.tif",
    "type": "image/tiff",
    "roles": ["saturation"],
    "classification:bitfields": [
        flag(0, "band1", "not_saturated", "saturated"),
        flag(11, "occlusion", "no", "yes"),
    ],
}
QA_AEROSOL: dict[str, Any] = {
    "href": "QA_AEROSOL.tif",
    "type": "image/tiff",
    "roles": ["data-mask", "water-mask"],
    "classification:bitfields": [
        flag(0, "fill", "not_fill", "fill"),
        flag(1, "retrieval", "not_valid", "valid"),
        flag(6, "level", "climatology", "low", "medium", "high", length=2),
    ],
}
# Values of QA_PIXEL as they occur: clear land, clear water, fill, cloud, dilated, shadow, cirrus, snow.
CLEAR, WATER, FILL, CLOUD, DILATED, SHADOW, CIRRUS, SNOW = 21824, 21952, 1, 22280, 21762, 23888, 54596, 30048


def ref_of(folder: Path | str, **masks: dict[str, Any]) -> SceneRef:
    image = {"href": "image.tif", "type": "image/tiff", "roles": ["data"]}
    return scene_of("s", {}, {"image": image, **masks}, lambda _, href: f"{folder}/{href}", "catalog")


def bits(offset: int, *values: int, length: int = 1) -> MaskBits:
    return MaskBits(offset, length, values)


def test_landsats_quality_band_masks_by_its_published_bits(tmp_path: Path) -> None:
    write_raster(tmp_path / "image.tif", np.full((1, 8), 9, np.uint16), crs=UTM, transform=PLACE)
    values = np.array([[CLEAR, WATER, FILL, CLOUD, DILATED, SHADOW, CIRRUS, SNOW]], np.uint16)
    write_raster(tmp_path / "QA_PIXEL.tif", values, crs=UTM, transform=PLACE)
    ref = ref_of(tmp_path, qa_pixel=QA_PIXEL)
    assert ref.masks[0].bits == tuple(bits(offset, 1) for offset in range(5))
    for reading, snow in ((Reading(), True), (Reading(snow="invalid"), False)):
        scene = reading.describe(ref)
        with SceneReader(scene) as reader:
            valid = reader.read(scene.geobox.window).valid
        assert valid.tolist() == [[True, True, *[False] * 5, snow]]
        assert scene.warnings == ()
    assert Reading(snow="invalid").describe(ref).identity != describe(ref).identity


def test_all_masks_that_say_enough_count_together() -> None:
    ref = ref_of("/d", qa_pixel=QA_PIXEL, qa_aerosol=QA_AEROSOL, qa_radsat=QA_RADSAT)
    assert [mask.href for mask in ref.masks] == ["/d/QA_PIXEL.tif", "/d/QA_AEROSOL.tif"]
    assert ref.masks[1].bits == (bits(0, 1),)
    assert ref.unused_masks == ("qa_radsat",)


def test_a_mask_that_is_not_used_is_named(tmp_path: Path) -> None:
    write_raster(tmp_path / "image.tif", np.ones((1, 2), np.uint8), crs=UTM, transform=PLACE)
    unknown = {"href": "m.tif", "type": "image/tiff"}
    (warning,) = describe(ref_of(tmp_path, qa_radsat=QA_RADSAT)).warnings
    assert warning.startswith("qa_radsat looks like a mask and is not used: give geoseg:invalid")
    (warning,) = describe(ref_of(tmp_path, Fmask=unknown, qa_radsat=QA_RADSAT), ["image"]).warnings
    assert warning.startswith("Fmask, qa_radsat look like masks and are not used")
    assert describe(ref_of(tmp_path, qa_radsat=QA_RADSAT | {"geoseg:invalid": []})).warnings == ()
    (warning,) = Reading(snow="invalid").describe(ref_of(tmp_path)).warnings
    assert "no mask of the catalog says where snow is" in warning


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([flag(3, "Cloud shadow")], (bits(3, 1),)),
        ([flag(3, "cloud", "cloud", "not_cloud")], (bits(3, 0),)),
        ([flag(8, "cloudConfidence", *LEVELS, length=2)], (bits(8, 3, length=2),)),
        ([flag(8, "cloud_confidence", length=2)], (bits(8, 3, length=2),)),
        ([flag(2, "cirrus"), flag(14, "cirrus_confidence", *LEVELS, length=2)], (bits(2, 1),)),
        ([flag(1, "terrain_shadow"), flag(7, "water"), flag(6, "clear"), flag(5, "snow")], ()),
        ([flag(4, "type", length=2) | {"classes": [{"value": 2, "nodata": True}]}], (bits(4, 2, length=2),)),
        (
            [
                {"name": "cloud", "offset": 40, "length": 1},
                {"name": "cloud"},
                {"name": "cloud", "offset": "3"},
            ],
            (),
        ),
    ],
)
def test_names_of_bit_fields(fields: list[dict[str, Any]], expected: tuple[MaskBits, ...]) -> None:
    qa = {"href": "qa.tif", "type": "image/tiff", "roles": ["cloud"], "classification:bitfields": fields}
    ref = ref_of("/d", qa=qa)
    assert ref.masks == ((MaskRef("/d/qa.tif", 1, (), expected),) if expected else ())
    assert ref.unused_masks == (() if expected else ("qa",))


def classes(*names: str, nodata: int | None = None, **fields: Any) -> dict[str, Any]:
    """An asset of the role data whose published classes are numbered from 0."""
    listed = [{"value": value, "name": name} for value, name in enumerate(names)]
    if nodata is not None:
        listed[nodata] |= {"nodata": True}
    return {
        "href": "c.tif",
        "type": "image/tiff",
        "roles": ["data"],
        "classification:classes": listed,
        **fields,
    }


def first_only(asset: dict[str, Any], field: str) -> dict[str, Any]:
    """The same asset with its classes at its only band."""
    return asset | {field: [{"classification:classes": asset.pop("classification:classes")}]}


SENTINELS = (
    "no_data",
    "saturated_or_defective",
    "dark_area_pixels",
    "cloud_shadows",
    "vegetation",
    "cloud_high_probability",
    "cloud_low_probability",
    "thin_cirrus",
    "snow",
)


@pytest.mark.parametrize(
    ("key", "asset", "invalid"),
    [
        ("scene_classification", classes(*SENTINELS), (0, 1, 3, 5, 7)),
        ("scene_classification", first_only(classes(*SENTINELS), "bands"), (0, 1, 3, 5, 7)),
        ("quality", first_only(classes("clear", "Cloud", "CloudShadow"), "raster:bands"), (1, 2)),
        ("pixel_quality", classes("clear", "cloud", roles=["cloud"]), (1,)),
        ("pixel_quality", classes("clear", "cloud", roles=[]), (1,)),
        ("x", classes("No data", "valid"), (0,)),
        ("x", classes("outside", "valid data", nodata=0), (0,)),
        ("data_mask", classes("no data", "land", "water"), (0,)),
        (
            "quality",
            classes("", "") | {"classification:classes": [{"value": 7, "description": "Cloud"}]},
            (7,),
        ),
    ],
)
def test_classes_that_name_clouds_or_no_data_mask_by_their_names(
    key: str, asset: dict[str, Any], invalid: tuple[int, ...]
) -> None:
    ref = ref_of("/d", **{key: asset})
    assert [(mask.href, mask.index, mask.invalid) for mask in ref.masks] == [("/d/c.tif", 1, invalid)]
    assert (ref.bands, ref.href, ref.unused_masks) == ((), "/d/image.tif", ())


@pytest.mark.parametrize(
    "asset",
    [
        classes("background", "building"),
        classes("no data", "trees", "water", "buildings"),
        classes("unlabeled", "trees", "water", nodata=0),
        classes("cloud forest", "terrain shadow", "cloud free"),
        classes("no data"),
        classes("clear", "cloud", bands=[{"eo:common_name": "red"}]),
        classes("clear", "cloud", bands=[{"name": "a"}, {"name": "b"}]),
    ],
)
def test_a_land_cover_or_an_image_with_classes_is_no_mask(asset: dict[str, Any]) -> None:
    ref = ref_of("/d", landcover=asset)
    assert ref.masks == ref.unused_masks == ()
    assert "/d/c.tif" in {band.href for band in ref.bands}
    labels = ref_of("/d", landcover=classes("no data", "cloud", roles=["labels"]))
    assert labels.masks == labels.unused_masks == ()
    assert [key for key, _ in labels.labels] == ["landcover"]


def test_a_scene_of_masks_alone_is_refused() -> None:
    asset = classes("clear", "cloud")
    with pytest.raises(CatalogError, match=r"its images are masks \(quality\), by their classes or roles"):
        scene_of("s", {}, {"quality": asset}, lambda _, href: href, "catalog")


IMAGES = ("validation", "cloud_free", "s2cloudless", "nir", "point_cloud_height")


@pytest.mark.parametrize(
    "key",
    [
        *("QA60", "MSK_CLDPRB", "validity", "cloud_mask", "quality", "dataMask", "scene_classification"),
        *("pixel_quality", "QC_Day", "CLM", "cloudProbability", *IMAGES),
    ],
)
def test_keys_of_masks_that_say_nothing_usable_are_named(key: str) -> None:
    silent = {"href": "m.tif", "type": "image/tiff", "roles": ["data"]}
    assert ref_of("/d", **{key: silent}).unused_masks == (() if key in IMAGES else (key,))
    assert ref_of("/d", **{key: silent | {"geoseg:invalid": []}}).unused_masks == ()
    assert ref_of("/d", **{key: silent | {"roles": ["labels"]}}).unused_masks == ()
    alone = scene_of("s", {}, {key: silent}, lambda _, href: href, "catalog")
    assert alone.unused_masks == ()  # it is the image


def test_geoseg_invalid_gives_values_and_bits() -> None:
    mask = {"href": "m.tif", "type": "image/tiff", "roles": ["mask"]}
    form = {"values": [7, 0], "bits": {"3": [1], "8-9": [3, 2]}}
    expected = (bits(3, 1), bits(8, 2, 3, length=2))
    assert ref_of("/d", m=mask | {"geoseg:invalid": form}).masks == (
        MaskRef("/d/m.tif", 1, (0, 7), expected),
    )
    own = QA_PIXEL | {"geoseg:invalid": {"bits": {"3": [1]}}}
    assert ref_of("/d", qa_pixel=own, qa_aerosol=QA_AEROSOL).masks == (
        MaskRef("/d/QA_PIXEL.tif", 1, (), (bits(3, 1),)),
    )
    for wrong, message in (
        ({"bit": {}}, "has values and bits"),
        ({"bits": [3]}, r'such as {"3": \[1\], "8-9": \[3\]}'),
        ({"bits": {"9-8": [1]}}, "numbered 0 to 31, got '9-8'"),
        ({"bits": {"32": [1]}}, "numbered 0 to 31"),
        ({"bits": {"3": [2]}}, r"bits 3 cannot hold \[2\]"),
        ({"bits": {"3": []}}, r"bits 3 cannot hold \[\]"),
        ({"bits": {"3": [True]}}, "must be whole numbers"),
        ("0", "must be whole numbers"),
    ):
        with pytest.raises(CatalogError, match=message):
            ref_of("/d", m=mask | {"geoseg:invalid": wrong})


def test_bits_of_a_mask_of_fractions_are_refused(tmp_path: Path) -> None:
    for name in ("image", "QA_PIXEL"):
        write_raster(tmp_path / f"{name}.tif", np.ones((1, 2), np.float32), crs=UTM, transform=PLACE)
    with pytest.raises(SceneError, match="is a mask by its bits but holds float32"):
        describe(ref_of(tmp_path, qa_pixel=QA_PIXEL))


@given(st.data(), st.sampled_from(["uint8", "uint16", "int16", "uint32"]))
def test_a_pixel_is_unusable_where_one_of_the_fields_says_so(data: st.DataObject, dtype: str) -> None:
    size = np.dtype(dtype).itemsize * 8
    fields = []
    for _ in range(data.draw(st.integers(0, 3))):
        offset = data.draw(st.integers(0, size - 1))
        length = data.draw(st.integers(1, min(3, size - offset)))
        held = data.draw(st.sets(st.integers(0, 2**length - 1), min_size=1))
        fields.append(MaskBits(offset, length, tuple(sorted(held))))
    invalid = tuple(data.draw(st.sets(st.integers(0, 100), max_size=2)))
    limits = np.iinfo(dtype)
    values = data.draw(st.lists(st.integers(int(limits.min), int(limits.max)), min_size=1, max_size=6))
    found = unusable(np.array([values], dtype), MaskRef("m", 1, invalid, tuple(fields)))

    def says(value: int, field: MaskBits) -> bool:
        text = np.binary_repr(value, width=64)[::-1][field.offset : field.offset + field.length][::-1]
        return int(text, 2) in field.values

    expected = [value in invalid or any(says(value, field) for field in fields) for value in values]
    assert found.tolist() == [expected]
