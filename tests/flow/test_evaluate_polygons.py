"""Polygons of any tool are scored as a run's own: the same file, the same figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from support.commands import Command
from support.stored_maps import map_probabilities
from support.vectors import write_layer

from geoseg.config.stac.refs import LabelRef
from geoseg.errors import GeosegError
from geoseg.flow.evaluate.evaluate import evaluate_workflow
from geoseg.flow.evaluate.polygons import evaluate_polygons
from geoseg.grid.geobox import GeoBox
from geoseg.io.vector.reader import layer_info

UTM = "EPSG:26914"
PLACE = Affine(0.3, 0, 621_000, 0, -0.3, 3_350_000)
GRID = GeoBox(160, 200, PLACE, UTM)
WHOLE = shapely.box(*GRID.bounds)
MAPPED = [(10, 10, 30, 40), (60, 20, 90, 60), (10, 90, 50, 130), (100, 100, 130, 140), (90, 160, 120, 200)]
"""First row and column, last row and column; the last one lies at the edge."""
TRUE = [(11, 11, 30, 41), (60, 22, 91, 60), (10, 90, 50, 108), (10, 112, 50, 130), (120, 20, 140, 50)]


def box(row: float, col: float, last_row: float, last_col: float) -> shapely.Polygon:
    return shapely.box(*(PLACE @ (col, last_row)), *(PLACE @ (last_col, row)))


def stored(_name: str, grid: GeoBox) -> np.ndarray[Any, np.dtype[np.uint8]]:
    found = np.zeros((1, *grid.shape), np.uint8)
    for number, (row, col, last_row, last_col) in enumerate(MAPPED):
        found[0, row:last_row, col:last_col] = 190 - 20 * number
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished map, truth and the labeled area."""
    folder = tmp_path_factory.mktemp("polygons")
    map_probabilities(folder, {"a": GRID}, stored, mode="exact")
    write_layer(folder / "truth.gpkg", [box(*one) for one in TRUE], UTM)
    write_layer(folder / "area.gpkg", [WHOLE], UTM)
    return folder


def reference(run: Path, *, area: bool = True) -> LabelRef:
    return LabelRef(str(run / "truth.gpkg"), area_href=str(run / "area.gpkg") if area else None)


def test_a_runs_own_polygons_have_the_runs_own_score(run: Path, tmp_path: Path) -> None:
    settings = {"vectorize.layer": "roofs", "vectorize.mode": "exact", "output": str(run / "maps")}
    expected = evaluate_workflow(run / "map.yaml", settings, reference=reference(run)).to_dict()
    scored = evaluate_polygons(run / "maps" / "a" / "roofs.gpkg", reference(run), tmp_path / "score")
    assert scored.grid == GRID
    assert scored.notes == ()
    found = json.loads((tmp_path / "score" / "score.json").read_text())
    (ours,), (theirs,) = ([{**row, "name": ""} for row in one["objects"]] for one in (found, expected))
    assert ours["mapped"]["matched"] == 2
    assert (ours["mapped"]["excluded"], ours["mapped_objects"]) == (1, 4)
    one, other = numbers(ours), numbers(theirs)
    assert {k: (v, other[k]) for k, v in one.items() if v != other[k]} == {"/scenes/0/scene": ("roofs", "a")}
    assert [row["iou"]["value"] for row in found["classes"]] == [
        row["iou"]["value"] for row in expected["classes"]
    ]
    errors = layer_info(tmp_path / "score" / "errors.gpkg", "errors")
    assert errors.count == layer_info(run / "maps" / "a" / "errors.gpkg", "errors").count


def numbers(value: Any, at: str = "") -> dict[str, Any]:
    """The leaves of a JSON value, by their place."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {place: leaf for key, one in pairs for place, leaf in numbers(one, f"{at}/{key}").items()}
    return {at: value}


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:2277"], ids=["degrees", "web", "feet"])
def test_polygons_in_any_crs_are_scored_on_the_ground(run: Path, tmp_path: Path, crs: str) -> None:
    same = write_layer(tmp_path / "same.gpkg", [box(*one) for one in TRUE], UTM, to_crs=crs)
    found = evaluate_polygons(same, reference(run), tmp_path / "s")
    (row,) = found.report.objects
    assert (row.f1.value, row.reference_objects) == (1.0, 5)
    assert row.shape is not None
    assert row.shape.polis_m == pytest.approx(0, abs=0.01)
    assert found.report.classes[1].iou.value == pytest.approx(1, abs=0.03)
    assert "no attribute conf_mean or confidence" in found.notes[0]


def test_without_an_area_all_that_either_side_has_is_scored(run: Path, tmp_path: Path) -> None:
    far = write_layer(tmp_path / "far.gpkg", [box(*TRUE[0]), box(-90, 10, -60, 40)], UTM)
    (row,) = evaluate_polygons(far, reference(run, area=False), tmp_path / "s").report.objects
    assert (row.mapped.matched, row.mapped_objects, row.reference_objects) == (1, 2, 5)
    assert row.mapped.excluded == row.reference.excluded == 0


def test_the_command_says_what_it_wrote_and_on_which_pixels(
    geoseg: Command, run: Path, tmp_path: Path
) -> None:
    polygons = run / "maps" / "a" / "roofs.gpkg"
    given = ("--reference", run / "truth.gpkg", "--area", run / "area.gpkg", "-o", tmp_path / "out")
    code, out, err = geoseg("evaluate", polygons, *given, "--resolution", "0.6")
    assert (code, err) == (0, "")
    assert "on 100×80 px of 0.6 m in EPSG:26914" in out
    assert out.endswith(f"written to {tmp_path / 'out'}: score.json, errors.gpkg (each object, for QGIS)\n")
    assert "PoLiS: mean distance of the two outlines" in out
    for options, said in (
        ((), "--reference"),
        ((*given, "--model", "buildings-mininet2"), "--reference"),
        ((*given[:4], "-o", run / "maps"), "holds a run"),
        ((*given, "--resolution", "0.00001"), "--resolution"),
        ((*given, "--polygons-layer", "rofs"), "it has roofs"),
    ):
        code, out, err = geoseg("evaluate", polygons, *options)
        assert (code, out) == (2, ""), said
        assert said in err
        assert len(err.splitlines()) <= 3


def test_polygons_elsewhere_are_refused(run: Path, tmp_path: Path) -> None:
    there = write_layer(tmp_path / "there.gpkg", [shapely.box(3e5, 2e6, 3e5 + 9, 2e6 + 9)], UTM)
    with pytest.raises(GeosegError, match="too many to score; give the labeled area"):
        evaluate_polygons(there, reference(run, area=False), tmp_path / "s")
