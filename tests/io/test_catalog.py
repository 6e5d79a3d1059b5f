"""STAC catalogs to scenes: both spellings, every form of catalog, local files only."""

from __future__ import annotations

import json
import math
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pystac
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.stac import collection, stac_item

from geoseg.config.stac.item import scene_of
from geoseg.config.stac.masks import SCL_INVALID
from geoseg.config.stac.refs import BandRef, LabelRef, MaskRef, SceneRef, Trust
from geoseg.errors import CatalogError
from geoseg.io.stac.read import Catalog, LocalStacIO, UnsetVariableError, load_catalog, local_path

TIFF = "image/tiff; application=geotiff"
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
SCL_SNOW = MaskRef("/d/SCL.tif", 1, (*SCL_INVALID, 11))
WHEN = {"datetime": "2018-07-16T06:06:23Z"}


def scene(
    assets: Mapping[str, Any], properties: Mapping[str, Any] = WHEN, trust: Trust = "catalog"
) -> SceneRef:
    return scene_of("one", properties, assets, lambda _key, href: f"/d/{href}", trust)


def refusal(assets: Mapping[str, Any], trust: Trust = "catalog") -> str:
    with pytest.raises(CatalogError) as caught:
        scene(assets, trust=trust)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(ref: SceneRef) -> list[str]:
    return [band.name for band in ref.bands]


# One file with many bands

RGB_1_0 = {
    "href": "x.tif",
    "type": TIFF,
    "roles": ["data"],
    "eo:bands": [{"name": "B1", "common_name": "red"}, {"common_name": "green"}, {"name": "Haze"}],
    "raster:bands": [{"nodata": 0, "scale": 0.5, "offset": -1}, {"nodata": 0}, {"nodata": 0}],
    "file:checksum": "1220ab",
}
RGB_1_1 = {
    "href": "x.tif",
    "type": TIFF,
    "roles": ["data"],
    "nodata": 0,
    "bands": [
        {"name": "B1", "eo:common_name": "red", "raster:scale": 0.5, "raster:offset": -1},
        {"eo:common_name": "green"},
        {"name": "Haze"},
    ],
    "file:checksum": "1220ab",
}


def test_both_spellings_of_stac_mean_the_same() -> None:
    expected = SceneRef(
        id="one",
        bands=(
            BandRef("/d/x.tif", 1, "red", 0.5, -1.0, "1220ab", 0.0, texts=("b1",)),
            BandRef("/d/x.tif", 2, "green", 1.0, 0.0, "1220ab", 0.0),
            BandRef("/d/x.tif", 3, "haze", 1.0, 0.0, "1220ab", 0.0),
        ),
        acquired="2018-07-16T06:06:23Z",
    )
    assert scene({"data": RGB_1_0}) == expected
    assert scene({"data": RGB_1_1}) == expected


def test_fields_of_the_asset_count_for_all_its_bands() -> None:
    ref = scene({"d": {"href": "x.tif", "raster:scale": 2, "name": "no", "bands": [{}, {"raster:scale": 3}]}})
    assert [(band.name, band.scale) for band in ref.bands] == [("b1", 2.0), ("b2", 3.0)]


def test_a_lone_file_that_describes_no_bands_is_taken_whole() -> None:
    ref = scene({"image": {"href": "x.tif", "type": TIFF}})
    assert ref.bands == ()
    assert ref.href == "/d/x.tif"


@pytest.mark.parametrize(
    ("fields", "stated"),
    [
        ({"nodata": 0}, {"nodata": 0.0}),
        ({"file:nodata": [0]}, {"nodata": 0.0}),
        ({"file:nodata": ["nan", 7]}, {"nodata": 7.0}),
        ({"nodata": 9, "file:nodata": [0]}, {"nodata": 9.0}),
        ({"raster:scale": 0.5, "raster:offset": -1}, {"scale": 0.5, "offset": -1.0}),
        ({"raster:scale": 1}, {"unscaled": True}),
        ({"nodata": "nan", "eo:center_wavelength": 0.6, "file:checksum": "1220ab", "gsd": 10}, None),
    ],
)
def test_what_a_file_without_a_list_of_bands_states_counts_for_all(
    fields: dict[str, Any], stated: dict[str, Any] | None
) -> None:
    ref = scene({"image": {"href": "x.tif", "type": TIFF, "roles": ["data"], **fields}})
    assert ref.bands == ()
    assert ref.href == "/d/x.tif"
    assert ref.each == (None if stated is None else BandRef("/d/x.tif", 1, "b1", **stated))


# One asset per band, as archives ship them

SENTINEL = {
    "visual": {"href": "TCI.tif", "type": COG, "roles": ["visual"], "eo:bands": [{"name": "red"}] * 1},
    "red": {
        "href": "B04.tif",
        "type": COG,
        "roles": ["data", "reflectance"],
        "gsd": 10,
        "eo:bands": [{"name": "red", "common_name": "red"}],
        "raster:bands": [{"nodata": 0, "scale": 0.0001, "offset": -0.1}],
    },
    "rededge1": {
        "href": "B05.tif",
        "type": COG,
        "roles": ["data"],
        "eo:bands": [{"name": "rededge1", "common_name": "rededge"}],
        "raster:bands": [{"nodata": 0, "scale": 0.0001}],
    },
    "rededge2": {
        "href": "B06.tif",
        "type": COG,
        "roles": ["data"],
        "eo:bands": [{"name": "rededge2", "common_name": "rededge"}],
        "raster:bands": [{"nodata": 0, "scale": 0.0001}],
    },
    "red-jp2": {
        "href": "B04.jp2",
        "type": "image/jp2",
        "roles": ["data"],
        "eo:bands": [{"name": "red", "common_name": "red"}],
    },
    "scl": {"href": "SCL.tif", "type": COG, "roles": ["data"], "raster:bands": [{"nodata": 0}]},
    "thumbnail": {"href": "t.jpg", "type": "image/jpeg", "roles": ["thumbnail"]},
    "overview": {"href": "o.tif", "type": COG, "roles": ["overview"]},
    "info": {"href": "i.json", "type": "application/json", "roles": ["metadata"]},
}


@pytest.mark.parametrize("trust", ["catalog", "local"])
def test_an_item_of_sentinel_2(trust: Trust) -> None:
    ref = scene(SENTINEL, trust=trust)
    assert names(ref) == ["red", "rededge1", "rededge2"]
    assert ref.bands[0] == BandRef("/d/B04.tif", 1, "red", 0.0001, -0.1, nodata=0)
    assert ref.masks == (MaskRef("/d/SCL.tif", 1, SCL_INVALID, snow=SCL_SNOW),)
    assert {band.nodata for band in ref.bands} == {0}
    assert ref.href is None


def test_a_rendering_of_bands_that_have_files_of_their_own_is_left_out() -> None:
    def single(key: str, common: str) -> dict[str, Any]:
        return {
            "href": f"{key}.tif",
            "type": COG,
            "roles": ["data"],
            "bands": [{"name": key, "eo:common_name": common}],
        }

    visual = {
        "href": "tci.tif",
        "type": COG,
        "roles": ["data"],
        "eo:bands": [{"name": "B04", "common_name": "red"}, {"name": "B03", "common_name": "green"}],
    }
    ref = scene({"visual": visual, "B03": single("B03", "green"), "B04": single("B04", "red")})
    assert [(band.href, band.name) for band in ref.bands] == [("/d/B03.tif", "green"), ("/d/B04.tif", "red")]
    assert "both hold band 'b03'" in refusal({"visual": visual, "B03": single("B03", "green")})


def test_the_finest_of_the_same_band_counts() -> None:
    def band(size: float | None, **more: Any) -> dict[str, Any]:
        fields = {"href": f"{size}.tif", "type": COG, "roles": ["data"], "bands": [{"name": "B04"}], **more}
        return fields if size is None else {**fields, "gsd": size}

    ref = scene({"B04_20m": band(20), "B04_10m": band(10), "B04_60m": band(60)})
    assert [band.href for band in ref.bands] == ["/d/10.tif"]
    assert "both hold band 'b04' and no gsd" in refusal({"a": band(None), "b": band(None)})
    assert "both hold band 'b04'" in refusal({"a": band(10), "b": band(10)})


def test_files_without_descriptions_are_called_by_their_keys() -> None:
    ref = scene({"B02": {"href": "2.tif", "type": TIFF}, "B03": {"href": "3.tif", "type": TIFF}})
    assert ref.bands == (BandRef("/d/2.tif", 1, "b02"), BandRef("/d/3.tif", 1, "b03"))


def test_only_local_trust_opens_what_is_no_geotiff() -> None:
    assets = {"image": {"href": "x.jp2", "type": "image/jp2", "roles": ["data"], "bands": [{"name": "red"}]}}
    assert "set scenes.trust to local" in refusal(assets)
    assert names(scene(assets, trust="local")) == ["red"]
    assert "none of its assets (notes) is a GeoTIFF" in refusal(
        {"notes": {"href": "n.txt", "type": "text/plain"}}
    )
    assert "(it has none)" in refusal({})


def test_a_picture_counts_where_there_is_nothing_else() -> None:
    assert names(
        scene({"v": {"href": "v.tif", "type": COG, "roles": ["visual"], "bands": [{"name": "R"}]}})
    ) == ["r"]


def test_each_band_has_the_nodata_that_the_catalog_declares() -> None:
    def nodata(*values: object) -> list[float | None]:
        described = [{"name": f"n{i}", "nodata": value} for i, value in enumerate(values)]
        return [band.nodata for band in scene({"d": {"href": "x.tif", "bands": described}}).bands]

    assert nodata(0, 255, None) == [0, 255, None]
    assert nodata("nan", math.nan, "inf", "-inf") == [None] * 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"href": ""}, "asset 'd' has no href"),
        ({"eo:bands": [{}], "raster:bands": [{}, {}]}, "contradicts itself on its number of bands"),
        ({"eo:bands": {}}, "eo:bands must be a list of objects"),
        ({"bands": [{"raster:scale": 0}]}, "raster:scale of band 1 is 0"),
        ({"bands": [{"raster:scale": "x"}]}, "raster:scale must be a finite number"),
        ({"bands": [{"nodata": True}]}, "nodata must be a finite number"),
        ({"bands": [{"name": 3}]}, "a band's name must be text"),
        ({"bands": [{"name": "x"}, {"name": "X"}]}, "calls two bands 'x'"),
        ({"raster:scale": 0}, "raster:scale of band 1 is 0"),
        ({"raster:offset": "x"}, "raster:offset must be a finite number"),
        ({"nodata": "black"}, "nodata must be a finite number"),
        ({"file:nodata": [0, 255]}, "gives several nodata values"),
        ({"bands": [{}], "file:checksum": 3}, "file:checksum must be text"),
    ],
)
def test_assets_that_make_no_sense_are_refused_by_name(fields: dict[str, Any], message: str) -> None:
    assert message in refusal({"d": {"href": "x.tif", "type": TIFF, "roles": ["data"], **fields}})


band_json = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["red", "B1", "x", "b2", ""]),
        "eo:common_name": st.sampled_from(["red", "green", "rededge"]),
        "raster:scale": st.sampled_from([1, 0.1, 0, None]),
        "gsd": st.sampled_from([10, 20, None]),
        "nodata": st.sampled_from([0, 255, "nan"]),
    },
)
asset_json = st.fixed_dictionaries(
    {"href": st.sampled_from(["a.tif", "b.tif", "c.jp2"])},
    optional={
        "roles": st.lists(st.sampled_from(["data", "visual", "mask", "labels", "thumbnail"]), max_size=2),
        "bands": st.lists(band_json, max_size=3),
        "type": st.sampled_from([TIFF, "image/jp2", "text/plain"]),
        "geoseg:invalid": st.sampled_from([[0], [], "0"]),
    },
)


@given(st.dictionaries(st.sampled_from(["a", "b", "scl", "qa", "b2"]), asset_json, max_size=4))
def test_an_item_gives_distinct_bands_or_one_sentence(assets: dict[str, Any]) -> None:
    try:
        ref = scene(assets)
    except CatalogError:
        refusal(assets)
        return
    assert len(set(names(ref))) == len(ref.bands)
    assert len({(band.href, band.index) for band in ref.bands}) <= len(ref.bands)
    assert bool(ref.bands) != (ref.href is not None)


# Masks and labels

DATA = {"href": "x.tif", "type": TIFF, "roles": ["data"]}


@pytest.mark.parametrize(
    ("key", "fields", "invalid"),
    [
        ("SCL_20m", {"classification:classes": [{"value": 11, "nodata": True}]}, (*SCL_INVALID, 11)),
        ("scl", {"geoseg:invalid": [0, 9]}, (0, 9)),
        ("m", {"roles": ["mask"], "geoseg:invalid": [0]}, (0,)),
        (
            "m",
            {"roles": ["data-mask"], "classification:classes": [{"value": 2, "nodata": True}, {"value": 1}]},
            (2,),
        ),
        ("qa", {"bands": [{"classification:classes": [{"value": 7, "nodata": True}]}]}, (7,)),
        ("qa_pixel", {"raster:bands": [{"classification:classes": [{"value": 7, "nodata": True}]}]}, (7,)),
    ],
)
def test_masks(key: str, fields: dict[str, Any], invalid: tuple[int, ...]) -> None:
    ref = scene({"d": DATA, key: {"href": "m.tif", "type": TIFF, **fields}})
    assert ref.masks == (MaskRef("/d/m.tif", 1, invalid),)
    assert ref.href == "/d/x.tif"


def test_masks_that_do_not_say_enough_are_refused() -> None:
    mask = {"href": "m.tif", "type": TIFF, "roles": ["mask"]}
    assert "asset 'm' is a mask but does not say which values" in refusal({"d": DATA, "m": mask})
    assert "several masks (m, scl)" in refusal({"d": DATA, "m": mask, "scl": mask})
    marked = {**mask, "geoseg:invalid": [1]}
    assert scene({"d": DATA, "m": marked, "scl": mask}).masks == (MaskRef("/d/m.tif", 1, (1,)),)
    assert "must be whole numbers" in refusal({"d": DATA, "m": {**mask, "geoseg:invalid": ["a"]}})


def test_a_quality_band_without_classes_is_no_mask() -> None:
    qa = {"href": "q.tif", "type": TIFF, "roles": ["cloud"]}
    assert scene({"d": DATA, "qa_pixel": qa}).masks == ()


def test_labels() -> None:
    ref = scene(
        {
            "d": DATA,
            "polygons": {
                "href": "l.gpkg",
                "roles": ["labels"],
                "geoseg:layer": "buildings",
                "geoseg:attribute": "kind",
                "geoseg:area_layer": "labelled_area",
            },
            "mask": {
                "href": "gt.tif",
                "type": TIFF,
                "roles": ["label"],
                "geoseg:classes": {"255": 1, "0": 0},
                "geoseg:area": "a.geojson",
                "geoseg:area_window": [0, 500, 1000, 500],
            },
        }
    )
    assert dict(ref.labels) == {
        "polygons": LabelRef(
            "/d/l.gpkg", "buildings", (), "kind", area_href="/d/l.gpkg", area_layer="labelled_area"
        ),
        "mask": LabelRef(
            "/d/gt.tif",
            classes=((0.0, 0), (255.0, 1)),
            area_href="/d/a.geojson",
            area_window=(0, 500, 1000, 500),
        ),
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"geoseg:classes": []}, 'maps values to class ids, such as {"255": 1}, got []'),
        ({"geoseg:classes": {"x": 1}}, "'x' is not a number"),
        ({"geoseg:classes": {"1": 256}}, "256 is not a class id"),
        ({"geoseg:classes": {"1": "1"}}, "'1' is not a class id"),
        ({"geoseg:classes": {"nan": 1}}, "must be a finite number"),
        ({"geoseg:area_window": [0, 0, 5]}, "must be [row, col, height, width]"),
        ({"geoseg:area_window": [0, 0, 0, 5]}, "must be [row, col, height, width]"),
        ({"geoseg:layer": ""}, "geoseg:layer must be text"),
    ],
)
def test_labels_that_make_no_sense_are_refused_by_name(fields: dict[str, Any], message: str) -> None:
    said = refusal({"d": DATA, "gt": {"href": "l.tif", "roles": ["labels"], **fields}})
    assert said.startswith("asset 'gt': ")
    assert message in said


@pytest.mark.parametrize(
    ("properties", "acquired"),
    [
        ({"datetime": "2020-01-02T03:04:05Z"}, "2020-01-02T03:04:05Z"),
        (
            {
                "datetime": None,
                "start_datetime": "2020-01-02T00:00:00Z",
                "end_datetime": "2020-01-02T23:59:59Z",
            },
            "2020-01-02",
        ),
        (
            {
                "datetime": None,
                "start_datetime": "2020-01-02T00:00:00Z",
                "end_datetime": "2020-02-01T00:00:00Z",
            },
            "2020-01-02T00:00:00Z/2020-02-01T00:00:00Z",
        ),
        ({"datetime": "2020-01-02T03:04:05Z", "geoseg:datetime_source": "unknown"}, None),
        ({}, None),
    ],
)
def test_the_date_of_acquisition(properties: dict[str, Any], acquired: str | None) -> None:
    assert scene({"d": DATA}, properties).acquired == acquired


# Hrefs


@pytest.mark.parametrize(
    ("href", "path"),
    [
        ("x.tif", "/cat/x.tif"),
        ("./x.tif", "/cat/x.tif"),
        ("../a/x.tif", "/a/x.tif"),
        ("/a/b/../x.tif", "/a/x.tif"),
        ("my%20scene $1.tif", "/cat/my%20scene $1.tif"),
        ("./a:b.tif", "/cat/a:b.tif"),
        ("file:///a/my%20scene.tif", "/a/my scene.tif"),
        ("file://localhost/a/x.tif", "/a/x.tif"),
        ("$DATA/x.tif", "/data/x.tif"),
        ("${DATA}/x.tif", "/data/x.tif"),
        ("$DATA", "/data"),
        ("a$DATA/x.tif", "/cat/a$DATA/x.tif"),
    ],
)
def test_hrefs_that_are_local(href: str, path: str) -> None:
    assert local_path(href, Path("/cat"), {"DATA": "/data"}) == Path(path)


@given(
    parts=st.lists(
        st.sampled_from(["a", "B", " ", "%", "%20", "ü", "+", "#", "?", "&"]), min_size=1, max_size=5
    ),
    literal_too=st.booleans(),
)
def test_a_name_is_found_as_it_is_and_percent_encoded(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], *, literal_too: bool
) -> None:
    folder = tmp_path_factory.mktemp("names")
    name = "".join(parts) + ".tif"
    encoded = quote(name)
    (folder / name).touch()
    assert local_path(name, folder, {}) == folder / name
    if literal_too:
        (folder / encoded).touch()
    assert local_path(encoded, folder, {}) == folder / (encoded if literal_too else name)
    assert local_path(f"$PLACE/{encoded}", Path("/cat"), {"PLACE": str(folder)}) == local_path(
        encoded, folder, {}
    )
    assert local_path(f"none/{encoded}", folder, {}) == folder / "none" / encoded


@pytest.mark.parametrize("href", ["%68ttps%3A//x.org/a.tif", "%2Fvsicurl/a.tif", "a%00.tif", "a%0A.tif"])
def test_what_is_decoded_is_no_way_around_the_rules(href: str) -> None:
    with pytest.raises(CatalogError, match=re.escape(repr(href))):
        local_path(href, Path("/cat"), {})


@pytest.mark.parametrize(
    "href",
    [
        *["http://x.org/a.tif", "https://x.org/a.tif", "s3://b/a.tif", "HTTPS://x/a", "file://other/a.tif"],
        *[
            "/vsicurl/http://x/a.tif",
            "/VSIS3/b/a",
            "/vsizip//vsicurl/http://x/a",
            "/./vsicurl/x",
            "../vsimem/x",
        ],
        *[
            "vrt://a.tif?bands=1",
            "WMS:http://x",
            "NETCDF:a.nc:v",
            "GTI:a",
            "zip+http://a!b",
            "data:x",
            "zip://a!b",
        ],
        *["$EVIL/a.tif", "a\0b.tif", "a\nb.tif"],
    ],
)
def test_hrefs_that_are_not(href: str) -> None:
    with pytest.raises(CatalogError) as caught:
        local_path(href, Path("/cat"), {"EVIL": "https://x.org"})
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30))
def test_any_href_is_an_absolute_plain_path_or_refused(href: str) -> None:
    try:
        path = local_path(href, Path("/cat"), {})
    except CatalogError:
        return
    assert path.is_absolute()
    assert not str(path).lower().startswith("/vsi")
    assert ".." not in path.parts


@pytest.mark.parametrize("environment", [{}, {"GEOSEG_DATA": ""}])
def test_a_variable_that_is_not_set_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(UnsetVariableError, match="GEOSEG_DATA, which is not set"):
        local_path("$GEOSEG_DATA/x.tif", Path("/cat"), environment)


# Catalogs as files


def item_json(item_id: Any = "one", **more: Any) -> dict[str, Any]:
    links = [{"rel": "self", "href": "https://x.org/i.json"}, {"rel": "root", "href": "https://x.org"}]
    return stac_item(item_id) | {"properties": WHEN, "links": links, "assets": {"data": RGB_1_1}} | more


def write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a catalog says, nobody opens a socket."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)


def test_an_item_and_an_item_collection(tmp_path: Path) -> None:
    one = load_catalog(write(tmp_path / "i.json", item_json()))
    many = load_catalog(str(write(tmp_path / "c.json", collection(item_json("a"), item_json("b")))), "local")
    assert [ref.id for ref in one.scenes] == ["one"]
    assert one.scenes[0].bands[0].href == str(tmp_path / "x.tif")
    assert one.scenes[0].trust == "catalog"
    assert [ref.id for ref in many.scenes] == ["a", "b"]
    assert many.scenes[0].trust == "local"
    assert many.refusals == ()


def test_stac_1_0_reads_alike(tmp_path: Path) -> None:
    old = item_json(stac_version="1.0.0", assets={"data": RGB_1_0})
    assert (
        load_catalog(write(tmp_path / "i.json", old)).scenes
        == load_catalog(write(tmp_path / "j.json", item_json())).scenes
    )


def test_a_tree_written_by_pystac(tmp_path: Path) -> None:
    extent = pystac.Extent(
        pystac.SpatialExtent([-180, -90, 180, 90]),
        pystac.TemporalExtent([[pystac.utils.str_to_datetime("2020-01-01"), None]]),
    )
    root = pystac.Catalog("root", "all")
    for name in ("north", "south"):
        collection = pystac.Collection(name, name, extent, license="other")
        for number in (1, 2):
            collection.add_item(pystac.Item.from_dict(item_json(f"{name}{number}", links=[])))
        root.add_child(collection)
    root.normalize_and_save(str(tmp_path / "tree"), pystac.CatalogType.SELF_CONTAINED)
    catalog = load_catalog(tmp_path / "tree/catalog.json")
    assert catalog.refusals == ()
    assert [ref.id for ref in catalog.scenes] == ["north1", "north2", "south1", "south2"]
    folder = tmp_path / "tree/north/north1"
    assert catalog.scenes[0].bands[0].href == str(folder / "x.tif"), "relative to the item's own file"
    assert [ref.id for ref in load_catalog(tmp_path / "tree/south/collection.json").scenes] == [
        "south1",
        "south2",
    ]


def catalog_json(*links: tuple[str, str]) -> dict[str, Any]:
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "c",
        "description": "d",
        "links": [{"rel": rel, "href": href} for rel, href in links],
    }


def test_what_is_broken_below_does_not_lose_the_rest(tmp_path: Path) -> None:
    write(tmp_path / "good.json", item_json("good"))
    write(tmp_path / "broken.json", "{")
    write(tmp_path / "other.json", {"type": "Feature"})
    write(
        tmp_path / "deep/catalog.json", catalog_json(("item", "../good.json"), ("child", "../catalog.json"))
    )
    links = [
        *[("item", "https://x.org/i.json"), ("item", "broken.json"), ("item", "other.json")],
        *[
            ("child", "missing.json"),
            ("child", "deep/catalog.json"),
            ("item", "good.json"),
            ("root", "http://x"),
        ],
    ]
    catalog = load_catalog(write(tmp_path / "catalog.json", catalog_json(*links)))
    assert [ref.id for ref in catalog.scenes] == ["good"], "once, though linked twice and in a circle"
    reasons = " | ".join(refusal.reason for refusal in catalog.refusals)
    assert len(catalog.refusals) == 4
    for part in (
        "is not a local path",
        "broken.json:1: is not JSON",
        "its id must be text",
        "missing.json: no such file",
    ):
        assert part in reasons


def test_endless_depth_ends(tmp_path: Path) -> None:
    for i in range(40):
        write(tmp_path / f"{i}.json", catalog_json(("child", f"{i + 1}.json"), ("item", "item.json")))
    write(tmp_path / "item.json", item_json())
    catalog = load_catalog(tmp_path / "0.json")
    assert len(catalog.scenes) == 1
    assert "lies deeper than 30 catalogs" in catalog.refusals[0].reason


def test_an_unusable_item_is_refused_alone(tmp_path: Path) -> None:
    bad = [
        item_json("no-href", assets={"data": {"type": TIFF}}),
        item_json("no-data", assets={}),
        item_json("web", assets={"data": {**RGB_1_1, "href": "https://x.org/a.tif"}}),
        item_json("undated", properties={"datetime": None}),
        item_json("odd", assets={"data": "x.tif"}),
        item_json("nul\0", properties=WHEN),
        item_json("", properties=WHEN),
        item_json(7),
        "text",
        {"id": "bare"},
    ]
    catalog = load_catalog(write(tmp_path / "c.json", collection(*bad[:4], item_json("good"), *bad[4:])))
    assert [ref.id for ref in catalog.scenes] == ["good"]
    reasons = {refusal.id: refusal.reason for refusal in catalog.refusals}
    assert len(catalog.refusals) == len(bad)
    assert all("\n" not in reason for reason in reasons.values())
    assert reasons["no-href"] == "scene no-href: asset 'data' has no href; give the path of its file"
    assert "none of its assets" in reasons["no-data"]
    assert "scene web: asset 'data': 'https://x.org/a.tif' is not a local path" in reasons["web"]
    assert "start_datetime" in reasons["undated"]
    assert "must be an object with an href" in reasons["odd"]
    assert "its id must be text" in reasons["c.json, features[9]"]
    assert "is not a valid STAC item" in reasons["bare"]


def test_ids_that_meet_are_refused_with_both_names(tmp_path: Path) -> None:
    items = [item_json("Lyon"), item_json("lyon"), item_json("a"), item_json("a"), item_json("b")]
    catalog = load_catalog(write(tmp_path / "c.json", collection(*items)))
    assert [ref.id for ref in catalog.scenes] == ["b"]
    assert sorted(refusal.id for refusal in catalog.refusals) == ["Lyon", "a", "lyon"]
    assert "('Lyon' in c.json, 'lyon' in c.json)" in catalog.refusals[0].reason


def test_each_id_is_refused_once_with_all_that_is_wrong(tmp_path: Path) -> None:
    twice = [item_json("same"), item_json("good"), item_json("same")]
    broken = [{**item_json("half"), "assets": 1}, item_json("half"), {**item_json("half"), "properties": 2}]
    value = {"type": "FeatureCollection", "features": [*twice, *broken]}
    catalog = load_catalog(write(tmp_path / "c.json", value))
    assert [ref.id for ref in catalog.scenes] == ["good"]
    reasons = {refusal.id: refusal.reason for refusal in catalog.refusals}
    assert len(catalog.refusals) == 2 == len(reasons)
    assert reasons["same"].count("2 items have this id") == 1
    for part in ("features[3]", "features[5]", "another item has this id, too; give each its own"):
        assert part in reasons["half"], reasons["half"]
    assert reasons["half"].count("scene half") == 1


def test_only_the_wanted_items_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEOSEG_NOWHERE", raising=False)
    far = item_json("far", assets={"img": {**RGB_1_1, "href": "$GEOSEG_NOWHERE/x.tif"}})
    path = write(tmp_path / "c.json", collection(item_json("near"), far))
    assert [ref.id for ref in load_catalog(path, ids=["near"]).scenes] == ["near"]
    with pytest.raises(CatalogError) as caught:
        load_catalog(path)
    for part in (
        str(path),
        "item 'far'",
        "asset 'img'",
        "GEOSEG_NOWHERE, which is not set",
        "export GEOSEG_NOWHERE=",
    ):
        assert part in str(caught.value)
    with pytest.raises(CatalogError, match=r"holds no item 'nera'; did you mean 'near'\?"):
        load_catalog(path, ids=["nera"])
    monkeypatch.setenv("GEOSEG_NOWHERE", str(tmp_path))
    assert load_catalog(path, ids=["far"]).scenes[0].bands[0].href == str(tmp_path / "x.tif")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[]", "holds no JSON object"),
        ("[" * 100_000, "is not a STAC file"),
        ('{"a": 1}', "it has no stac_version"),
        ('{"type": "FeatureCollection"}', "its features are not a list"),
        ('{"type": "FeatureCollection", "features": []}', "holds no items"),
        ('{"type": "Catalog", "stac_version": "1.0.0"}', "is not a valid STAC Catalog: 'links' is missing"),
        (
            json.dumps(catalog_json(("item", "$GEOSEG_NOWHERE/i.json"))),
            "item link .* needs the environment variable",
        ),
    ],
)
def test_what_is_no_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    monkeypatch.delenv("GEOSEG_NOWHERE", raising=False)
    with pytest.raises(CatalogError, match=message) as caught:
        load_catalog(write(tmp_path / "c.json", text))
    assert "c.json" in str(caught.value)


def test_a_catalog_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path / "austin.json", item_json())
    with pytest.raises(CatalogError, match=r"no such file; did you mean 'austin.json'"):
        load_catalog(tmp_path / "autsin.json")
    with pytest.raises(CatalogError, match="cannot be read: Is a directory"):
        load_catalog(tmp_path)
    (tmp_path / "latin.json").write_bytes(b'{"id": "\xff"}')
    with pytest.raises(CatalogError, match="is not UTF-8 text"):
        load_catalog(tmp_path / "latin.json")
    with pytest.raises(CatalogError, match="is not a local path"):
        load_catalog("https://x.org/catalog.json")


def test_pystac_gets_no_network_and_no_writing(tmp_path: Path) -> None:
    stac_io = LocalStacIO()
    with pytest.raises(CatalogError, match="is not a local path"):
        stac_io.read_text("https://x.org/catalog.json")
    with pytest.raises(CatalogError, match="is not written"):
        stac_io.write_text(str(tmp_path / "x.json"), "{}")


# The shipped catalogs


def test_the_demonstration_catalog(root: Path) -> None:
    catalog = load_catalog(root / "catalogs/austin.json")
    assert catalog.refusals == ()
    (ref,) = catalog.scenes
    assert names(ref) == ["red", "green", "blue"]
    files = {ref.bands[0].href, *(label.href for _, label in ref.labels)}
    assert all(Path(file).is_file() for file in files)
    assert [key for key, _ in ref.labels] == ["buildings", "landcover"]
    said = json.loads((root / "catalogs/austin.json").read_text())
    assert "synthetic" in said["title"]
    assert "synthetic" in said["description"]


def test_the_inria_catalog(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path))
    catalog = load_catalog(root / "catalogs/inria_austin.json")
    assert catalog.refusals == ()
    assert [ref.id for ref in catalog.scenes] == [f"austin{n}" for n in range(1, 37)]
    ref = catalog.scenes[6]
    assert ref.bands[2] == BandRef(f"{tmp_path}/inria/train/images/austin7.tif", 3, "blue")
    assert dict(ref.labels)["buildings"].classes == ((255.0, 1),)
    assert ref.acquired is None
    monkeypatch.delenv("GEOSEG_DATA")
    with pytest.raises(CatalogError, match=r"item 'austin1', asset 'data': .*GEOSEG_DATA, which is not set"):
        load_catalog(root / "catalogs/inria_austin.json")


def test_a_catalog_value_is_plain(tmp_path: Path) -> None:
    catalog = load_catalog(write(tmp_path / "i.json", item_json()))
    assert isinstance(catalog, Catalog)
    assert catalog.path == tmp_path / "i.json"
    assert os.path.isabs(catalog.path)  # noqa: PTH117 the law is about the text
    assert re.search("Catalog", repr(catalog))
