"""One picture in two hundred ways: the same map, or a refusal, never something else.

A re-encoding that keeps the numbers gives the same polygons to the bit; scale, offset and stretch the same
but for rounding; another grid the same ground; what contradicts itself is refused, and the refusal names the
key.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import geopandas as gpd
import pytest
from hypothesis import example, given, settings
from shapely.affinity import affine_transform
from support.situations import CONTRADICTIONS, PLACES, Situation, situations, write

from geoseg.flow.run.run import run

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("GEOSEG_SITUATIONS", "25"))


def mapped(made: Situation) -> gpd.GeoDataFrame | str:
    """The polygons of a situation's map, or why it was refused."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        chosen = write(folder, made)
        workflow = folder / "workflow.yaml"
        workflow.write_text(f"catalog: {chosen['catalog']}\nmodel: buildings-mininet2\n", encoding="utf-8")
        fixed = {"output": str(folder / "out"), "compute.executor": "serial", "vectorize.layer": "buildings"}
        summary = run(workflow, chosen | fixed)
        (outcome,) = summary.scenes
        if outcome.status == "refused":
            assert not (folder / "out" / "scene" / "item.json").exists()
            return outcome.reason
        assert outcome.status == "done", outcome
        return gpd.read_file(folder / "out" / "scene" / "buildings.gpkg", layer="buildings")


@lru_cache(maxsize=16)
def plain(*, masked: bool) -> gpd.GeoDataFrame:
    """The map of the picture as it is."""
    found = mapped(Situation(mask="nodata" if masked else "none"))
    assert isinstance(found, gpd.GeoDataFrame), found
    assert len(found) > 5
    return found


def in_pixels(polygons: gpd.GeoDataFrame, place: str) -> list:
    """Polygons in the picture's pixels."""
    a, b, c, d, e, f, *_ = ~PLACES[place][1]
    return [affine_transform(shape, (a, b, d, e, c, f)) for shape in polygons.geometry]


@settings(max_examples=EXAMPLES)
@given(situations())
@example(Situation(naming="descriptions", order=(2, 1, 0)))
@example(Situation(dtype="int16", mask="nodata", per_band=True, naming="catalog"))
@example(Situation(mirror="rows"))
@example(Situation(dtype="uint16", values="scaled"))
@example(Situation(place="feet", mirror="columns", mask="alpha"))
def test_one_picture_gives_one_map(made: Situation) -> None:
    found = mapped(made)
    if made.contradiction != "none":
        assert isinstance(found, str), f"{len(found)} polygons of what contradicts itself"
        assert CONTRADICTIONS[made.contradiction] in found
        return
    assert isinstance(found, gpd.GeoDataFrame), found
    wanted = plain(masked=made.mask != "none")
    if made.lossless and made.place == "utm":
        assert found.geometry.to_wkb().tolist() == wanted.geometry.to_wkb().tolist()
        assert found["conf_mean"].tolist() == wanted["conf_mean"].tolist()
        return
    ours, theirs = (gpd.GeoSeries(in_pixels(*layer)) for layer in ((found, made.place), (wanted, "utm")))
    allowed = 1e-3
    if made.place != "utm":
        # In other units of length a fit may turn out otherwise where two are nearly as good.
        allowed = 0.08
        if made.lossless:
            assert found["conf_mean"].tolist() == wanted["conf_mean"].tolist(), "the same objects"
            assert (ours.intersection(theirs).area >= 0.8 * ours.union(theirs).area).all()
    assert ours.union_all().symmetric_difference(theirs.union_all()).area <= allowed * theirs.area.sum()
