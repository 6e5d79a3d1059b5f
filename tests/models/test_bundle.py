"""Bundles: the contract survives its file, the schemas accept it, nothing altered or foreign is loaded."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from support.bundles import flip_bit, reweigh
from support.stac import stac_validator
from synthetic.bundles import random_bundle

from geoseg.config.model.contract import (
    BundleSpec,
    ClassSpec,
    DataSource,
    Metric,
    Scaling,
    Training,
    WeightsFile,
)
from geoseg.config.model.mlm import from_item, to_item
from geoseg.errors import BundleError, OutputError
from geoseg.io.weights import read_item, read_weights, write_weights
from geoseg.models.bundle import Bundle, load_bundle, shipped_bundles
from geoseg.models.networks.registry import build
from geoseg.models.saving import save_bundle

pytestmark = pytest.mark.slow

NUMBER = st.floats(-1e6, 1e6)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1)


@st.composite
def specs(draw: st.DrawFn) -> BundleSpec:
    """Saved contracts of any shape."""
    bands = draw(st.lists(st.sampled_from(["red", "green", "blue", "nir", "b5"]), min_size=1, unique=True))
    classes = draw(st.integers(2, 6))
    background = draw(st.integers(-1, classes - 1))
    alignment = draw(st.sampled_from([1, 4, 16]))
    return BundleSpec(
        name=draw(st.from_regex(r"[a-z][a-z0-9-]{1,20}[a-z0-9]", fullmatch=True)),
        version=draw(st.sampled_from(["1", "2.10", "3.0.1"])),
        title=draw(TEXT),
        description=draw(TEXT),
        license="CC-BY-4.0",
        architecture="mininet-1",
        arguments={"bands": len(bands), "classes": classes, "widths": [16, 32, 64, 64], "short": True},
        bands=tuple(bands),
        scaling=Scaling(
            mean=tuple(draw(NUMBER) for _ in bands), std=tuple(draw(st.floats(1e-3, 1e6)) for _ in bands)
        ),
        value_dtype=draw(st.sampled_from(["uint8", "uint16", "float32"])),
        values=draw(st.sampled_from([None, "display", "reflectance", "raw"])),
        value_range=draw(st.none() | st.just(tuple((-0.5, float(i)) for i, _ in enumerate(bands)))),
        classes=tuple(
            ClassSpec(id=i, name=f"c{i}", title=draw(TEXT), color=f"#0{i}AaFf", background=i == background)
            for i in range(classes)
        ),
        resolution=draw(st.floats(0.01, 100)),
        resolution_tolerance=draw(st.floats(0, 1)),
        coarsest_resolution=draw(st.none() | st.floats(0.01, 100)),
        alignment=alignment,
        receptive_field_radius=draw(st.none() | st.integers(0, 2000)),
        halo=draw(st.integers(0, 20)) * alignment,
        halo_agreement=draw(st.floats(0, 1)),
        training=Training(
            data=(DataSource(name=draw(TEXT), attribution=draw(TEXT), license="ODbL-1.0", url=None),),
            seed=draw(st.integers(0, 2**32)),
            procedure=draw(TEXT),
        ),
        metrics=(Metric(name="iou", value=draw(st.floats(0, 1)), low=0.1, data="right half"),),
        weights=WeightsFile.model_validate(
            {
                "sha256": draw(st.from_regex("[0-9a-f]{64}", fullmatch=True)),
                "size": 9,
                "parameters": 7,
                "created": draw(st.datetimes()).replace(microsecond=0).isoformat() + "Z",
                "geoseg": "0.1.0",
                "torch": "2.11.0+cpu",
            }
        ),
    )


@given(specs())
def test_a_contract_survives_its_item(spec: BundleSpec) -> None:
    item = json.loads(json.dumps(to_item(spec), allow_nan=False))
    again = from_item(item)
    assert again == spec
    assert again.identity == spec.identity
    assert to_item(again) == item


@given(specs())
def test_what_a_contract_says_of_values_and_ground_decides_no_pixel(spec: BundleSpec) -> None:
    bare = spec.model_copy(update={"values": None, "value_range": None, "coarsest_resolution": None})
    assert bare.identity == spec.identity
    item = to_item(bare)
    assert not {"geoseg:values", "geoseg:value_range", "geoseg:coarsest_resolution"} & set(item["properties"])
    assert from_item(item) == bare, "an older bundle, without these fields, is read"
    assert all(low <= high for low, high in bare.seen_range)


def test_shipped_models_say_what_ground_and_values_they_know() -> None:
    for name in shipped_bundles():
        spec = load_bundle(name).spec
        assert (spec.values, spec.coarsest_resolution) == ("display", 0.42), name
        assert all(0 <= low < high <= 255 for low, high in spec.seen_range), name


@pytest.fixture(scope="session")
def validate_item(shared_data: Path) -> Callable[[dict[str, Any]], list[str]]:
    """STAC core and extension schemas, offline."""
    from pystac import STACObjectType  # noqa: PLC0415 - only where the schemas are
    from pystac.validation import validate_dict  # noqa: PLC0415

    validator = stac_validator(shared_data.parent / "schemas")
    return lambda item: [str(uri) for uri in validate_dict(item, STACObjectType.ITEM, validator=validator)]


def test_the_item_is_valid_stac_with_all_its_extensions(
    micronet: Bundle, validate_item: Callable[[dict[str, Any]], list[str]]
) -> None:
    item = read_item(micronet.folder / "item.json")
    checked = validate_item(item)
    for extension in ("item.json", "mlm/v1.5.2", "raster/v1.1.0", "classification/v1.1.0", "file/v2.1.0"):
        assert any(extension in uri for uri in checked), extension
    item["properties"]["mlm:tasks"] = ["fortune-telling"]
    from pystac import STACValidationError  # noqa: PLC0415 - see above

    with pytest.raises(STACValidationError):
        validate_item(item)


@pytest.fixture(scope="module")
def micronet(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return random_bundle(
        tmp_path_factory.mktemp("bundle"), arguments={"widths": [8, 8], "encoder": [1], "decoder": [1]}
    )


@pytest.fixture
def altered(micronet: Bundle, tmp_path: Path) -> Path:
    """A copy to break."""
    for path in micronet.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_bundle_is_found_by_folder_and_by_item_and_is_small(micronet: Bundle) -> None:
    assert load_bundle(micronet.folder) == load_bundle(str(micronet.folder / "item.json")) == micronet
    assert sorted(path.name for path in micronet.folder.iterdir()) == ["item.json", "weights.safetensors"]
    frozen = pickle.dumps(micronet)
    assert len(frozen) < 4096
    assert pickle.loads(frozen) == micronet  # noqa: S301 - our own bytes
    assert micronet.spec.weights is not None
    assert micronet.spec.weights.parameters == sum(p.numel() for p in micronet.network().parameters())
    assert (micronet.spec.receptive_field_radius, micronet.spec.exact_halo) == (7, 8)


def test_every_shipped_bundle_loads() -> None:
    for name, folder in shipped_bundles().items():
        bundle = load_bundle(name)
        assert bundle.spec.name == name
        assert bundle.folder == folder
        assert bundle.spec.training.data, "whoever made the data is named"
        assert not bundle.network().training


def test_a_contract_is_read_without_torch(micronet: Bundle) -> None:
    code = (
        "import sys; from geoseg.models.bundle import load_bundle; load_bundle(sys.argv[1]).spec.identity;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(micronet.folder)], check=True)


def test_a_network_is_loaded_once_for_all_threads(altered: Path) -> None:
    bundle = load_bundle(altered)
    with ThreadPoolExecutor(8) as pool:
        networks = list(pool.map(lambda _: bundle.network(), range(16)))
    assert len({id(network) for network in networks}) == 1
    assert not networks[0].training
    assert not any(parameter.requires_grad for parameter in networks[0].parameters())


def test_weights_come_back_bit_for_bit_and_equal_weights_give_equal_files(tmp_path: Path) -> None:
    first = random_bundle(tmp_path / "a", "mininet-1", seed=5)
    second = random_bundle(tmp_path / "b", "mininet-1", seed=5)
    assert first.spec.sha256 == second.spec.sha256
    assert random_bundle(tmp_path / "c", "mininet-1", seed=6).spec.sha256 != first.spec.sha256
    torch.manual_seed(5)
    made = build("mininet-1", bands=3, classes=2).state_dict()
    found = first.network().state_dict()
    assert found.keys() == made.keys()
    assert all(torch.equal(found[key], made[key]) for key in made)


def test_identity_is_all_that_decides_the_output(tmp_path: Path) -> None:
    plain = random_bundle(tmp_path / "a", "mininet-1")
    # The same weights file, another network: short residuals have no weights.
    other = random_bundle(tmp_path / "b", "mininet-1", arguments={"short": False})
    assert plain.spec.sha256 == other.spec.sha256
    assert plain.spec.identity != other.spec.identity
    image = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        assert not torch.equal(plain.network()(image), other.network()(image))  # type: ignore[arg-type]
    relabeled = plain.spec.model_copy(update={"title": "Another title", "metrics": ()})
    assert relabeled.identity == plain.spec.identity


def test_auxiliary_heads_are_not_saved(tmp_path: Path, micronet: Bundle) -> None:
    torch.manual_seed(0)
    network = build("mininet-1", bands=3, classes=2, auxiliary=True)
    plain = random_bundle(tmp_path / "a", "mininet-1")
    saved = save_bundle(tmp_path / "b", plain.spec, network)
    assert saved.spec.sha256 == plain.spec.sha256
    assert network.training
    wrong = build("mininet-1", bands=3, classes=2, short=False)
    with pytest.raises(BundleError, match="computes something else than mininet-1"):
        save_bundle(tmp_path / "c", plain.spec, wrong)
    with pytest.raises(BundleError, match="the network given for random-test lacks tensor"):
        save_bundle(tmp_path / "c", micronet.spec, network)
    with pytest.raises(BundleError, match="radius 9999 but mininet-1"):
        save_bundle(tmp_path / "c", plain.spec.model_copy(update={"receptive_field_radius": 9999}), network)
    assert not (tmp_path / "c").exists()


def test_a_network_that_diverged_is_not_saved(tmp_path: Path, micronet: Bundle) -> None:
    network = copy.deepcopy(micronet.network())
    next(network.parameters()).data[0] = torch.nan
    with pytest.raises(BundleError, match="not finite: the training diverged"):
        save_bundle(tmp_path / "x", micronet.spec, network)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_weights_of_any_header_length_are_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    firsts = set()
    for length in range(1, 260, 7):
        sha256, _ = write_weights(path, {"n" * length: np.zeros(1, np.float32)})
        assert list(read_weights(path, sha256)) == ["n" * length]
        firsts.add(path.read_bytes()[0])
    assert 0x80 in firsts, "with which pickles begin, too"


def _pickled(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


def _bare_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(os.getcwd))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_pickled, "is a zip archive, as torch.save .*convert it with safetensors"),
        (_bare_pickle, "is a Python pickle"),
        (flip_bit, "sha256 [0-9a-f]{64}, expected [0-9a-f]{64}.*fetch the bundle again"),
        (_cut, "sha256 [0-9a-f]{64}, expected [0-9a-f]{64}"),
        (Path.unlink, "does not exist"),
        (lambda path: (path.unlink(), path.mkdir()), "is not a regular file"),
        (_pipe, "is not a regular file"),
    ],
    ids=["torch.save", "pickle", "flipped bit", "truncated", "missing", "folder", "pipe"],
)
def test_spoilt_weights_are_refused_in_one_line(
    altered: Path, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(altered / "weights.safetensors")
    # The weights that this process knows by their hash stay usable: they are what the contract asks for.
    spec = load_bundle(altered).spec
    with pytest.raises(BundleError, match=said) as caught:
        read_weights(altered / "weights.safetensors", spec.sha256)
    assert "\n" not in str(caught.value)
    assert "weights.safetensors" in str(caught.value)


def _reweighed(folder: Path, change: Callable[[dict[str, Any]], object]) -> BundleError:
    """What loading says of another, honestly hashed weights file."""
    reweigh(folder, change)
    with pytest.raises(BundleError) as caught:
        load_bundle(folder).network()
    return caught.value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.pop("head.weight"), "lacks tensor 'head.weight';"),
        (lambda a: a.update(more=np.zeros(1, np.float32), most=np.ones(1, np.float32)), "unknown tensor 'mo"),
        (
            lambda a: a.update({"head.weight": np.zeros((2, 9, 1, 1), np.float32)}),
            "(2, 9, 1, 1), the network",
        ),
        (lambda a: a.update({"head.weight": np.zeros((2, 8, 1, 1), np.float16)}), "float16, not float32"),
        (lambda a: a["head.weight"].fill(np.nan), "holds NaN"),
    ],
    ids=["missing", "extra", "shape", "dtype", "NaN"],
)
def test_weights_of_another_network_are_refused(
    altered: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    error = str(_reweighed(altered, change))
    assert said in error
    assert "\n" not in error


def _at(item: Any, path: str, value: object) -> None:
    *parents, last = path.split("/")
    for key in parents:
        item = item[int(key) if isinstance(item, list) else key]
    item[int(last) if isinstance(item, list) else last] = value


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("type", "Collection", "describes no model"),
        ("properties/geoseg:hallo", 4, "unknown key 'geoseg:hallo'; did you mean 'geoseg:halo'"),
        ("properties/geoseg:halo", 3, "halo 3 is not a multiple of the alignment 2"),
        ("properties/geoseg:halo", -2, "geoseg:halo: should be greater than or equal to 0, got -2"),
        ("properties/geoseg:resolution", 0, "geoseg:resolution: should be greater than 0"),
        ("properties/geoseg:value_dtype", "complex64", "geoseg:value_dtype: should be 'uint8'"),
        ("properties/geoseg:arguments", {"bands": 4, "classes": 2}, "arguments.bands is 4 but there are 3"),
        ("properties/geoseg:fill", 1, "geoseg:fill"),
        ("properties/mlm:input", [], "save the bundle again"),
        ("properties/mlm:name", "../../etc", "mlm:name: string should match"),
        ("properties/mlm:input/0/value_scaling/0/type", "min-max", "'min-max' is unknown"),
        ("properties/mlm:output/0/classification:classes/1/value", 7, "ids must be 0, 1, 2"),
        ("assets/weights/href", "../../../etc/passwd", "href must be ./weights.safetensors"),
        ("assets/weights/file:checksum", "1114" + "0" * 40, "sha2-256"),
        ("assets", {}, "'weights' is missing"),
    ],
)
def test_a_spoilt_contract_is_refused_in_one_line(altered: Path, path: str, value: object, said: str) -> None:
    item = json.loads((altered / "item.json").read_text())
    _at(item, path, value)
    (altered / "item.json").write_text(json.dumps(item))
    with pytest.raises(BundleError) as caught:
        load_bundle(altered)
    assert said in str(caught.value)
    assert "item.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def _nodes(value: Any, path: str = "") -> list[str]:
    """Paths of all that a JSON value holds."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    found = [path] if path else []
    for key, child in children:
        found += _nodes(child, f"{path}/{key}" if path else str(key))
    return found


JUNK: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.just([]) | st.just({})
)


@given(st.data())
def test_any_spoilt_contract_is_read_or_refused_in_one_line(micronet: Bundle, data: st.DataObject) -> None:
    item = json.loads((micronet.folder / "item.json").read_text())
    path = data.draw(st.sampled_from([p for p in _nodes(item) if not p.startswith("stac_extensions/")]))
    _at(item, path, data.draw(JUNK | st.lists(JUNK, max_size=2) | st.dictionaries(st.just("a"), JUNK)))
    said = ""
    try:
        spec = from_item(item)
        assert from_item(to_item(spec)) == spec
    except BundleError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "item.json:1: is not JSON"),
        ('{"a": 1,\n "a": 2}', "key 'a' is there twice"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ("[1]", "a JSON list"),
        ("[" * 100_000, "item.json"),
        (" " * 2_000_001, "larger than 2 MB"),
    ],
)
def test_what_is_no_item_is_refused(altered: Path, text: str, said: str) -> None:
    (altered / "item.json").write_text(text)
    with pytest.raises(BundleError, match=said) as caught:
        load_bundle(altered)
    assert "\n" not in str(caught.value)


def test_a_hostile_contract_allocates_nothing(altered: Path) -> None:
    item = json.loads((altered / "item.json").read_text())
    arguments = {"bands": 3, "classes": 2, "widths": [4096] * 6, "encoder": [1] * 16, "decoder": [1] * 16}
    properties = item["properties"]
    properties |= {"geoseg:arguments": arguments, "geoseg:alignment": 32, "geoseg:halo": 0}
    properties["geoseg:radius"] = build_radius(arguments)
    (altered / "item.json").write_text(json.dumps(item))
    with pytest.raises(BundleError, match=r"tensor 'encoder\.0\.0\.squeeze\.weight' is|lacks tensor"):
        load_bundle(altered).network()


def build_radius(arguments: dict[str, Any]) -> int | None:
    with torch.device("meta"):
        return build("micronet", **arguments).receptive_field_radius


def test_an_unknown_name_lists_what_is_shipped() -> None:
    with pytest.raises(BundleError, match=r"no model 'buildings-mininet9'.*geoseg ships") as caught:
        load_bundle("buildings-mininet9")
    for name in shipped_bundles():
        assert name in str(caught.value)


def test_an_unsaved_contract_has_no_item(micronet: Bundle) -> None:
    unsaved = micronet.spec.model_copy(update={"weights": None})
    for use in (to_item, lambda spec: spec.sha256, lambda spec: spec.identity):
        with pytest.raises(BundleError, match="no weights yet"):
            use(unsaved)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bands": ("red", "red", "blue")}, "names a band twice"),
        ({"halo": 3}, "not a multiple"),
        ({"scaling": Scaling(mean=(1.0,), std=(1.0,))}, "mean and a std for each of the 3"),
        ({"unknown": 1}, "Extra inputs"),
    ],
)
def test_a_contract_that_contradicts_itself_cannot_be_made(
    micronet: Bundle, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        BundleSpec.model_validate(dict(micronet.spec) | change)


def test_only_float32_is_written_and_a_file_where_the_folder_should_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="'w' is float64"):
        write_weights(tmp_path / "weights.safetensors", {"w": np.zeros(3)})
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        write_weights(tmp_path / "file" / "weights.safetensors", {"w": np.zeros(3, np.float32)})
