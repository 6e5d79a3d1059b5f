"""Training files: presets and what is laid over them, every mistake with its line, the editor's schema."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from geoseg.config.training.presets import PRESETS, laid_over
from geoseg.config.training.train_config import (
    Adam,
    CrossEntropy,
    EarlyStopping,
    KerasDecay,
    Loss,
    Overlap,
    Plateau,
    Poly,
    Sgd,
    TrainConfig,
)
from geoseg.config.training.training_file import Training, training_schema
from geoseg.errors import ConfigError
from geoseg.io.yaml.files import LoadedTraining, dump_training, load_training
from geoseg.io.yaml.strict_yaml import dump_yaml

SCHEMA = Draft202012Validator(training_schema())
SOURCE = {"name": "a", "attribution": "b", "license": "MIT"}
START: dict[str, Any] = {
    "model": {"name": "roofs-mini", "architecture": "mininet-2"},
    "classes": [
        {"name": "ground", "color": "#ffffff", "background": True},
        {"name": "roof", "color": "#D7191C"},
    ],
    "data": [{"catalog": "x.json", "asset": "roofs", "source": SOURCE}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trainings")


def load(folder: Path, text: str, overrides: dict[str, Any] | None = None) -> LoadedTraining:
    path = folder / "train.yaml"
    path.write_text(text, encoding="utf-8")
    return load_training(path, overrides)


def mistakes_of(folder: Path, text: str, overrides: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, overrides)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


# --- presets ---------------------


def test_presets_are_the_papers_settings() -> None:
    # networks.md, section 8.
    micro, faster, mini, dual = (
        PRESETS[name].train for name in ("micro-net", "faster-unet", "mininet", "dual-aspp")
    )
    assert micro.optimizer == Sgd(rate=1e-3, momentum=0.9, nesterov=True, weight_decay=0.0)
    assert micro.schedule == KerasDecay(decay=5e-5)
    assert (micro.epochs, micro.batch, micro.accumulate, micro.keep) == (20, 2, 1, "loss")
    assert micro.loss == Loss(cross_entropy=CrossEntropy(), deep_supervision=0.0)
    assert PRESETS["micro-net"].chips.sides == (500,)
    assert PRESETS["micro-net"].chips.flips == ("horizontal",)

    assert faster.optimizer == Adam(kind="adam", rate=1e-3, weight_decay=1e-3, decays="all")
    assert faster.schedule == Plateau(watch="loss", patience=2, factor=0.5)
    assert (faster.epochs, faster.batch * faster.accumulate) == (50, 8)
    assert faster.early_stopping == EarlyStopping(watch="loss", patience=5)
    assert faster.loss.cross_entropy is None
    assert faster.loss.overlap == Overlap(kind="jaccard", gamma=1.0, smooth=1.0)
    assert faster.loss.overlap.ratio == (1, 1)
    assert set(PRESETS["faster-unet"].chips.flips) == {"horizontal", "vertical"}

    assert mini.optimizer == Adam(kind="adam", rate=2e-3, weight_decay=1e-4, decays="all")
    assert mini.schedule == Poly(power=0.9)
    assert mini.epochs == 300
    assert mini.loss == Loss(cross_entropy=CrossEntropy(), deep_supervision=0.4)

    assert isinstance(dual.optimizer, Sgd)
    assert dual.optimizer.rate * dual.optimizer.encoder_rate_factor == pytest.approx(0.02)
    assert PRESETS["dual-aspp"].chips.flips == ()
    for name, preset in PRESETS.items():
        if name != "geoseg":
            assert (preset.train.average, preset.train.clip) == (None, None)
            assert preset.chips.focus == preset.chips.holes == preset.chips.rotate == 0


@pytest.mark.parametrize("name", PRESETS)
def test_nothing_laid_over_a_preset_is_the_preset(name: str) -> None:
    preset = PRESETS[name]
    training = Training.model_validate(START | {"preset": name})
    assert (training.train, training.chips) == (preset.train, preset.chips)
    assert TrainConfig.model_validate(laid_over(preset.train, {})) == preset.train


def test_what_is_laid_over_a_preset_changes_that_alone() -> None:
    given_ = {
        "optimizer": {"rate": 0.5},
        "loss": {"overlap": {"gamma": 2}},
        "early_stopping": None,
        "steps": 9,
    }
    train = Training.model_validate(START | {"preset": "faster-unet", "train": given_}).train
    preset = PRESETS["faster-unet"].train
    assert (train.steps, train.epochs, train.early_stopping) == (9, None, None)
    assert train.optimizer == preset.optimizer.model_copy(update={"rate": 0.5})
    assert train.loss.overlap == Overlap(kind="jaccard", smooth=1.0, gamma=2.0)
    assert train.schedule == preset.schedule
    # Another kind starts afresh: the patience of a plateau means nothing to a poly schedule.
    other = Training.model_validate(
        START | {"preset": "faster-unet", "train": {"schedule": {"kind": "poly"}}}
    )
    assert other.train.schedule == Poly(power=0.9, warmup=0)


# --- files ---------------------

rates = st.floats(1e-6, 10)
trains = st.fixed_dictionaries(
    {},
    optional={
        "epochs": st.integers(1, 500),
        "batch": st.integers(1, 64),
        "accumulate": st.integers(1, 8),
        "optimizer": st.one_of(
            st.fixed_dictionaries(
                {"kind": st.just("sgd"), "rate": rates}, optional={"momentum": st.just(0.5)}
            ),
            st.fixed_dictionaries(
                {"kind": st.sampled_from(["adam", "adamw"]), "rate": rates},
                optional={"weight_decay": st.floats(0, 1), "decays": st.sampled_from(["kernels", "all"])},
            ),
            st.fixed_dictionaries({"rate": rates}),
        ),
        "schedule": st.one_of(
            st.fixed_dictionaries({"kind": st.sampled_from(["constant", "cosine"])}),
            st.fixed_dictionaries({"kind": st.just("plateau")}, optional={"watch": st.just("score")}),
            st.fixed_dictionaries({"kind": st.just("keras-decay"), "decay": st.floats(0, 1)}),
            st.fixed_dictionaries({"warmup": st.integers(0, 99)}),
        ),
        "loss": st.fixed_dictionaries(
            {"cross_entropy": st.just({"weight": 1.5, "class_weights": [1, 2.5]})},
            optional={
                "overlap": st.none() | st.just({"kind": "tversky", "alpha": 0.3, "beta": 0.7}),
                "focal": st.just({"gamma": 1}),
                "deep_supervision": st.floats(0, 1),
            },
        ),
        "precision": st.sampled_from(["auto", "fp32", "bf16", "fp16"]),
        "average": st.none() | st.floats(0, 0.999),
        "keep": st.sampled_from(["score", "loss", "last"]),
        "early_stopping": st.none() | st.just({"watch": "score"}),
        "validate_every": st.just("epoch") | st.integers(1, 999),
    },
)
trainings = st.fixed_dictionaries(
    {key: st.just(value) for key, value in START.items()},
    optional={
        "preset": st.sampled_from(sorted(PRESETS)),
        "train": trains,
        "chips": st.fixed_dictionaries(
            {},
            optional={
                "size": st.just("256 px") | st.just(["128 px", "512 px"]),
                "scales": st.just([0.5, 2]),
                "flips": st.just([]) | st.just(["turns"]),
                "color": st.none() | st.just({"hue": 0}),
                "focus": st.floats(0, 1),
            },
        ),
        "split": st.just({"block": "30 m", "every": 0}),
        "resolution": st.sampled_from(["0.3 m", "1.5 m"]),
        "bands": st.just(["red", "nir"]),
        "distill": st.none() | st.just({"teacher": "./big", "temperature": 4}),
        "compute": st.just({"device": "cpu", "workers": 2, "processes": 2, "memory": "2 GB"}),
        "seed": st.integers(0, 2**31 - 1),
    },
)


@settings(max_examples=30)
@given(trainings)
def test_any_valid_keys_load_fit_the_schema_and_read_back_the_same(
    folder: Path, data: dict[str, Any]
) -> None:
    SCHEMA.validate(data)
    loaded = load(folder, dump_yaml(data))
    again = load(folder, dump_training(loaded.training))
    assert again.training == loaded.training
    assert again.catalogs == loaded.catalogs
    SCHEMA.validate(loaded.training.model_dump(mode="json"))


STRANGERS = st.from_regex(r"[a-z]{1,9}_x", fullmatch=True)
SECTIONS = (
    "",
    "model",
    "classes[1]",
    "data[0]",
    "data[0].source",
    "data[0].holdout",
    "split",
    "chips",
    "chips.color",
    "train",
    "train.optimizer",
    "train.schedule",
    "train.loss",
    "train.loss.overlap",
    "train.loss.overlap.reduction",
    "distill",
    "compute",
)


@settings(max_examples=30)
@given(
    st.sampled_from(SECTIONS),
    st.sampled_from(sorted(PRESETS)),
    st.from_regex(r"[a-z]{1,9}_x", fullmatch=True),
)
def test_any_unknown_key_is_named_with_its_line(
    folder: Path, section: str, preset: str, stranger: str
) -> None:
    data = copy.deepcopy(START) | {"preset": preset, "distill": {"teacher": "t"}}
    place: Any = data
    for part in re.findall(r"\w+", section):
        place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
    place[stranger] = 1
    text = dump_yaml(data)
    line = next(i for i, row in enumerate(text.splitlines(), 1) if row.strip("- ").startswith(f"{stranger}:"))
    (mistake,) = mistakes_of(folder, text)
    assert mistake.startswith(f"train.yaml:{line}: {f'{section}.{stranger}'.removeprefix('.')}: unknown key")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"recipe": "mininet"}, "recipe: is now called preset; write preset: instead"),
        ({"chips": {"colour": None}}, "chips.colour: is now called color; write color: instead"),
    ],
)
def test_a_key_that_was_renamed_answers_with_its_new_name(
    folder: Path, more: dict[str, Any], message: str
) -> None:
    (mistake,) = mistakes_of(folder, dump_yaml(copy.deepcopy(START) | more))
    assert message in mistake


def test_all_mistakes_come_at_once_with_line_key_and_hint(folder: Path) -> None:
    text = """\
model: {name: Roofs, arguments: {bands: 3}, start: a, encoder_weights: imagenet}
classes:
  - {name: ground, color: white, background: true}
  - {name: building, color: #ff0000
    }
data:
  - {catalog: x.json, asset: roofs, weigth: 3, window: [0, 0, 9], holdout: {every: 2}}
  - catalog: ../c.json
preset: mininet
resolution: 0.3
train:
  optimizer: {kind: sdg}
  schedule: {kind: plateau, power: 3}
  rate: 3
  loss: {overlap: {kind: tversky}, focal: {gama: 2}}
  validate_every: epch
  epochs: 3
  steps: 4
chips: {size: [256 px, 8 px], scales: [2, 1], flips: [sideways], color: warm}
distill: {teacher: x, temperature: 0}
compute:
"""
    assert mistakes_of(folder, text, {"train.clip": "no", "spilt": "{}"}) == [
        ("train.yaml:1: model.name: String must match pattern '^[a-z][a-z0-9-]{1,61}[a-z0-9]$', got 'Roofs'"),
        (
            "train.yaml:1: model.architecture: is missing: Name of the network; `geoseg models list` "
            "shows all."
        ),
        (
            "train.yaml:1: model.arguments: bands is counted from the file's own list of bands; leave "
            "it out here"
        ),
        "train.yaml:3: classes[0].color: 'white' is not a color, such as '#d7191c' (in quotes)",
        (
            "train.yaml:4: classes[1].color: is empty: # starts a comment in YAML, so write the color "
            "in quotes: '#d7191c'"
        ),
        "train.yaml:7: data[0].window: has only 3 of its entries, got [0, 0, 9]",
        (
            "train.yaml:7: data[0].holdout.every: one block of 2 is too many to hold out; give 3 or "
            "more, or 0 for none"
        ),
        ("train.yaml:7: data[0].source: is missing: Where the data come from and who has to be named."),
        "train.yaml:7: data[0].weigth: unknown key; did you mean 'weight'?",
        "train.yaml:8: data[1].asset: is missing: Key of the label asset in the catalog.",
        ("train.yaml:8: data[1].source: is missing: Where the data come from and who has to be named."),
        "train.yaml:10: resolution: 0.3 needs a unit: 0.3 m",
        (
            "train.yaml:12: train.optimizer: there is no kind 'sdg'; kinds are sgd, adam, adamw; did "
            "you mean 'sgd'?"
        ),
        (
            "train.yaml:13: train.schedule.power: is not a key of this kind; keys here: warmup, kind, "
            "watch, patience, factor"
        ),
        "train.yaml:14: train.rate: unknown key here; did you mean 'train.optimizer.rate'?",
        (
            "train.yaml:15: train.loss.overlap: kind tversky needs alpha and beta, such as alpha: 0.3 "
            "and beta: 0.7"
        ),
        "train.yaml:15: train.loss.focal.gama: unknown key; did you mean 'gamma'?",
        (
            "train.yaml:16: train.validate_every: must be epoch or a whole number from 1, got 'epch'; "
            "did you mean 'epoch'?"
        ),
        "train.yaml:19: chips.size: must be 16 px to 4096 px, got 8 px",
        "train.yaml:19: chips.scales: must be [low, high] with 0 < low ≤ high, got [2.0, 1.0]",
        "train.yaml:19: chips.flips[0]: must be 'horizontal', 'vertical' or 'turns', got 'sideways'",
        (
            "train.yaml:19: chips.color: must be a section with the keys brightness, contrast, gamma, "
            "gain, saturation, hue; got 'warm'"
        ),
        "train.yaml:20: distill.temperature: must be greater than 0, got 0",
        (
            "train.yaml:21: compute: is empty; give it keys (device, threads, workers, processes, "
            "memory) or leave it out"
        ),
        "--set: train.clip: must be a number, got 'no'",
        "--set: spilt: unknown key; did you mean 'split'?",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": []}, "train.yaml:10: data: must have 1 to 10000 entries, got 0"),
        ({"classes": START["classes"][:1]}, "classes: must have 2 to 255 entries, got 1"),
        ({"classes": START["classes"][1:] * 2}, "classes: names the class 'roof' twice"),
        ({"classes": [c | {"background": True} for c in START["classes"]]}, "classes: are all background"),
        ({"resolution": "3 px"}, "resolution: 3 px must be in meters on the ground, such as 0.3 m"),
        ({"split": {"every": 2}}, "split.every: one block of 2 is too many to hold out"),
        ({"data": [START["data"][0] | {"weight": 0}]}, "data[0].weight: must be greater than 0, got 0"),
        ({"data": [START["data"][0] | {"classes": {"1": "rof"}}]}, "no class 'rof'; did you mean 'roof'?"),
        (
            {"train": {"loss": {"cross_entropy": {"class_weights": [1, 2, 3]}}}},
            "train.loss.cross_entropy.class_weights has 3 factors for 2 classes",
        ),
        (
            {"train": {"loss": {"cross_entropy": None, "overlap": None}}},
            "train.loss: has no term; give cross_entropy, overlap or focal a weight",
        ),
        ({"train": {"epochs": 2, "steps": 3}}, "train: needs steps or epochs, one of them: both are given"),
        ({"train": {"steps": None}}, "train: needs steps or epochs, one of them: neither is given"),
        ({"train": {"optimizer": 3}}, "train.optimizer: must be a section with the keys rate, weight_decay"),
        ({"train": None}, "train: is empty; give it keys (steps, epochs"),
        ({"model": START["model"] | {"version": 1}}, 'model.version: must be text; write it in quotes: "1"'),
    ],
)
def test_each_mistake_is_one_line(folder: Path, change: dict[str, Any], message: str) -> None:
    (mistake,) = mistakes_of(folder, dump_yaml(START | change))
    assert message in mistake


def test_paths_are_those_of_the_file_or_of_set(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = dump_yaml(START | {"distill": {"teacher": "../big"}, "output": "here"})
    loaded = load(folder, text)
    assert loaded.catalogs == (folder / "x.json",)
    assert loaded.teacher == str(folder.parent / "big")
    assert loaded.output == folder / "here"
    assert loaded.start is None
    assert load(folder, text, {"data[0].catalog": "y.json"}).catalogs == (tmp_path / "y.json",)
    given_ = {"distill.teacher": "b/big", "model.start": "buildings-mininet2", "output": "there"}
    loaded = load(folder, text, given_)
    assert loaded.teacher == str(tmp_path / "b/big")
    assert loaded.start == "buildings-mininet2"
    assert loaded.output == tmp_path / "there"
    assert load(folder, dump_yaml(START)).output == tmp_path / "runs/train"
    assert loaded.where("data[0].asset") == f"{folder / 'train.yaml'}:12"
    assert loaded.where("data[0].weight") == f"{folder / 'train.yaml'}:11"
    assert loaded.where("model.start") == "--set"


# --- the schema (test_schemas.py has what holds for every schema) ---------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"train": {"rate": 3}},
        {"train": {"schedule": {"kind": "polly"}}},
        {"chips": {"size": 256}},
        {"split": {"block": "48"}},
        {"preset": "mine"},
        {"compute": {"workers": 0}},
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(folder: Path, wrong: dict[str, Any]) -> None:
    assert not SCHEMA.is_valid(START | wrong)
    assert mistakes_of(folder, dump_yaml(START | wrong))
