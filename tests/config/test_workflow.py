"""Workflow files: units, strict YAML, every mistake with its line, and the editor's schema."""

from __future__ import annotations

import contextlib
import copy
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from geoseg.config.mistakes import key_text
from geoseg.config.slug import SLUG_LENGTH, scene_slug
from geoseg.config.units import Area, Length, Pixels, Quantity, Size
from geoseg.config.workflow import Workflow, workflow_schema
from geoseg.errors import ConfigError
from geoseg.io.yaml.config_file import _override, parse_overrides
from geoseg.io.yaml.files import (
    _WORKFLOW,
    LoadedWorkflow,
    dump_workflow,
    load_training,
    load_workflow,
)
from geoseg.io.yaml.strict_yaml import YamlError, dump_yaml, parse_yaml, plain_scalar

# -- values with units

KINDS = (Area, Length, Pixels, Size)
quantities = st.sampled_from(KINDS).flatmap(
    lambda kind: st.builds(
        kind,
        st.integers(0, 10**6).map(float)
        if kind is Pixels
        else st.floats(0, 1e15, allow_nan=False, allow_infinity=False),
        st.sampled_from(sorted(kind.units)),
    )
)


@given(quantities)
def test_a_quantity_reads_back_what_it_prints(quantity: Quantity) -> None:
    text = str(quantity)
    assert type(quantity).parse(text) == quantity
    assert str(type(quantity).parse(text)) == text
    assert re.fullmatch(type(quantity).json_schema()["pattern"], text)
    assert pickle.loads(pickle.dumps(quantity)) == quantity  # noqa: S301 our own bytes


@pytest.mark.parametrize(
    ("kind", "text", "canonical"),
    [
        (Area, "8m2", "8 m2"),
        (Area, " 08.50 m² ", "8.5 m2"),
        (Length, "0.5 px", "0.5 px"),
        (Length, "1.5e3 m", "1500 m"),
        (Pixels, "512.0 px", "512 px"),
        (Size, "2 KB", "2 kB"),
        (Size, "4 GiB", "4 GiB"),
    ],
)
def test_a_quantity_prints_one_canonical_text(kind: type[Quantity], text: str, canonical: str) -> None:
    assert str(kind.parse(text)) == canonical


@pytest.mark.parametrize(
    ("kind", "given_", "message"),
    [
        (Area, 8, "8 needs a unit, such as 8 m2 or 8 px"),
        (Area, "8", "8 needs a unit, such as 8 m2 or 8 px"),
        (Area, "8 acres", "'8 acres' has an unknown unit; units here: m2, px"),
        (Area, None, "null is not a number with a unit"),
        (Area, True, "True is not a number with a unit"),
        (Area, "-1 m2", "not negative"),
        (Area, "1e999 m2", "finite"),
        (Area, "nan m2", "not a number"),
        (Pixels, "1.5 px", "whole number of pixels"),
        (Pixels, "10 m", "unknown unit"),
        (Size, "2 gb", "did you mean 'GB'?"),
    ],
)
def test_a_quantity_says_what_it_needs(kind: type[Quantity], given_: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        kind.parse(given_)


def test_quantities_convert() -> None:
    assert Area.parse("8 m2").pixels(0.09) == pytest.approx(88.889, abs=1e-3)
    assert Area.parse("90 px").pixels(0.09) == 90
    assert Length.parse("1.5 m").pixels(0.3) == pytest.approx(5)
    assert Length.parse("0.5 px").pixels(0.3) == 0.5
    assert Pixels.parse("512 px").count == 512
    assert Size.parse("2 GB").bytes == 2 * 10**9
    assert Size.parse("1.5 KiB").bytes == 1536


# -- folder names


@given(st.sets(st.text(max_size=120), min_size=2, max_size=8))
def test_distinct_ids_have_distinct_safe_slugs(ids: set[str]) -> None:
    slugs = [scene_slug(one) for one in ids]
    assert len(set(slugs)) == len(ids)
    for slug in slugs:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(?<!\.)", slug)
        assert len(slug) <= SLUG_LENGTH
        assert Path(slug).name == slug


@given(st.text(max_size=40))
def test_a_slug_is_never_the_slug_of_another_id(text: str) -> None:
    slug = scene_slug(text)
    assert slug == text or scene_slug(slug) != slug, "an id that looks like a slug with hash is hashed itself"


@pytest.mark.parametrize(
    "hostile", ["..", ".", "", "/etc/passwd", "a/../../b", "con", "NUL.tif", "a\0b", "x."]
)
def test_hostile_ids_become_plain_names(hostile: str) -> None:
    slug = scene_slug(hostile)
    assert slug != hostile
    assert not re.search(r"[/\\\0]|^\.", slug)
    assert slug.split(".")[0].lower() not in {"con", "nul", "aux", "prn"}


def test_a_readable_id_stays() -> None:
    assert scene_slug("S2A_33UVP_20180716_0_L2A") == "S2A_33UVP_20180716_0_L2A"
    assert scene_slug("São Paulo").startswith("Sao-Paulo-")
    assert scene_slug("\ud800") != scene_slug("\ud801")


# -- strict YAML

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.sampled_from(
        ["no", "on", "22:30", "0o17", "0x1f", "1e3", ".5", "~", "null", "0777", "1_000", "= ", "<<"]
    )
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_yaml_reads_back_what_it_writes(value: Any) -> None:
    assert parse_yaml(dump_yaml(value)).value == value


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("no", "no"),
        ("Off", "Off"),
        ("22:30", "22:30"),
        ("1_000", "1_000"),
        ("0777", 777),
        ("2020-01-01", "2020-01-01"),
        ("0o10", 8),
        ("0x10", 16),
        ("-1", -1),
        ("1.5", 1.5),
        ("True", True),
        ("", None),
        (".inf", float("inf")),
    ],
)
def test_words_mean_what_they_look_like(word: str, meaning: Any) -> None:
    value = plain_scalar(word)
    assert value == meaning
    assert type(value) is type(meaning)


ALIAS_BOMB = "a: &a [x, x]\n" + "\n".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}, *{chr(97 + i)}]" for i in range(14)
)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: !!python/object/apply:os.system [ls]", 2, "has the tag"),
        ("a: !x 1", 1, "has the tag !x"),
        ("a: ! 1", 1, "has the tag !"),
        (ALIAS_BOMB, None, "counting aliases"),
        ("a: &a 1\nb: [" + ", ".join(["*a"] * 51) + "]", 2, "more than 50 aliases"),
        ("a: " + "[" * 200 + "]" * 200, 1, "deeper than 20"),
        ("a: &a [*a]", 1, "contains itself"),
        ("a: *nowhere", 1, "undefined alias"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("a: [1, 2", 1, "is not YAML"),
        ("a: 1\n\tb: 2", 2, "is not YAML"),
        ("a: \x07", None, "is not YAML"),
        ("x" * 1_000_001, None, "longer than"),
    ],
)
def test_hostile_yaml_is_refused_with_its_line(text: str, line: int | None, message: str) -> None:
    with pytest.raises(YamlError) as caught:
        parse_yaml(text)
    (mistake,) = caught.value.mistakes
    assert message in mistake.text
    assert line is None or mistake.line == line


def test_an_anchor_used_a_few_times_is_fine() -> None:
    document = parse_yaml("a: &a {x: 1}\nb: *a")
    assert document.value == {"a": {"x": 1}, "b": {"x": 1}}
    assert document.lines["b", "x"] == 1


def test_every_key_knows_its_line() -> None:
    document = parse_yaml("# comment\na:\n  b: 1\n  c:\n    - x\n    - y\n'd': {e: 2}\n")
    assert document.lines == {
        ("a",): 2,
        ("a", "b"): 3,
        ("a", "c"): 4,
        ("a", "c", 0): 5,
        ("a", "c", 1): 6,
        ("d",): 7,
        ("d", "e"): 7,
    }


# -- workflow files


def _choice(*words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words)


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


words = st.text(st.characters(categories=["L", "N", "Zs", "Po"]), min_size=1, max_size=12)
pixels = st.integers(1, 10**5).map(lambda n: f"{n} px")
counts = st.just("auto") | st.integers(1, 512)
workflows = st.fixed_dictionaries(
    {"catalog": words.map(lambda w: f"c/{w}.json"), "model": words.map(lambda w: f"m{w}")},
    optional={
        "version": st.just(1),
        "name": words,
        "output": words.map(lambda w: f"out/{w}"),
        "scenes": _some(
            ids=st.none() | st.lists(words, min_size=1, max_size=3, unique=True),
            bands=st.none() | st.lists(words | st.integers(1, 40), min_size=1, max_size=4, unique=True),
            nodata=st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9999, 9999),
            stretch=st.none() | st.tuples(st.integers(0, 99), st.integers(100, 9999)).map(list),
            trust=_choice("catalog", "local"),
        ),
        "tiling": _some(
            window=st.just("auto") | pixels,
            halo=_choice("auto", "exact", "0 px") | pixels,
            blend=_choice("auto", "crop", "mean", "triangle", "hann"),
            block=st.just("auto") | pixels,
            batch=counts,
        ),
        "compute": _some(
            executor=_choice("auto", "serial", "threads", "processes"),
            workers=counts,
            scheduler=_choice("tcp://10.0.0.1:8786", "localhost:8786"),
            device=_choice("auto", "cpu", "cuda"),
            precision=_choice("auto", "fp32", "bf16"),
            threads=st.integers(1, 64),
            memory=_choice("2 GB", "512 MB", "4 GiB"),
        ).filter(lambda it: it.get("executor") != "serial" or it.get("workers", 1) in (1, "auto")),
        "vectorize": st.none()
        | _some(
            mode=_choice("auto", "exact", "objects", "coverage"),
            threshold=st.floats(0, 0.95) | st.just(0),
            layer=_choice("buildings", "A_1"),
            classes=st.lists(words, min_size=1, max_size=3, unique=True),
            min_area=_choice("auto", "8 m2", "90 px", "0 px"),
            min_hole=_choice("3 m2", "0 px"),
            format=_choice("gpkg", "parquet", "fgb"),
            split=_some(
                method=_choice("auto", "border", "seeds", "necks", "none"),
                max_border=st.floats(0.01, 1),
                neck=_choice("2 px", "1 m"),
                min_seed=_choice("1 m2", "5 px"),
            ),
            regularize=_some(
                method=_choice("walls", "rectangle", "none"),
                tolerance=_choice("2 px", "0.6 m"),
                min_iou=st.floats(0, 1),
            ),
            overlaps=_choice("cut", "keep"),
            simplify=_choice("0 px", "0.2 m"),
            merge=st.booleans(),
        ),
        "write": _some(probability=_choice("classes", "top"), grid=_choice("model", "scene")),
        "evaluate": st.none() | st.fixed_dictionaries({"asset": words}),
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workflows")


def _load(folder: Path, text: str, overrides: dict[str, Any] | None = None) -> LoadedWorkflow:
    path = folder / "flow.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    return load_workflow(path, overrides)


def _mistakes(folder: Path, text: str, overrides: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        _load(folder, text, overrides)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


SCHEMA = Draft202012Validator(workflow_schema())


@given(workflows)
def test_any_valid_keys_load_fit_the_schema_and_read_back_the_same(
    folder: Path, data: dict[str, Any]
) -> None:
    SCHEMA.validate(data)
    loaded = _load(folder, dump_yaml(data))
    again = _load(folder, dump_workflow(loaded.workflow))
    assert again.workflow == loaded.workflow
    assert (again.catalog, again.model, again.output) == (loaded.catalog, loaded.model, loaded.output)
    assert hash(again.workflow) == hash(loaded.workflow)
    SCHEMA.validate(loaded.workflow.model_dump(mode="json"))
    assert Workflow.model_validate(loaded.workflow.model_dump(mode="json")) == loaded.workflow


SECTIONS = ("", "scenes", "tiling", "compute", "vectorize", "write")


@given(workflows, st.sampled_from(SECTIONS), st.from_regex(r"[a-z]{1,12}_x", fullmatch=True))
def test_any_unknown_key_is_named_with_its_line(
    folder: Path, data: dict[str, Any], section: str, stranger: str
) -> None:
    data = copy.deepcopy(data)
    place = data
    if section:
        place = data[section] = data.get(section) or {}
    place[stranger] = 1
    text = dump_yaml(data)
    line = next(i for i, row in enumerate(text.splitlines(), 1) if row.strip().startswith(f"{stranger}:"))
    key = f"{section}.{stranger}".removeprefix(".")
    (mistake,) = _mistakes(folder, text)
    assert mistake.startswith(f"flow.yaml:{line}: {key}: unknown key")


def test_all_mistakes_come_at_once_with_line_key_and_hint(folder: Path) -> None:
    text = """\
catalog: x.json
modle: foo
name: 12
version: 2
threshold: 0.5
tilling: {}
tiling:
  halo: exakt
  window: 512
  batch: many
  blend: han
  block: 0 px
  block: 4 px
compute:
scenes: 12
vectorize:
  mode: object
  min_area: 8
  threshold: 2
  classes: []
  layer: gpkg_x
write: {probability: al, grid: }
"""
    assert _mistakes(
        folder, text, {"compute.worker": "3", "scenes.ids": "[a, 1]", "evaluate": "{asset: ["}
    ) == [
        (
            "flow.yaml: model: is missing: A shipped model's name, or the path of a bundle "
            "(a path has a / in it: ./mine)."
        ),
        "flow.yaml:2: modle: unknown key; did you mean 'model'?",
        'flow.yaml:3: name: must be text; write it in quotes: "12"',
        "flow.yaml:4: version: must be 1, got 2",
        "flow.yaml:5: threshold: unknown key here; did you mean 'vectorize.threshold'?",
        "flow.yaml:6: tilling: unknown key; did you mean 'tiling'?",
        (
            "flow.yaml:8: tiling.halo: 'exakt' is neither auto nor exact nor such as 256 px; "
            "did you mean 'exact'?"
        ),
        "flow.yaml:9: tiling.window: 512 needs a unit, such as 512 px",
        "flow.yaml:10: tiling.batch: 'many' is neither auto nor a whole number",
        (
            "flow.yaml:11: tiling.blend: must be 'auto', 'crop', 'mean', 'triangle' or 'hann', got 'han'; "
            "did you mean 'hann'?"
        ),
        "flow.yaml:12: tiling.block: must be at least 1 px, got 0 px",
        "flow.yaml:13: tiling.block: is given twice, first in line 12",
        (
            "flow.yaml:17: vectorize.mode: must be 'auto', 'exact', 'objects' or 'coverage', got 'object'; "
            "did you mean 'objects'?"
        ),
        "flow.yaml:18: vectorize.min_area: 8 needs a unit, such as 8 m2 or 8 px",
        "flow.yaml:19: vectorize.threshold: must be less than or equal to 1, got 2",
        "flow.yaml:20: vectorize.classes: is an empty list; name at least one, or leave the key out",
        (
            "flow.yaml:21: vectorize.layer: 'gpkg_x' cannot name a layer: use a letter, then up to 62 "
            "letters, digits or _, and no name that SQLite, the formats or QGIS reserve, such as gpkg…, "
            "sqlite_…, rtree_…, fid or geom"
        ),
        "flow.yaml:22: write.probability: must be 'classes' or 'top', got 'al'",
        "flow.yaml:22: write.grid: must be 'model' or 'scene', but it is empty",
        (
            "--set: evaluate: '{asset: [': is not YAML: expected the node content, but found '<stream end>' "
            "while parsing a flow node"
        ),
        '--set: scenes.ids[1]: must be text; write it in quotes: "1"',
        "--set: compute.worker: unknown key; did you mean 'workers'?",
    ]


START = "catalog: c.json\nmodel: m\n"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "tiling:",
            "flow.yaml:3: tiling: is empty; give it keys (window, halo, blend, block, batch) or leave it out",
        ),
        ("scenes: []", "flow.yaml:3: scenes: must be a section with the keys ids, bands"),
        ("scenes: {ids: [red, red]}", "flow.yaml:3: scenes.ids: names 'red' twice"),
        ("scenes: {bands: [0]}", "flow.yaml:3: scenes.bands[0]: 0 is not a band"),
        ("scenes: {bands: [true]}", "flow.yaml:3: scenes.bands[0]: True is not a band"),
        ("scenes: {stretch: [9, 2]}", "flow.yaml:3: scenes.stretch: must be [low, high] with low below high"),
        ("scenes: {stretch: [1]}", "flow.yaml:3: scenes.stretch: must be [low, high], got 1 numbers"),
        ("scenes: {stretch: [0, x]}", "flow.yaml:3: scenes.stretch[1]: must be a number, got 'x'"),
        ("scenes: {stretch: 3}", "flow.yaml:3: scenes.stretch: must be a list, such as [a, b], got 3"),
        ("scenes: {nodata: .nan}", "flow.yaml:3: scenes.nodata: must be a finite number"),
        ("scenes: {nodata: none}", "flow.yaml:3: scenes.nodata: must be a number, got 'none'"),
        ("scenes: {ids: [1]}", 'flow.yaml:3: scenes.ids[0]: must be text; write it in quotes: "1"'),
        ("scenes: {trust: locals}", "did you mean 'local'?"),
        ("compute: {threads: 0}", "flow.yaml:3: compute.threads: must be greater than or equal to 1, got 0"),
        ("compute: {threads: '2'}", "flow.yaml:3: compute.threads: must be a whole number, got '2'"),
        ("compute: {workers: 0}", "flow.yaml:3: compute.workers: must be auto or at least 1"),
        ("compute: {workers: atuo}", "did you mean 'auto'?"),
        ("compute: {scheduler: somewhere}", "flow.yaml:3: compute.scheduler: 'somewhere' is not the address"),
        ("compute: {memory: lots}", "flow.yaml:3: compute.memory: 'lots' is neither auto nor such as"),
        ("vectorize: {split: {seed: 0.3}}", "split.seed is 0.3, below the threshold 0.5"),
        ("vectorize: {simplify: 0.5}", "vectorize.simplify: 0.5 needs a unit, such as 0.5 px"),
        ("vectorize: {regularize: {method: wals}}", "did you mean 'walls'?"),
        (
            "vectorize: {regularize: {method: buildingregulariser}}",
            "buildingregulariser is only compared with, by benchmarks/polygons.py; use walls",
        ),
        ("vectorize: {mode: exactly}", "did you mean 'exact'?"),
        ("vectorize: {threshold: .nan}", "flow.yaml:3: vectorize.threshold"),
        ("vectorize: {threshold: no}", "flow.yaml:3: vectorize.threshold: must be a number, got 'no'"),
        ("vectorize: {layer: 'a;drop'}", "cannot name a layer"),
        ("vectorize: {layer: RTree_x}", "cannot name a layer"),
        ("vectorize: {layer: Classes}", "'Classes' is the name of another file of the map"),
        ("compute: {executor: serial, workers: 2}", "flow.yaml:3: compute: workers is 2 but executor serial"),
        ("evaluate: {}", "flow.yaml:3: evaluate.asset: is missing"),
        ("evaluate: {asset: ''}", "flow.yaml:3: evaluate.asset"),
        (
            "evaluate: {asset: a, categories: {flat: [road, path], green: [tree, road]}}",
            "flow.yaml:3: evaluate.categories: has the class 'road' twice",
        ),
        ("evaluate: {asset: a, categories: {flat: []}}", "flow.yaml:3: evaluate.categories.flat"),
        ("output: https://x.org/y", "flow.yaml:3: output: 'https://x.org/y' is a URL"),
        ('output: "a\\0b"', "flow.yaml:3: output: 'a\\x00b' holds a control character"),
        ("output: '  '", "flow.yaml:3: output: is empty"),
        ("[a, b]: 1", "flow.yaml:3: has a key that is not a word"),
        ("<<: {catalog: d}", "flow.yaml:3: <<: unknown key"),
    ],
)
def test_each_mistake_is_one_line(folder: Path, more: str, message: str) -> None:
    (mistake,) = _mistakes(folder, START + more)
    assert message in mistake


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty; a workflow needs at least catalog and model"),
        (b"# nothing\n", "is empty"),
        (b"- a\n", "flow.yaml:1: a workflow is a list of keys"),
        (b"a: 1\nb: \xff\n", "flow.yaml:2: is not UTF-8 text"),
        (b"x" * 1_000_001, "is longer than"),
    ],
)
def test_a_file_that_is_no_workflow(folder: Path, data: bytes, message: str) -> None:
    path = folder / "flow.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_workflow(path)


def test_a_missing_file_and_a_folder(folder: Path) -> None:
    (folder / "austin_buildings.yaml").write_text(START)
    with pytest.raises(ConfigError, match=r"no such file; did you mean 'austin_buildings.yaml'"):
        load_workflow(folder / "austin_bulidings.yaml")
    with pytest.raises(ConfigError, match="is a folder; it is not a workflow file"):
        load_workflow(folder)


def test_windows_text_loads(folder: Path) -> None:
    text = "\ufeff" + START.replace("\n", "\r\n") + "tiling: {halo: exact}\r\n"
    loaded = _load(folder, text)
    assert loaded.workflow.tiling.halo == "exact"
    assert loaded.where("tiling.halo").endswith("flow.yaml:3")


def test_paths_of_the_file_and_of_set(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "catalog: ../c/x.json\nmodel: ./mine\noutput: maps\n"
    loaded = _load(folder, text)
    assert loaded.catalog == folder.parent / "c/x.json"
    assert loaded.model == str(folder / "mine")
    assert loaded.output == folder / "maps"
    assert loaded.source == folder / "flow.yaml"
    assert loaded.workflow.name == "flow"

    loaded = _load(folder, text, {"catalog": "y.json", "model": "b/z", "output": "~/maps", "name": "a/b"})
    assert loaded.catalog == tmp_path / "y.json"
    assert loaded.model == str(tmp_path / "b/z")
    assert loaded.output == Path("~/maps").expanduser()
    assert _load(folder, dump_workflow(loaded.workflow)).catalog == loaded.catalog

    shipped = _load(folder, START, {"model": "buildings-mininet2"})
    assert shipped.model == "buildings-mininet2"
    assert shipped.output == tmp_path / "runs/flow"
    named = _load(folder, START, {"name": "a/../b"})
    assert named.output.parent == tmp_path / "runs"


def test_set_replaces_adds_and_is_told_apart(folder: Path) -> None:
    text = START + "vectorize: null\ntiling:\n  window: 256 px\n  halo: 32 px\n"
    loaded = _load(
        folder,
        text,
        {
            "vectorize.min_area": "8 m2",
            "tiling.halo": "exact",
            "scenes": "{ids: [no, '12']}",
            "tiling.batch": "4",
        },
    )
    workflow = loaded.workflow
    assert workflow.vectorize is not None
    assert str(workflow.vectorize.min_area) == "8 m2"
    assert workflow.tiling.halo == "exact"
    assert workflow.tiling.window == Pixels(256, "px")
    assert workflow.tiling.batch == 4
    assert workflow.scenes.ids == ("no", "12")
    assert loaded.where("tiling.halo") == "--set"
    assert loaded.where("scenes.ids[0]") == "--set"
    assert loaded.where("tiling.window") == f"{folder / 'flow.yaml'}:5"
    assert loaded.where("evaluate.asset") == str(folder / "flow.yaml")
    assert _load(folder, text, {"tiling": "null"} | {"tiling.halo": "exact"}).workflow.tiling.window == "auto"
    assert _mistakes(folder, text, {"tiling.window.x": "2", "tilling.halo": "auto"}) == [
        "--set: tiling.window: {'x': 2} is not a number with a unit, such as 256 px or 1024 px",
        "--set: tilling: unknown key; did you mean 'tiling'?",
    ]


_WORDS = st.text("abc", min_size=1, max_size=3)
_TREES = st.recursive(
    _WORDS,
    lambda below: st.lists(below, min_size=1, max_size=3) | st.dictionaries(_WORDS, below, min_size=1),
    max_leaves=8,
)


@given(st.dictionaries(_WORDS, _TREES, min_size=1), st.data())
def test_set_reaches_every_place_of_a_file_in_both_spellings(
    tree: dict[str, Any], data: st.DataObject
) -> None:
    changed: list[dict[str, Any]] = [copy.deepcopy(tree), copy.deepcopy(tree), copy.deepcopy(tree)]
    path: list[str | int] = []
    found: Any = tree
    while not path or (isinstance(found, dict | list) and data.draw(st.booleans())):
        path.append(
            data.draw(st.sampled_from(range(len(found)) if isinstance(found, list) else sorted(found)))
        )
        found = found[path[-1]]
    keys = ".".join(map(str, path)), key_text(tuple(path))
    for document, key in zip(changed, keys, strict=False):
        assert _override(document, {(): "x.yaml"}, key, "new", _WORKFLOW) == []
    section: Any = changed[2]
    for part in path[:-1]:
        section = section[part]
    section[path[-1]] = "new"
    assert changed[0] == changed[1] == changed[2]


def test_set_names_the_entries_that_there_are(folder: Path) -> None:
    text = START + "scenes: {bands: [red, green, blue], ids: [a]}\n"
    assert _load(folder, text, {"scenes.bands[1]": "nir"}).workflow.scenes.bands == ("red", "nir", "blue")
    text = START + "scenes: {bands: [red], ids: [a, b]}\n"
    assert _mistakes(folder, text, {"scenes.bands[1000]": "x", "scenes.ids.2": "b", "scenes.ids.x": "b"}) == [
        "--set: scenes.bands[1000]: there is no entry 1000 of scenes.bands; it has scenes.bands[0] alone",
        "--set: scenes.ids.2: there is no entry 2 of scenes.ids; it has scenes.ids[0] to scenes.ids[1]",
        "--set: scenes.ids.x: there is no entry x of scenes.ids; it has scenes.ids[0] to scenes.ids[1]",
    ]


def test_a_bare_word_is_a_workflow_that_comes_with_geoseg_where_no_file_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shared = load_workflow("austin_buildings")
    assert shared.catalog.is_file()
    assert shared.output == tmp_path / "runs" / "austin_buildings"
    assert load_training("train_demo").training.model.name == "roofs-demo"
    with pytest.raises(
        ConfigError, match=r"workflows/landcover\.yaml: no such file; .*: geoseg run landcover$"
    ):
        load_workflow("workflows/landcover.yaml")
    Path("austin_buildings").write_text(START, encoding="utf-8")
    assert load_workflow("austin_buildings").source == tmp_path / "austin_buildings"


def test_overrides_from_python_are_values(folder: Path) -> None:
    given = {
        "compute.workers": 2,
        "vectorize": None,
        "scenes.stretch": (0, 10.5),
        "output": folder / "maps",
        "tiling": {"halo": "64 px"},
    }
    written = {
        "compute.workers": "2",
        "vectorize": "null",
        "scenes.stretch": "[0, 10.5]",
        "output": str(folder / "maps"),
        "tiling": "{halo: 64 px}",
    }
    assert _load(folder, START, given).workflow == _load(folder, START, written).workflow
    with pytest.raises(ConfigError, match=r"compute\.workers: .* set"):
        _load(folder, START, {"compute.workers": {1, 2}})


@given(workflows)
def test_a_workflow_from_python_is_that_of_a_file_in_the_working_directory(
    folder: Path, data: dict[str, Any]
) -> None:
    overrides = {"vectorize.min_area": "7 m2", "compute": {"workers": 3}, "output": "maps"}
    with contextlib.chdir(folder):
        written = _load(folder, dump_yaml(data))
        made = load_workflow(written.workflow)
        assert made == replace(written, source=folder / "workflow", origins={"": "workflow"})
        text = dump_workflow(written.workflow)
        assert load_workflow(written.workflow, overrides).workflow == _load(folder, text, overrides).workflow


def test_a_mistake_in_overrides_of_a_workflow_from_python_is_named() -> None:
    with pytest.raises(ConfigError, match=r"--set: vectorize\.thresold: .* 'threshold'"):
        load_workflow(Workflow(catalog="c.json", model="m"), {"vectorize.thresold": 0.4})


def test_overrides_are_split_at_the_first_equals_sign() -> None:
    assert parse_overrides(["a.b=c=d", "x = 1", "x=2"]) == {"a.b": "c=d", "x": "2"}
    for wrong in ("catalog", "=x"):
        with pytest.raises(ConfigError, match="needs key=value"):
            parse_overrides([wrong])


def test_a_workflow_is_frozen() -> None:
    workflow = Workflow(catalog="c", model="m")
    with pytest.raises(ValueError, match="frozen"):
        workflow.tiling.batch = 3


# -- the schema (test_schemas.py has what holds for every schema)


@pytest.mark.parametrize(
    "wrong",
    [
        {"catalog": "c"},
        {"catalog": "c", "model": "m", "tilling": {}},
        {"catalog": "c", "model": "m", "tiling": {"window": 512}},
        {"catalog": "c", "model": "m", "tiling": {"halo": "exakt"}},
        {"catalog": "c", "model": "m", "vectorize": {"min_area": "8"}},
        {"catalog": "c", "model": "m", "compute": {"workers": 0}},
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(folder: Path, wrong: dict[str, Any]) -> None:
    assert not SCHEMA.is_valid(wrong)
    assert _mistakes(folder, dump_yaml(wrong))
