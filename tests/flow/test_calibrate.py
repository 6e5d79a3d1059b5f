"""Calibrated confidence: what it says happens that often, it stays with its model, and else it is null."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.commands import Command
from support.stac import stac_item, write_catalog
from synthetic.bundles import random_bundle
from synthetic.neighborhood import generate
from synthetic.writing import write_scene

from geoseg.config.model.contract import LEAST_OBJECTS, Calibration
from geoseg.config.model.mlm import from_item, to_item
from geoseg.errors import BundleError, LabelError, OutputError
from geoseg.flow.calibrate import Scored, calibrate, halves_errors, reliability_error
from geoseg.flow.run.prepare import prepare
from geoseg.flow.run.run import run
from geoseg.grid.geobox import GeoBox
from geoseg.io.vector.features import Features
from geoseg.io.vector.writer import write_features
from geoseg.models.bundle import Bundle, load_bundle
from geoseg.models.saving import changed_bundle
from geoseg.polygons.attributes import FIELDS, Provenance, object_attributes
from geoseg.polygons.geodesic import AreaMeter
from geoseg.polygons.shapes import Shapes
from geoseg.polygons.trace.regions import to_ground
from geoseg.score.pixels.isotonic import Isotonic, fit_isotonic

GRID = GeoBox(2000, 2000, Affine(0.3, 0, 621_000, 0, -0.3, 3_350_000), "EPSG:26914")
SMALL: dict[str, Any] = {"arguments": {"widths": [8, 16], "encoder": [1], "decoder": [1]}}

shares = st.floats(0, 1)


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    said = sorted(draw(st.lists(shares, min_size=1, max_size=9, unique=True)))
    right = sorted(draw(st.lists(shares, min_size=len(said), max_size=len(said))))
    return Calibration(
        class_name="class1",
        knots=tuple(zip(said, right, strict=True)),
        objects=draw(st.integers(LEAST_OBJECTS, 10**9)),
        data="scenes: a",
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return random_bundle(tmp_path_factory.mktemp("bundles") / "plain", **SMALL)


def told(count: int = 400, seed: int = 1) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Objects of a map that is too sure of itself: of confidence p, p² are right."""
    random = np.random.default_rng(seed)
    sure = random.uniform(0.5, 1, count)
    return sure, random.random(count) < sure**2


def write_scored(
    folder: Path,
    bundle: Bundle,
    sure: Sequence[float] | NDArray[np.float64],
    right: Sequence[bool] | NDArray[np.bool_],
    *,
    mode: str = "objects",
    leave_out: str = "",
) -> Path:
    """``errors.gpkg`` as ``geoseg evaluate`` writes it, and the receipt of its map beside it."""
    count = len(sure)
    error = np.where(right, "matched", np.where(np.arange(count) % 2, "false", "merged")).astype(object)
    corners = GRID.transform @ (np.arange(count) % 40 * 30.0 + 5, np.arange(count) // 40 * 30.0 + 5)
    boxes = shapely.box(corners[0], corners[1] - 3, corners[0] + 3, corners[1])
    values: dict[str, NDArray[Any]] = {
        "error": error,
        "side": np.full(count, "map", object),
        "class_name": np.full(count, "class1", object),
        "conf_mean": np.asarray(sure, np.float64),
    }
    missed: dict[str, NDArray[Any]] = {
        "error": np.array(["missed"], object),
        "side": np.array(["reference"], object),
        "class_name": np.array(["class1"], object),
        "conf_mean": np.array([np.nan]),
    }
    schema = {"error": "text", "side": "text", "class_name": "text", "conf_mean": "real"}
    schema.pop(leave_out, None)
    path = folder / "errors.gpkg"
    batches = [
        Features(shapes, {name: found[name] for name in schema})
        for shapes, found in ((boxes, values), (boxes[:1], missed))
    ]
    write_features(path, "errors", batches, geobox=GRID, schema=schema)
    model = {"name": bundle.spec.name, "sha256": bundle.spec.sha256}
    item = {"id": folder.name, "properties": {"geoseg:model": model, "geoseg:mode": mode}}
    (folder / "item.json").write_text(json.dumps(item), encoding="utf-8")
    return path


# --- the contract ---------------------------------------------------------------------------------------


@given(calibrations())
def test_a_calibration_survives_its_item_and_leaves_the_network_the_same(
    bundle: Bundle, known: Calibration
) -> None:
    spec = bundle.spec.model_copy(update={"calibration": known})
    again = from_item(json.loads(json.dumps(to_item(spec), allow_nan=False)))
    assert again == spec
    assert again.calibration == known
    assert again.identity == bundle.spec.identity


def test_an_item_without_calibration_does_not_speak_of_it(bundle: Bundle) -> None:
    assert "geoseg:calibration" not in to_item(bundle.spec)["properties"]
    assert bundle.spec.calibration is None


GOOD: dict[str, Any] = {
    "class_name": "class1",
    "knots": [[0.5, 0.1], [0.9, 0.8]],
    "objects": 100,
    "data": "scenes: a",
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"knots": []}, "geoseg:calibration.knots: tuple should have at least 1 item"),
        ({"knots": [[0.5, 0.1], [0.5, 0.8]]}, "knots must rise: after (0.5, 0.1) comes (0.5, 0.8)"),
        ({"knots": [[0.5, 0.9], [0.6, 0.8]]}, "knots must rise"),
        ({"knots": [[0.5, 1.1]]}, "geoseg:calibration.knots.0.1: should be less than or equal to 1"),
        ({"knots": [[-0.5, 1.0]]}, "geoseg:calibration.knots.0.0: should be greater than or equal to 0"),
        ({"knots": [["0.5", 1.0]]}, "should be a valid number"),
        ({"knots": [[0.5]]}, "knots.0.1: field required"),
        ({"objects": LEAST_OBJECTS - 1}, "objects: should be greater than or equal to 50, got 49"),
        ({"objects": True}, "objects: should be a valid integer"),
        ({"class_name": "class0"}, "calibration is for 'class0'; needed the only class"),
        ({"data": " "}, "data: string should have at least 1 character"),
        ({"slope": 2}, "slope: extra inputs are not permitted"),
    ],
)
def test_a_spoilt_calibration_is_refused_in_one_line(
    bundle: Bundle, change: dict[str, Any], said: str
) -> None:
    item = to_item(bundle.spec)
    item["properties"]["geoseg:calibration"] = GOOD
    assert from_item(item).calibration is not None
    item["properties"]["geoseg:calibration"] = GOOD | change
    with pytest.raises(BundleError) as caught:
        from_item(item)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_classes_have_no_calibration(tmp_path: Path) -> None:
    several = random_bundle(tmp_path / "several", classes=3, **SMALL)
    item = to_item(several.spec)
    item["properties"]["geoseg:calibration"] = GOOD
    with pytest.raises(BundleError, match="this one has class0, class1, class2"):
        from_item(item)
    with pytest.raises(BundleError, match="a calibration is of one class against a background"):
        calibrate(several, [], tmp_path / "new")


# --- the fit --------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(shares, st.booleans()), min_size=1, max_size=60))
def test_what_was_fitted_is_calibrated_to_rounding(objects: list[tuple[float, bool]]) -> None:
    sure, right = (np.array(values) for values in zip(*objects, strict=True))
    assert reliability_error(fit_isotonic(sure, right).apply(sure), right) < 1e-9


def test_halves_are_calibrated_by_each_other() -> None:
    """Where the halves contradict each other, no calibration helps, and that is what is said."""
    sure, north = np.full(100, 0.5), np.arange(100) < 50
    assert halves_errors(Scored(sure, north, north)) == (0.5, 1)
    assert halves_errors(Scored(sure, np.arange(100) % 2 == 0, north)) == (0, 0)
    # 0.66 and 0.62 of the halves are right: each is told the other's share, and nothing cancels out.
    right = np.concatenate([np.arange(50) < 33, np.arange(50) < 31])
    assert halves_errors(Scored(sure, right, north)) == pytest.approx((0.14, 0.04))
    own, right = told(4000)
    north = np.random.default_rng(0).random(4000) < 0.5
    before, after = halves_errors(Scored(own, right, north))
    assert before == pytest.approx(reliability_error(own, right), abs=0.02)
    assert after < before / 3


def test_a_bundle_learns_from_errors(tmp_path: Path, bundle: Bundle, geoseg: Command) -> None:
    sure, right = told(600)
    paths = [
        write_scored(tmp_path / "run" / "one", bundle, sure[:401], right[:401]),
        write_scored(tmp_path / "run" / "two", bundle, sure[401:], right[401:]),
    ]
    new = tmp_path / "new"
    arguments = ["--errors", str(paths[0]), "--errors", str(paths[1]), "-o", str(new)]
    code, out, err = geoseg("models", "calibrate", str(bundle.folder), *arguments)
    assert (code, err) == (0, "")
    assert f"calibrated on 600 mapped objects of class class1, {right.mean():.1%} of them right" in out
    loaded = load_bundle(new)
    known = loaded.spec.calibration
    assert known is not None
    curve = fit_isotonic(sure, right)
    assert known.knots == tuple(zip(curve.confidence.tolist(), curve.true.tolist(), strict=True))
    assert (known.objects, known.class_name) == (600, "class1")
    assert "scenes: one, two" in known.data
    assert loaded.spec.model_copy(update={"calibration": None}) == bundle.spec
    weights = "weights.safetensors"
    assert (new / weights).read_bytes() == (bundle.folder / weights).read_bytes()
    loaded.network()

    before, after = (float(line.split()[at]) for line in out.splitlines()[1:] for at in (2, 4))
    assert before == pytest.approx(reliability_error(sure, right), abs=0.03)
    assert after < before / 2
    assert f"class1, calibrated on 600. {known.data}" in geoseg("models", "show", str(new))[1]

    code, _, err = geoseg("models", "calibrate", str(bundle.folder), *arguments)
    assert code == 2
    assert "holds a bundle already" in err
    assert geoseg("models", "calibrate", str(new), *arguments, "--overwrite")[0] == 0
    assert load_bundle(new).spec == loaded.spec


@pytest.mark.parametrize("seed", range(6))
def test_a_calibration_is_kept_only_where_held_out_halves_are_better_with_it(
    tmp_path: Path, bundle: Bundle, geoseg: Command, seed: int
) -> None:
    random = np.random.default_rng(seed)
    sure = random.uniform(0.5, 1, 73)
    right = random.random(73) < sure ** (1 + seed % 3)  # a third of them are calibrated as they are
    path = write_scored(tmp_path / "run" / "one", bundle, sure, right)
    new = Path(shutil.copytree(bundle.folder, tmp_path / "new"))
    before = {file.name: file.read_bytes() for file in new.iterdir()}
    arguments = ["--errors", str(path), "-o", str(new), "--overwrite"]
    code, out, err = geoseg("models", "calibrate", str(bundle.folder), *arguments)
    if code == 0:
        before_after = [float(line.split()[at]) for line in out.splitlines()[1:] for at in (2, 4)]
        assert before_after[1] < before_after[0]
        assert load_bundle(new).spec.calibration is not None
        return
    assert (code, out) == (2, "")
    found = re.search(
        r"would not help: .* 73 objects.* from (0\.\d{3}) to (0\.\d{3}); nothing is written", err
    )
    assert found is not None
    assert float(found[2]) >= float(found[1])
    assert len(err.strip().splitlines()) == 1
    assert {file.name: file.read_bytes() for file in new.iterdir()} == before


def test_the_halves_are_as_large_whatever_the_scenes(tmp_path: Path, bundle: Bundle) -> None:
    """Of scenes of one object, every other one is northern: both halves have some."""
    sure, right = told(LEAST_OBJECTS)
    ends = (0, 1, 2, 3, LEAST_OBJECTS)
    paths = [
        write_scored(tmp_path / f"s{first}", bundle, sure[first:end], right[first:end])
        for first, end in pairwise(ends)
    ]
    found = calibrate(bundle, paths, tmp_path / "new")
    north = np.zeros(LEAST_OBJECTS, np.bool_)
    north[[1, *range(3, 27)]] = True
    assert north.sum() * 2 == LEAST_OBJECTS
    assert (found.error_before, found.error_after) == halves_errors(Scored(sure, right, north))


def test_what_cannot_calibrate_is_refused_in_one_line(
    tmp_path: Path, bundle: Bundle, geoseg: Command
) -> None:
    sure, right = told(LEAST_OBJECTS - 1)
    few = write_scored(tmp_path / "few", bundle, sure, right)
    code, out, err = geoseg(
        "models", "calibrate", str(bundle.folder), "--errors", str(few), "-o", str(tmp_path / "new")
    )
    assert (code, out) == (2, "")
    assert "49 scored objects are too few to calibrate random-test: needed 50 or more" in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()
    with pytest.raises(LabelError, match="too few"):
        calibrate(bundle, [few], tmp_path / "new")

    sure, right = told(60)
    other = random_bundle(tmp_path / "other", seed=5, **SMALL)
    foreign = write_scored(tmp_path / "foreign", other, sure, right)
    exact = write_scored(tmp_path / "exact", bundle, sure, right, mode="exact")
    old = write_scored(tmp_path / "old", bundle, sure, right, leave_out="conf_mean")
    wild = write_scored(tmp_path / "wild", bundle, np.append(sure, np.nan), np.append(right, True))
    alone = write_scored(tmp_path / "alone", bundle, sure, right)
    (alone.parent / "item.json").unlink()
    for paths, said in (
        ([foreign], "its objects were made by random-test of other weights"),
        ([exact], "its polygons are of mode exact"),
        ([old], "has no field conf_mean; score the map again"),
        ([wild], "conf_mean of a mapped object is not 0 to 1"),
        ([alone], "does not say which model made the objects"),
        ([few, tmp_path / "exact" / ".." / "few" / "errors.gpkg"], "is given twice"),
        ([tmp_path / "none" / "errors.gpkg"], "does not exist; geoseg evaluate writes"),
    ):
        with pytest.raises(OutputError, match=said) as caught:
            calibrate(bundle, paths, tmp_path / "new")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


# --- the field ------------------------------------------------------------------------------------------


def shapes_of(scores: Sequence[int], classes: Sequence[int]) -> Shapes:
    """Objects of one pixel each, in a row."""
    count = len(scores)
    ones, numbers = np.ones(count, np.int64), np.arange(count, dtype=np.int64)
    return Shapes(
        shapely.box(numbers, 0, numbers + 1, 1),
        first=numbers,
        last_row=0 * ones,
        class_id=np.asarray(classes, np.uint8),
        pixels=ones,
        score=np.asarray(scores, np.int64),
        p10=np.asarray(scores, np.uint8),
        contrast=np.ones(count),
        touches_edge=np.zeros(count, np.bool_),
        kind=np.full(count, "walls", object),
        fit=np.ones(count),
    )


@given(st.lists(st.tuples(st.integers(100, 200), st.integers(1, 2)), min_size=1, max_size=9), calibrations())
def test_only_a_calibrated_class_says_how_often_it_is_right(
    objects: list[tuple[int, int]], known: Calibration
) -> None:
    scores, classes = zip(*objects, strict=True)
    said, right = np.array(known.knots).T
    shapes = shapes_of(scores, classes)

    def attributes(**more: Any) -> dict[str, NDArray[Any]]:
        return object_attributes(
            shapes,
            to_ground(shapes.polygons, GRID.transform),
            width=GRID.width,
            meter=AreaMeter.of(GRID),
            names={1: "class1", 2: "class2"},
            provenance=Provenance("s", "s", "m 1", "ab" * 32, "run"),
            **more,
        )

    plain, found = attributes(), attributes(calibrated={1: Isotonic(said, right).apply})
    assert list(found) == list(plain) == list(FIELDS)
    assert list(FIELDS).index("conf_right") == list(FIELDS).index("conf_edge") + 1
    assert np.isnan(plain["conf_right"]).all()
    of_class = np.array(classes) == 1
    assert np.isnan(found["conf_right"][~of_class]).all()
    sure, share = found["conf_mean"][of_class], found["conf_right"][of_class]
    assert ((share >= 0) & (share <= 1)).all()
    assert (np.diff(share[np.argsort(sure, kind="stable")]) >= 0).all()
    for name in FIELDS:
        if name != "conf_right":
            assert plain[name].tolist() == found[name].tolist()


# --- the run --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workflow over a generated scene."""
    folder = tmp_path_factory.mktemp("run")
    write_scene(folder / "here", generate(size=(260, 260), seed=5))
    write_catalog(folder / "scenes.json", stac_item("here", version="1.0.0", buildings="here/buildings.gpkg"))
    lines = ("catalog: scenes.json", "model: buildings-mininet2", "vectorize: {layer: roofs}")
    text = "\n".join([*lines, "evaluate: {asset: buildings}", ""])
    (folder / "flow.yaml").write_text(text, encoding="utf-8")
    return folder / "flow.yaml"


def table_of(workflow: Path, output: Path, **changes: str) -> pd.DataFrame:
    settings = {key.replace("__", "."): value for key, value in changes.items()}
    summary = run(workflow, {"output": str(output), "compute.executor": "serial", **settings})
    assert summary.count("done") == 1, summary.scenes
    return pyogrio.read_dataframe(output / "here" / "roofs.gpkg", layer="roofs")


@pytest.mark.slow
def test_a_run_says_how_often_such_objects_are_right(workflow: Path, tmp_path: Path, geoseg: Command) -> None:
    shipped = load_bundle("buildings-mininet2")
    plain = table_of(workflow, tmp_path / "plain")
    assert len(plain) > 3
    assert plain.conf_right.isna().all()
    assert plain.conf_right.dtype == np.float64

    assert geoseg("evaluate", str(workflow), "--set", f"output={tmp_path / 'plain'}", "--worst", "0")[0] == 0
    errors = tmp_path / "plain" / "here" / "errors.gpkg"
    scored = pyogrio.read_dataframe(errors, layer="errors")
    mapped = scored[scored.side == "map"].set_index("id").conf_mean
    assert len(mapped) > 3
    assert mapped.to_dict() == plain.set_index("id").conf_mean[mapped.index].to_dict()
    assert scored[scored.side == "reference"].conf_mean.isna().all()
    with pytest.raises(LabelError, match=f"{len(mapped)} scored objects are too few"):
        calibrate(shipped, [errors], tmp_path / "never")

    known = Calibration(class_name="building", knots=((0.5, 0.1), (0.99, 0.7)), objects=50, data="by hand")
    model = changed_bundle(shipped, {"calibration": known}, tmp_path / "calibrated").folder
    found = table_of(workflow, tmp_path / "run", model=str(model))
    assert found.conf_right.to_numpy() == pytest.approx(np.interp(found.conf_mean, [0.5, 0.99], [0.1, 0.7]))
    left_out = ["conf_right", "run_id"]
    pd.testing.assert_frame_equal(found.drop(columns=left_out), plain.drop(columns=left_out))

    exact = table_of(workflow, tmp_path / "exact", model=str(model), vectorize__mode="exact")
    assert exact.conf_right.isna().all()


@pytest.mark.slow
def test_a_calibration_is_in_the_fingerprint_where_it_decides_something(
    workflow: Path, tmp_path: Path
) -> None:
    shipped = load_bundle("buildings-mininet2")
    first = Calibration(class_name="building", knots=((0.5, 0.1),), objects=50, data="one")
    models = [
        "buildings-mininet2",
        *(
            str(changed_bundle(shipped, {"calibration": known}, tmp_path / str(number)).folder)
            for number, known in enumerate(
                (
                    first,
                    first.model_copy(update={"knots": ((0.5, 0.2),)}),
                    first.model_copy(update={"data": "two", "objects": 51}),
                )
            )
        ),
    ]

    def fingerprints(**changes: Any) -> list[str]:
        return [prepare(workflow, {"model": model, **changes}).plans[0].fingerprint for model in models]

    none, one, other, same = fingerprints()
    assert len({none, one, other}) == 3
    assert same == one
    assert len(set(fingerprints(**{"vectorize.mode": "exact"}))) == 1
    assert len(set(fingerprints(vectorize=None))) == 1
