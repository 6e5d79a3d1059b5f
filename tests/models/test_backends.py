"""Backends: each computes the bundle's network, the same bits however it is asked, without torch."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bundles import cross_weights
from synthetic.bundles import random_bundle

from geoseg.arrays import Bool, Float32
from geoseg.config.model.contract import GraphFile
from geoseg.config.model.mlm import GRAPH_NAME, INT8_NAMES, WEIGHTS_NAME, to_item
from geoseg.errors import BundleError, RunError
from geoseg.io.files import write_json
from geoseg.io.weights import check_graph, stored_tensors, write_graph
from geoseg.models.bundle import ITEM_NAME, Bundle, load_bundle
from geoseg.models.cost.memory import model_pass_bytes, weights_bytes
from geoseg.models.exchange.verify import verify
from geoseg.models.graph import make_graph
from geoseg.models.predictor import Predictor
from geoseg.models.processor import INSTRUCTION_SETS, Processor
from geoseg.models.runtime import Backend, Precision, Runtime
from geoseg.models.saving import graphed_bundle

pytestmark = pytest.mark.slow

SHIPPED = ("buildings-liteunet", "buildings-mininet2")
HERE = Processor.here()
ARMS: list[tuple[Backend, Precision]] = [
    ("openvino", "fp32"),
    ("openvino", "int8"),
    ("onnxruntime", "fp32"),
]
if HERE.has("AVX512_CORE"):
    ARMS.append(("openvino", "bf16"))


def _windows(count: int, height: int, width: int) -> tuple[Float32, Bool]:
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (count, 3, -(-height // 8), -(-width // 8)))
    pixels = np.kron(coarse, np.ones((1, 1, 8, 8)))[..., :height, :width].astype(np.float32)
    return pixels, rng.random((count, height, width)) > 0.05


def _runtime(backend: Backend, precision: Precision = "fp32") -> Runtime:
    return Runtime.resolve("cpu", precision, backend=backend)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize(("backend", "precision"), ARMS)
def test_a_backend_computes_what_torch_does(name: str, backend: Backend, precision: Precision) -> None:
    bundle = load_bundle(name)
    if precision == "int8" and bundle.spec.int8 is None:
        with pytest.raises(BundleError, match="no int8 graph"):
            Predictor(bundle, _runtime(backend, precision))
        return
    pixels, valid = _windows(2, 128, 192)
    expected = Predictor(bundle).logits(pixels, valid)
    found = Predictor(bundle, _runtime(backend, precision)).logits(pixels, valid)
    assert found.dtype == np.float32
    # Noise is harder than any image: of int8 the mean is looked at.
    error, largest = np.abs(found - expected), np.abs(expected).max()
    if precision == "int8":
        assert 1e-4 * largest < error.mean() <= 0.05 * largest
    else:
        assert error.max() <= (0.05 if precision == "bf16" else 1e-4) * largest


FAMILIES: list[tuple[str, dict[str, Any]]] = [
    ("micronet", {"widths": [8, 16, 32]}),
    ("unet-short", {}),
    ("mobilenetv3-small", {"head": "da"}),
    ("mininet-1", {}),
]


@pytest.mark.parametrize(("architecture", "arguments"), FAMILIES, ids=lambda value: str(value)[:12])
def test_the_graph_of_other_families_is_the_network(
    architecture: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    bundle = random_bundle(tmp_path, architecture, arguments=arguments, graph=True, classes=3)
    side = max(64, 2 * bundle.spec.alignment)
    pixels, valid = _windows(1, side, 2 * side)
    expected = Predictor(bundle).logits(pixels, valid)
    for backend in ("openvino", "onnxruntime"):
        found = Predictor(bundle, _runtime(backend)).logits(pixels, valid)  # type: ignore[arg-type]
        assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max(), backend


@pytest.mark.parametrize(("backend", "precision"), ARMS)
@pytest.mark.parametrize("side", [16, 96, 200])
def test_batch_and_thread_change_no_bit(backend: Backend, precision: Precision, side: int) -> None:
    bundle, runtime = load_bundle("buildings-liteunet"), _runtime(backend, precision)
    pixels, valid = _windows(3, side, side)
    together = Predictor(bundle, runtime).logits(pixels, valid)

    def alone(index: int) -> Float32:
        return Predictor(bundle, runtime).logits(pixels[index : index + 1], valid[index : index + 1])[0]

    with ThreadPoolExecutor(3) as pool:
        for index, found in enumerate(pool.map(alone, (0, 1, 2))):
            assert np.array_equal(found, together[index])


def test_bytes_give_what_floats_give() -> None:
    bundle = load_bundle("buildings-mininet2")
    pixels, valid = _windows(1, 64, 64)
    for runtime in (None, _runtime("openvino")):
        floats = Predictor(bundle, runtime).logits(pixels, valid)
        assert np.array_equal(Predictor(bundle, runtime).logits(pixels.astype(np.uint8), valid), floats)


PREDICT = """
import socket, sys
events = []
sys.addaudithook(lambda event, _: events.append(event) if event.startswith("socket.") else None)
import hashlib
import numpy as np
from geoseg.models.bundle import load_bundle
from geoseg.models.predictor import Predictor
from geoseg.models.runtime import Runtime
runtime = Runtime.resolve("cpu", sys.argv[3], backend=sys.argv[2])
pixels = np.random.default_rng(3).integers(0, 256, (1, 3, 96, 96)).astype(np.float32)
logits = Predictor(load_bundle(sys.argv[1]), runtime).logits(pixels, np.ones((1, 96, 96), bool))
assert not [event for event in events if event != "socket.gethostname"], events
assert sys.modules.get("openvino_telemetry") is None
print(hashlib.sha256(logits.tobytes()).hexdigest(), "torch" in sys.modules)
"""


@pytest.mark.parametrize(("backend", "precision"), ARMS)
def test_another_process_computes_the_same_bits_without_torch_or_a_connection(
    backend: Backend, precision: Precision
) -> None:
    bundle = load_bundle("buildings-liteunet")
    pixels = np.random.default_rng(3).integers(0, 256, (1, 3, 96, 96)).astype(np.float32)
    here = Predictor(bundle, _runtime(backend, precision)).logits(pixels, np.ones((1, 96, 96), np.bool_))
    arguments = [sys.executable, "-c", PREDICT, str(bundle.folder), backend, precision]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [hashlib.sha256(here.tobytes()).hexdigest(), "False"]


def test_a_graph_is_small_and_its_weights_are_the_bundles(tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path / "own", graph=True)
    path, weights = bundle.graph_path(), bundle.folder / WEIGHTS_NAME
    assert path.stat().st_size < 0.1 * weights.stat().st_size
    data, state = weights.read_bytes(), bundle.network().state_dict()
    for name, (shape, first, size) in stored_tensors(weights).items():
        stored = np.frombuffer(data[first : first + size], np.float32).reshape(shape)
        assert np.array_equal(stored, state[name].numpy()), name


def test_a_copy_has_the_same_graph_and_an_old_bundle_gets_one(tmp_path: Path) -> None:
    old = random_bundle(tmp_path / "old")
    assert old.spec.graph is None
    with pytest.raises(BundleError, match="geoseg models graph"):
        Runtime.of_model(old.spec, backend="openvino")
    assert Runtime.of_model(old.spec, device="cpu").backend == "torch"
    new = graphed_bundle(old, tmp_path / "new")
    assert Runtime.of_model(new.spec, device="cpu").backend == "openvino"
    assert new.spec.model_copy(update={"graph": None}) == old.spec
    again = graphed_bundle(new, tmp_path / "again")
    assert again.spec.graph == new.spec.graph


def test_a_copy_with_a_graph_keeps_the_integers(tmp_path: Path) -> None:
    shipped = load_bundle("buildings-liteunet")
    copy = graphed_bundle(shipped, tmp_path)
    copy.check()
    assert copy.spec.int8 == shipped.spec.int8 is not None


def test_a_graph_that_computes_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = random_bundle(tmp_path, arguments={"widths": [8, 16, 32]}, graph=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def crossed(*given: Any) -> bytes:
        return cross_weights(make_graph(*given))

    monkeypatch.setattr("geoseg.models.saving.make_graph", crossed)
    said = r"the graph of random-test in OpenVINO gives other logits than torch, by 0\.\d+ of the largest"
    with pytest.raises(BundleError, match=said + r".*\(0\.0001 is allowed\); it was not kept"):
        graphed_bundle(bundle, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert all(check.passed for check in verify(tmp_path))
    data = crossed(bundle.network(), bundle.spec, tmp_path / WEIGHTS_NAME)
    sha256, size = write_graph(tmp_path / GRAPH_NAME, data)
    write_json(
        tmp_path / ITEM_NAME,
        to_item(bundle.spec.model_copy(update={"graph": GraphFile(sha256=sha256, size=size)})),
    )
    (wrong,) = (check for check in verify(tmp_path) if not check.passed)
    assert wrong.name == "graph"
    assert wrong.message.endswith(f"make it again: geoseg models graph {tmp_path} -o FOLDER")


@pytest.fixture
def broken(tmp_path: Path) -> Bundle:
    shutil.copytree(load_bundle("buildings-liteunet").folder, tmp_path / "copy")
    return load_bundle(tmp_path / "copy")


@pytest.mark.parametrize(
    ("name", "backend", "precision"),
    [
        (GRAPH_NAME, "openvino", "fp32"),
        (WEIGHTS_NAME, "openvino", "fp32"),
        (GRAPH_NAME, "onnxruntime", "fp32"),
        (WEIGHTS_NAME, "onnxruntime", "fp32"),
        (INT8_NAMES[0], "openvino", "int8"),
        (INT8_NAMES[1], "openvino", "int8"),
    ],
)
def test_altered_files_are_refused(broken: Bundle, name: str, backend: Backend, precision: Precision) -> None:
    path = broken.folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    altered = pytest.raises(BundleError, match=r"is not the file that item\.json describes")
    with altered:
        Predictor(broken, _runtime(backend, precision))
    with altered:
        broken.check()
    path.unlink()
    with pytest.raises(BundleError, match="does not exist"):
        Predictor(broken, _runtime(backend, precision))


def test_a_graph_that_reads_other_files_is_refused(broken: Bundle) -> None:
    path = broken.folder / GRAPH_NAME
    data = path.read_bytes().replace(WEIGHTS_NAME.encode(), b"../../etc/passwd.x!")
    path.write_bytes(data)
    with pytest.raises(BundleError, match="takes weights from other files"):
        check_graph(path, hashlib.sha256(data).hexdigest(), WEIGHTS_NAME)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"backend": "tensorrt"}, "backend must be auto, torch, openvino, onnxruntime, got 'tensorrt'"),
        ({"backend": "openvino", "precision": "fp16"}, "computes in fp32 or bf16 or int8"),
        ({"backend": "onnxruntime", "precision": "bf16"}, "computes in fp32, got precision 'bf16'"),
        ({"backend": "openvino", "device": "cuda"}, "computes on the CPU"),
        ({"backend": "openvino", "threads": 0}, "threads must be 1"),
    ],
)
def test_what_a_backend_does_not_have_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(RunError, match=said):
        Runtime.of_model(load_bundle("buildings-liteunet").spec, **arguments)


def test_a_backend_that_is_not_installed_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.models.runtime.find_spec", lambda _: None)
    with pytest.raises(RunError, match=r"onnxruntime is not installed here; pip install 'geoseg\[export\]'"):
        _runtime("onnxruntime")


def test_a_worker_with_another_instruction_set_or_version_is_refused() -> None:
    planned = _runtime("openvino")
    planned.check()
    with pytest.raises(RunError, match=r"library openvino 1\.0 planned"):
        replace(planned, library="openvino 1.0").check()
    with pytest.raises(RunError, match="processor AVX planned"):
        replace(planned, processor="AVX").check()


def test_bf16_is_refused_or_called_emulated_where_the_cpu_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Processor, "here", classmethod(lambda cls: cls("AVX2", "GenuineIntel")))
    with pytest.raises(RunError, match="bf16 needs a CPU with AVX512_CORE, this one has AVX2"):
        _runtime("openvino", "bf16")
    monkeypatch.setattr(Processor, "here", classmethod(lambda cls: cls("AVX512_CORE_VNNI", "GenuineIntel")))
    (doubt,) = _runtime("openvino", "bf16").doubts
    assert "emulated on AVX512_CORE_VNNI" in doubt
    monkeypatch.setattr(Processor, "here", classmethod(lambda cls: cls("AVX512_CORE_AMX", "GenuineIntel")))
    assert _runtime("openvino", "bf16").doubts == ()


def test_instruction_sets_are_onednns(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = "avx avx2 fma sse4_1 avx512f avx512bw avx512vl avx512dq avx512_vnni"

    def here() -> str:
        return Processor.here().instruction_set

    monkeypatch.setattr("geoseg.models.processor._read", lambda _: flags)
    assert here() == "AVX512_CORE_VNNI"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    assert here() == "AVX2"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_AMX")
    assert here() == "AVX512_CORE_VNNI"
    monkeypatch.setattr("geoseg.models.processor._read", lambda _: flags + " avx512_fp16 amx_tile")
    assert here() == "AVX512_CORE_VNNI"  # a set needs those before it
    monkeypatch.setattr("geoseg.models.processor._read", lambda _: "")
    assert here() == os.uname().machine


def test_a_set_has_what_is_before_it() -> None:
    for place, name in enumerate(INSTRUCTION_SETS):
        for other, less in enumerate(INSTRUCTION_SETS):
            assert Processor(name, "").has(less) == (other <= place)
    assert not Processor("aarch64", "").has("SSE41")


MEMORY = """
import json, sys
import numpy as np
from geoseg.models.bundle import load_bundle
from geoseg.models.predictor import Predictor
from geoseg.models.runtime import Runtime

def held(field):
    lines = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    return (int(lines[field].split()[0]) - int(lines["RssFile"].split()[0])) * 1024

side = int(sys.argv[4])
predictor = Predictor(load_bundle(sys.argv[1]), Runtime.resolve("cpu", sys.argv[3], backend=sys.argv[2]))
pixels, valid = np.zeros((1, 3, side, side), np.uint8), np.ones((1, side, side), bool)
predictor.logits(pixels[..., :64, :64], valid[..., :64, :64])
before = held("VmRSS")
for _ in range(2):
    predictor.logits(pixels, valid)
print(held("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from /proc")
@pytest.mark.parametrize(("backend", "precision"), ARMS)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_pass_stays_within_what_a_plan_counts(name: str, backend: Backend, precision: Precision) -> None:
    bundle, side = load_bundle(name), 768
    if precision == "int8" and bundle.spec.int8 is None:
        return
    arguments = [sys.executable, "-c", MEMORY, str(bundle.folder), backend, precision, str(side)]
    taken = json.loads(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)
    bound = model_pass_bytes(bundle.spec, side * side, backend, precision)
    copies = side * side * 4 * (3 + bundle.spec.channels)
    weights = weights_bytes(bundle.spec)  # reordered for this size of window
    assert 0.2 * bound < taken <= bound + copies + weights


def test_onnxruntime_takes_what_torch_does_in_small_windows_and_less_in_large_ones() -> None:
    spec = load_bundle("buildings-liteunet").spec
    for side, most in ((256, 1.0), (640, 0.85), (1024, 0.7)):
        share = model_pass_bytes(spec, side**2, "onnxruntime") / model_pass_bytes(spec, side**2)
        assert most - 0.1 < share <= most, side


SEVERAL_SIZES = """
import numpy as np
from geoseg.models.bundle import load_bundle
from geoseg.models.predictor import Predictor
from geoseg.models.runtime import Runtime

def held():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    return int(lines["RssAnon"].split()[0]) // 1000

predictor = Predictor(load_bundle("buildings-liteunet"), Runtime.resolve("cpu", backend="openvino"))
start, after = held(), []
for width in (640, 608, 640, 576, 608):
    pixels = np.zeros((1, 3, 640, width), np.float32)
    predictor.logits(pixels, np.ones((1, 640, width), bool))
    after.append(held() - start)
print(*after)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads what a process holds from /proc")
def test_windows_of_several_sizes_take_the_memory_of_one() -> None:
    done = subprocess.run([sys.executable, "-c", SEVERAL_SIZES], capture_output=True, text=True, check=True)
    first, *later = map(int, done.stdout.split())
    assert first > 50, "megabytes"
    assert max(later) < 1.35 * first
