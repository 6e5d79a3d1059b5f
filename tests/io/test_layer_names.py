"""Names of layers: one rule for workflow, schema, command line and writer."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from geoseg.config.workflow import Workflow, workflow_schema
from geoseg.errors import ConfigError, OutputError
from geoseg.flow.vectorize import vectorize
from geoseg.grid.geobox import GeoBox
from geoseg.io.vector.features import Features
from geoseg.io.vector.geojson import from_degrees
from geoseg.io.vector.reader import layer_info, read_pieces
from geoseg.io.vector.writer import FORMATS, Overview, overview_layer, write_features

BOX = GeoBox(8, 8, Affine(0.3, 0, 621_000, 0, -0.3, 3_350_000), "EPSG:26914")
SQUARE = Features(
    np.array([shapely.box(621_000, 3_349_999, 621_001, 3_350_000)]), {"size": np.array([7], np.int64)}
)
SCHEMA = Draft202012Validator(workflow_schema())
RESERVED = [
    "fid", "ogc_fid", "rowid", "oid", "ogr_empty_table", "geom", "geometry", "bbox", "layer_styles",
    "qgis_projects", "gpkg", "gpkg_contents", "sqlite_x", "rtree_x", "", "1st", "a-b", "a.b", "a b", "é",
    "a\nb", "a\0b", 'a"; DROP TABLE x; --', "../x", "a" * 64,
]  # fmt: skip
OF_THE_MAP = ["classes", "probability", "errors"]


def refusal(name: str) -> str | None:
    """What a workflow says of a layer's name; None: nothing."""
    try:
        Workflow.model_validate(flow(name))
    except ValidationError as error:
        (only,) = error.errors()
        assert only["loc"] == ("vectorize", "layer")
        return str(only["msg"]).removeprefix("Value error, ")
    return None


def flow(name: str) -> dict[str, Any]:
    return {"catalog": "c.json", "model": "m", "vectorize": {"layer": name}}


@pytest.mark.parametrize("name", [*RESERVED, *map(str.upper, RESERVED[:14])])
def test_a_name_that_a_format_reserves_is_refused_everywhere_in_the_same_words(
    name: str, tmp_path: Path
) -> None:
    why = refusal(name)
    assert why is not None
    assert f"{name!r} cannot name a layer" in why
    for ending in FORMATS.values():
        with pytest.raises(OutputError, match=re.escape(why)):
            write_features(tmp_path / f"x{ending}", name, [], geobox=BOX, schema={})
    with pytest.raises(ConfigError, match=re.escape(f"vectorize.layer: {why}")):
        vectorize(tmp_path / "none.tif", tmp_path / "x.gpkg", {"vectorize": {"layer": name}})
    with pytest.raises(OutputError, match=re.escape(why.replace("a layer", "a field"))):
        write_features(tmp_path / "x.gpkg", "x", [], geobox=BOX, schema={name: "text"})
    assert not SCHEMA.is_valid(flow(name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [*OF_THE_MAP, *map(str.title, OF_THE_MAP)])
def test_a_name_of_another_file_of_the_map_is_refused_by_workflow_and_command(
    name: str, tmp_path: Path
) -> None:
    why = refusal(name)
    assert why is not None
    assert f"{name!r} is the name of another file of the map" in why
    with pytest.raises(ConfigError, match=re.escape(f"vectorize.layer: {why}")):
        vectorize(tmp_path / "none.tif", tmp_path / "x.gpkg", {"vectorize": {"layer": name}})
    assert not SCHEMA.is_valid(flow(name))


WORDS = [
    "select",
    "Table",
    "group",
    "main",
    "temp",
    "rtree",
    "gpkg",
    "id",
    "size",
    "x_overview",
    "spatial_ref_sys",
    "geometry_columns",
]
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,62}", fullmatch=True) | st.sampled_from(WORDS)


@pytest.mark.slow
@example("a" * 63)
@example("a" * 54 + "_overview")
@example("A" * 54 + "_OVERVIEW")
@settings(max_examples=25)
@given(NAMES)
def test_a_name_that_a_workflow_takes_is_written_and_read_back_in_every_format(name: str) -> None:
    assert SCHEMA.is_valid(flow(name)) == (refusal(name) is None)
    if refusal(name) is not None:
        return
    with TemporaryDirectory() as place:
        for ending in FORMATS.values():
            path = Path(place, f"{name}{ending}")
            overview = Overview(0.1, 0.0) if ending == ".gpkg" else None
            write_features(path, name, [SQUARE], geobox=BOX, schema={"size": "integer"}, overview=overview)
            assert layer_info(path, name).count == 1
            (piece,) = read_pieces(path, name, ["size"])
            assert piece.features.attributes["size"].tolist() == [7]
            found = piece.features.geometry
            if ending == ".geojson":
                found = shapely.set_precision(from_degrees(found, BOX), 1e-3)
            assert shapely.equals(found, SQUARE.geometry).all()
            if ending == ".gpkg":
                assert pyogrio.list_layers(path)[:, 0].tolist() == [name, overview_layer(name)]


@given(NAMES)
def test_an_overview_s_name_is_another_one_that_the_writer_takes(name: str) -> None:
    other = overview_layer(name)
    assert other.lower() != name.lower()
    assert len(other) <= 63
