"""``geoseg models``: what it says is true, and what is wrong is one line."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from support.bundles import flip_bit, reweigh
from support.commands import Command
from synthetic.bundles import random_bundle

from geoseg.config.model_card import CARD_TEMPLATE
from geoseg.io.weights import read_state
from geoseg.io.yaml.files import load_card
from geoseg.models.bundle import load_bundle, shipped_bundles
from geoseg.models.cost.operations import count
from geoseg.models.networks.registry import ARCHITECTURES, build

pytestmark = pytest.mark.slow

SLIM: dict[str, Any] = {"widths": [8, 16], "encoder": [1], "decoder": [1]}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The card that ``--template`` prints, for a small Micro-Net."""
    path = tmp_path_factory.mktemp("card") / "my-roofs.yaml"
    slim = json.dumps(SLIM)
    path.write_text(CARD_TEMPLATE.replace("arguments: {}", f"arguments: {slim}"), encoding="utf-8")
    return path


def state(**changes: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return build("micronet", **{"bands": 3, "classes": 2, **SLIM, **changes}).state_dict()


def test_list_has_every_model_and_every_network_in_its_place(geoseg: Command) -> None:
    code, out, err = geoseg("models", "list", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert {model["name"] for model in told["models"]} == set(shipped_bundles())
    networks = {network["name"]: network for network in told["networks"]}
    assert list(networks) == list(ARCHITECTURES)
    micronet = networks["micronet"]["figures"]
    assert micronet["parameters"] == 1_055_920
    assert (micronet["alignment"], micronet["radius"]) == (4, 94)
    # The papers' own unit: multiply-adds; per 10⁶ pixels.
    found = count("mininet-2", 1000, 1000 // 16 * 16, bands=3, classes=2)
    ours = networks["mininet-2"]["figures"]["giga_operations"]
    assert ours == pytest.approx(found.multiply_adds / 1e9 / 0.992, rel=0.02)
    assert networks["micronet"]["paper"]["printed"] == networks["micronet"]["paper"]["ours"] == "1.06 M"
    code, text, _ = geoseg("models", "list")
    assert code == 0
    for name in (*ARCHITECTURES, *shipped_bundles()):
        assert f"\n{name} " in text
    assert max(map(len, text.splitlines())) <= 120
    assert "Networks, with 3 bands and 2 classes" in text


def test_show_says_what_a_map_maker_has_to_know(geoseg: Command) -> None:
    code, out, err = geoseg("models", "show", "buildings-mininet2")
    assert (code, err) == (0, "")
    spec = load_bundle("buildings-mininet2").spec
    for text in (
        "mininet-2, 210,577 parameters",
        "3 bands (red, green, blue, in this order): 8-bit images as a screen shows them, uint8",
        "Pixels of 0.3 m on the ground; finer ones are averaged; coarser than 0.42 m the map is worse",
        "red: (uint8 - 115) / 50",
        "1 building #d7301f Building",
        "0 background #e8e6e1 Other ground, background",
        f"512 px, as trained; halo {spec.halo} px",
        f"[{spec.metrics[0].low:.3f}, {spec.metrics[0].high:.3f}]",
        *(source.attribution for source in spec.training.data),
        *(source.license for source in spec.training.data),
    ):
        assert text in out
    code, out, _ = geoseg("models", "show", "buildings-mininet2", "--json")
    assert json.loads(out)["properties"]["mlm:name"] == "buildings-mininet2"
    code, out, err = geoseg("models", "show", "buildings-minnet2")
    assert (code, out) == (2, "")
    assert "did you mean 'buildings-mininet2'" in err


def test_the_shipped_models_are_what_they_say(geoseg: Command) -> None:
    for name in shipped_bundles():
        code, out, err = geoseg("models", "verify", name)
        assert (code, err) == (0, ""), name
        lines = [line.split(maxsplit=2)[:2] for line in out.splitlines()]
        assert lines == [
            ["ok", check]
            for check in (
                "contract",
                "architecture",
                "weights",
                "fit",
                "forward",
                "odd",
                "receptive",
                "alignment",
                "graph",
            )
        ]


def _item(folder: Path, key: str, value: object) -> None:
    item = json.loads((folder / "item.json").read_text())
    item["properties"][key] = value
    (folder / "item.json").write_text(json.dumps(item))


@pytest.mark.parametrize(
    ("spoil", "check", "said"),
    [
        (lambda folder: (folder / "item.json").write_text("{"), "contract", "is not JSON"),
        (
            lambda folder: _item(folder, "geoseg:radius", 3),
            "architecture",
            "alignment 2 and radius 3, micronet",
        ),
        (
            lambda folder: flip_bit(folder / "weights.safetensors"),
            "weights",
            "is not the file that item.json describes",
        ),
        (lambda folder: (folder / "weights.safetensors").unlink(), "weights", "does not exist"),
        (
            lambda folder: reweigh(folder, lambda a: a["head.weight"].fill(np.nan)),
            "weights",
            "NaN or infinity",
        ),
        (
            lambda folder: reweigh(folder, lambda a: a.pop("head.weight")),
            "fit",
            "lacks tensor 'head.weight'",
        ),
        (lambda folder: _item(folder, "mlm:total_parameters", 7), "fit", "parameters, the contract says 7"),
        (
            lambda folder: reweigh(folder, lambda a: a["head.weight"].fill(0)),
            "forward",
            "the weights are dead",
        ),
        (
            lambda folder: reweigh(folder, lambda a: a["head.weight"].fill(3e38)),
            "forward",
            "logits are not finite",
        ),
    ],
    ids=["JSON", "radius", "flipped", "missing", "NaN", "unfit", "parameters", "dead", "overflow"],
)
def test_verify_names_what_is_wrong(
    geoseg: Command, tmp_path: Path, spoil: Callable[[Path], object], check: str, said: str
) -> None:
    random_bundle(tmp_path, arguments=SLIM, seed=7)
    spoil(tmp_path)
    code, out, err = geoseg("models", "verify", tmp_path)
    assert code == 2
    assert err.startswith(f"wrong  {check}")
    assert said in err
    assert err.count("\n") == 1, "one line"
    assert all(line.startswith("ok ") for line in out.splitlines())
    code, out, _ = geoseg("models", "verify", tmp_path, "--json")
    told = json.loads(out)
    assert (code, told["passed"]) == (2, False)
    assert [c["name"] for c in told["checks"] if not c["passed"]] == [check]


def test_a_network_that_sees_farther_than_it_says_is_caught(
    geoseg: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = random_bundle(tmp_path, arguments=SLIM)
    real = bundle.spec.receptive_field_radius
    assert real is not None
    from geoseg.models.networks.micronet import MicroNet  # noqa: PLC0415 - used here only

    monkeypatch.setattr(MicroNet, "receptive_field_radius", property(lambda _: real - 2))
    _item(tmp_path, "geoseg:radius", real - 2)
    code, _, err = geoseg("models", "verify", tmp_path)
    assert code == 2
    assert f"wrong  receptive field a pixel is seen {real} px away, the contract says {real - 2} px" in err


def test_the_template_is_a_card_and_import_makes_its_bundle(
    geoseg: Command, tmp_path: Path, template: Path
) -> None:
    code, out, err = geoseg("models", "import", "--template")
    assert (code, out, err) == (0, CARD_TEMPLATE, "")
    torch.save(state(), tmp_path / "weights.pt")
    code, out, err = geoseg(
        "models",
        "import",
        tmp_path / "weights.pt",
        "--card",
        template,
        "-o",
        tmp_path / "roofs",
        "--set",
        "version='2'",
    )
    assert (code, err) == (0, "")
    assert f"{tmp_path / 'roofs'}: my-roofs 2, micronet, " in out
    bundle = load_bundle(tmp_path / "roofs")
    spec = bundle.spec
    assert (spec.alignment, spec.receptive_field_radius, spec.halo, spec.halo_agreement) == (2, 7, 8, 1.0)
    assert (spec.scaling.mean, spec.bands) == ((123.675, 116.28, 103.53), ("red", "green", "blue"))
    assert all(torch.equal(bundle.network().state_dict()[key], value) for key, value in state().items())
    assert geoseg("models", "verify", tmp_path / "roofs")[0] == 0
    again = ("models", "import", tmp_path / "weights.pt", "--card", template, "-o", tmp_path / "roofs")
    code, _, err = geoseg(*again)
    assert code == 2
    assert "holds a bundle already" in err
    assert geoseg(*again, "--overwrite")[0] == 0
    assert load_bundle(tmp_path / "roofs").spec.version == "1"


@pytest.mark.parametrize(
    ("wrap", "told"),
    [
        (lambda s: {"epoch": 3, "state_dict": s}, "read the state dict under 'state_dict'"),
        (lambda s: {f"module.{k}": v for k, v in s.items()}, "took 'module.' off every name"),
        (
            lambda s: {"model": {f"module._orig_mod.{k}": v for k, v in s.items()}, "optimizer": {"lr": 0.1}},
            "took 'module._orig_mod.' off every name",
        ),
        (lambda s: {k: v.double() for k, v in s.items()}, "my-roofs 1"),
    ],
    ids=["checkpoint", "data parallel", "compiled", "double"],
)
def test_wrapped_state_dicts_are_unwrapped_and_it_is_said(
    geoseg: Command, tmp_path: Path, template: Path, wrap: Callable[[Any], Any], told: str
) -> None:
    torch.save(wrap(state()), tmp_path / "weights.pth")
    code, out, err = geoseg(
        "models", "import", tmp_path / "weights.pth", "--card", template, "-o", tmp_path / "b"
    )
    assert (code, err) == (0, "")
    assert told in out
    found = load_bundle(tmp_path / "b").network().state_dict()
    assert all(torch.equal(found[key], value) for key, value in state().items())


class _Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('ran')",))


def _write(path: Path, thing: Any) -> None:
    torch.save(thing, path)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: _write(path, state(classes=7)), "'head.weight' is (7, 8, 1, 1), needed (2, 8, 1, 1)"),
        (
            lambda path: _write(path, build("micronet-bm2", bands=3, classes=2).state_dict()),
            "they are those of micronet-bm2 with 3 bands and 2 classes",
        ),
        (
            lambda path: _write(path, build("mininet-1", bands=5, classes=4).state_dict()),
            "they are those of mininet-1 with 5 bands and 4 classes",
        ),
        (lambda path: _write(path, {"weights": _Harmful()}), "holds more than tensors, which could run code"),
        (lambda path: path.write_bytes(pickle.dumps(_Harmful())), "holds more than tensors, which could run"),
        (lambda path: _write(path, {"epoch": 3, "loss": 0.1}), "holds no state dict (it has epoch, loss)"),
        (lambda path: _write(path, {"a": torch.zeros(1).expand(10**9)}), "the file is damaged or forged"),
        (lambda path: _write(path, {k: v.bool() for k, v in state().items()}), "is bool; geoseg's"),
        (lambda path: _write(path, {k: v * torch.nan for k, v in state().items()}), "not finite"),
        (lambda path: path.write_text("weights"), "is not a file that torch.save wrote"),
        (lambda path: path.mkdir(), "is not a regular file"),
        (lambda _: None, "does not exist"),
    ],
    ids=[
        "classes", "architecture", "other family", "harmful", "bare pickle", "no weights", "expanded", "bool",
        "NaN", "text", "folder", "missing",
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused_in_one_line(
    geoseg: Command, tmp_path: Path, template: Path, write: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "weights.pt"
    write(path)
    code, out, err = geoseg("models", "import", path, "--card", template, "-o", tmp_path / "b")
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "b").exists()


def test_a_cards_mistakes_have_their_lines(geoseg: Command, tmp_path: Path, template: Path) -> None:
    card = tmp_path / "card.yaml"
    text = (
        template.read_text(encoding="utf-8")
        .replace("resolution: 0.3 m", "resolution: 30 px")
        .replace("title: R", "titel: R")
    )
    card.write_text(text, encoding="utf-8")
    code, _, err = geoseg("models", "import", "w.pt", "--card", card, "-o", tmp_path / "b")
    assert code == 2
    assert any("resolution" in line and f"{card}:" in line for line in err.splitlines())
    assert "did you mean 'title'" in err
    code, _, err = geoseg(
        "models", "import", "w.pt", "--card", template, "-o", "b", "--set", "scaling.std=[1.0]"
    )
    assert code == 2
    assert "scaling needs a mean and a std for each of the 3 bands" in err


def test_safetensors_of_half_precision_come_as_floats(tmp_path: Path, template: Path) -> None:
    halves = {key: value.numpy().astype(np.float16) for key, value in state().items()}
    save_file(halves, tmp_path / "weights.safetensors")
    found, within = read_state(tmp_path / "weights.safetensors")
    assert within == ()
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
    assert load_card(template).all_arguments == {"bands": 3, "classes": 2, **SLIM}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "model.bin"), "has no known format; name it .onnx or .pt2"),
        (("-o", "model.pt2", "--format", "onnx"), "writes a .onnx file"),
        (("-o", "model.pt2", "--tile", "64"), "--tile is for ONNX files"),
        (("-o", "model.onnx", "--tile", "100"), "must be a multiple of its alignment, 16 px"),
    ],
)
def test_an_export_that_makes_no_sense_is_refused(
    geoseg: Command, arguments: tuple[str, ...], said: str
) -> None:
    code, out, err = geoseg("models", "export", "buildings-mininet2", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert not Path(arguments[1]).exists()


def test_export_says_what_was_compared(geoseg: Command, tmp_path: Path) -> None:
    random_bundle(tmp_path / "b", arguments=SLIM)
    code, out, err = geoseg(
        "models", "export", tmp_path / "b", "-o", tmp_path / "m.onnx", "--format", "deepness"
    )
    assert (code, err) == (0, "")
    assert "compared with torch on 2 image sizes: probabilities differ by" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "m.onnx"]
