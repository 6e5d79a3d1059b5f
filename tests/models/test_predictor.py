"""Prediction: no bit depends on batch, thread or process; invalid pixels say nothing; halos are measured."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic.bundles import random_bundle
from torch import Tensor, nn

from geoseg.arrays import Bool, Float32
from geoseg.config.model.contract import Scaling
from geoseg.errors import BundleError, GridError, RunError, SceneError
from geoseg.models.backends.torch import scaled_tensor
from geoseg.models.bundle import Bundle
from geoseg.models.networks.micronet import MicroNet
from geoseg.models.networks.registry import build
from geoseg.models.predictor import Predictor, measure_halo
from geoseg.models.runtime import Runtime, intra_op_threads, tune_allocator

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def micronet(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    arguments = {"widths": [8, 16, 32]}
    return random_bundle(tmp_path_factory.mktemp("micro"), arguments=arguments, classes=3)


@pytest.fixture(scope="module")
def mininet(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return random_bundle(tmp_path_factory.mktemp("mini"), "mininet-1", halo=32)


@pytest.fixture(params=["micronet", "mininet"])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return cast("Bundle", request.getfixturevalue(request.param))


def _images(count: int, height: int, width: int, seed: int = 0) -> tuple[Float32, Bool]:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 3, height, width)).astype(np.float32)
    return pixels, rng.random((count, height, width)) > 0.1


def test_logits_are_the_network_on_scaled_pixels(bundle: Bundle) -> None:
    pixels, valid = _images(1, 48, 64)
    found = Predictor(bundle).logits(pixels, valid)
    seen = (pixels - 110) / 60 * valid[:, None]
    with torch.inference_mode(), intra_op_threads(1):
        expected = cast("Tensor", bundle.network()(torch.from_numpy(seen)))
    assert found.dtype == np.float32
    assert found.shape == (1, len(bundle.spec.classes), 48, 64)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [16, 64, 160])
def test_the_batch_changes_no_bit(bundle: Bundle, side: int) -> None:
    # Small sides matter: torch alone would take another algorithm for one window than for three.
    predictor = Predictor(bundle)
    pixels, valid = _images(3, side, side)
    together = predictor.logits(pixels, valid)
    for index in range(3):
        alone = predictor.logits(pixels[index : index + 1], valid[index : index + 1])
        assert np.array_equal(alone[0], together[index])


def test_threads_and_processes_change_no_bit(mininet: Bundle) -> None:
    pixels, valid = _images(1, 96, 96)
    here = Predictor(mininet).logits(pixels, valid)
    with ThreadPoolExecutor(3) as pool:
        for there in pool.map(lambda _: Predictor(mininet).logits(pixels, valid), range(6)):
            assert np.array_equal(there, here)
    code = (
        "import hashlib, sys, numpy as np; from geoseg.models.bundle import load_bundle;"
        "from geoseg.models.predictor import Predictor; rng = np.random.default_rng(0);"
        "pixels = rng.integers(0, 256, (1, 3, 96, 96)).astype(np.float32);"
        "logits = Predictor(load_bundle(sys.argv[1])).logits(pixels, rng.random((1, 96, 96)) > 0.1);"
        "print(hashlib.sha256(logits.tobytes()).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, str(mininet.folder)], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == hashlib.sha256(here.tobytes()).hexdigest()


@settings(max_examples=15)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_odd_sizes_are_padded_with_fill_and_cropped(mininet: Bundle, height: int, width: int) -> None:
    predictor = Predictor(mininet)
    pixels, valid = _images(1, height, width)
    more = ((0, 0), (0, -height % 16), (0, -width % 16))
    wide = np.pad(pixels, ((0, 0), *more), constant_values=7), np.pad(valid, more, constant_values=False)
    found = predictor.logits(pixels, valid)
    assert found.shape[2:] == (height, width)
    assert np.array_equal(found, predictor.logits(*wide)[..., :height, :width])


@settings(max_examples=15)
@given(seed=st.integers(0, 99), junk=st.sampled_from([np.nan, np.inf, -np.inf, 3e38, 0.0, 255.0]))
def test_invalid_pixels_say_nothing(mininet: Bundle, seed: int, junk: float) -> None:
    predictor = Predictor(mininet)
    pixels, valid = _images(1, 40, 33, seed)
    other = np.where(valid[:, None], pixels, np.float32(junk))
    found = predictor.logits(other, valid)
    assert np.isfinite(found).all()
    assert np.array_equal(found, predictor.logits(pixels, valid))


def test_scaled_is_zero_without_data() -> None:
    pixels = torch.tensor([[[[10.0, torch.nan]], [[4.0, 5.0]]]])
    image = scaled_tensor(pixels, torch.tensor([[[True, False]]]), Scaling(mean=(8.0, 4.0), std=(2.0, 0.5)))
    assert image.tolist() == [[[[1.0, 0.0]], [[0.0, 0.0]]]]


def test_read_only_and_strided_arrays_are_fine_and_stay_as_they_are(mininet: Bundle) -> None:
    pixels, valid = _images(1, 32, 64)
    pixels.setflags(write=False)
    valid.setflags(write=False)
    before = pixels.copy()
    predictor = Predictor(mininet)
    half = predictor.logits(pixels[..., ::2], valid[..., ::2])
    assert np.array_equal(half, predictor.logits(pixels[..., ::2].copy(), valid[..., ::2].copy()))
    assert np.array_equal(pixels, before)
    assert predictor.logits(pixels[:0], valid[:0]).shape == (0, 2, 32, 64)


def test_a_network_outside_a_bundle_predicts_the_same(mininet: Bundle) -> None:
    network = build("mininet-1", bands=3, classes=2, auxiliary=True)
    network.load_state_dict(mininet.network().state_dict(), strict=False)
    pixels, valid = _images(1, 48, 48)
    found = Predictor.of(network, mininet.spec).logits(pixels, valid)
    assert np.array_equal(found, Predictor(mininet).logits(pixels, valid))
    assert network.training, "the given network is left as it was"


def test_bf16_is_near_fp32(mininet: Bundle) -> None:
    pixels, valid = _images(1, 64, 64)
    low = Predictor(mininet, Runtime.resolve("cpu", "bf16")).logits(pixels, valid)
    full = Predictor(mininet).logits(pixels, valid)
    assert low.dtype == np.float32
    assert not np.array_equal(low, full)
    assert np.abs(low - full).max() < 0.05 * np.abs(full).max()


class _Watch(MicroNet):
    """Notes how many threads its operations may use."""

    def __init__(self) -> None:
        super().__init__(3, 2, widths=(4,), encoder=(1,), decoder=(1,))
        self.seen: list[int] = []

    def forward(self, pixels: Tensor) -> Tensor:
        self.seen.append(torch.get_num_threads())
        return super().forward(pixels)


def _watching(spec: Any, threads: int) -> tuple[Predictor, _Watch]:
    predictor = Predictor.of(_Watch(), spec, Runtime.resolve("cpu", threads=threads))
    return predictor, cast("_Watch", cast("Any", predictor._network)._network)


def test_the_number_of_threads_holds_in_every_thread_and_is_put_back(micronet: Bundle) -> None:
    spec = micronet.spec.model_copy(update={"classes": micronet.spec.classes[:2], "alignment": 1})
    pixels, valid = _images(1, 8, 8)
    with intra_op_threads(2):
        # As in a program that set its own number, in this thread and before others start.
        assert torch.get_num_threads() == 2
    before = torch.get_num_threads()
    for threads in (1, 2):
        predictor, watch = _watching(spec, threads)
        predictor.logits(pixels, valid)
        worker = threading.Thread(target=predictor.logits, args=(pixels, valid))
        worker.start()
        worker.join()
        assert watch.seen == [threads, threads]
    assert torch.get_num_threads() == before


def test_two_numbers_of_threads_at_once_are_refused() -> None:
    refused: list[RunError] = []

    def other() -> None:
        with (
            pytest.raises(RunError, match="another prediction in this process") as caught,
            intra_op_threads(2),
        ):
            pass
        refused.append(caught.value)

    with intra_op_threads(1):
        worker = threading.Thread(target=other)
        worker.start()
        worker.join()
    assert len(refused) == 1
    with intra_op_threads(2):
        assert torch.get_num_threads() == 2


def test_no_memory_is_one_clear_line(micronet: Bundle) -> None:
    class Greedy(_Watch):
        def forward(self, pixels: Tensor) -> Tensor:
            torch.empty(2**50)
            return super().forward(pixels)

    predictor = Predictor.of(Greedy(), micronet.spec)
    with pytest.raises(RunError, match=r"out of memory on the cpu with a window of 8×8 px"):
        predictor.logits(*_images(1, 8, 8))


@pytest.mark.parametrize(
    ("pixels", "valid", "error", "said"),
    [
        (np.zeros((1, 4, 8, 8), np.float32), np.ones((1, 8, 8), bool), SceneError, "3 bands .*red.* got 4"),
        (np.zeros((3, 8, 8), np.float32), np.ones((8, 8), bool), GridError, "N, C, H, W"),
        (np.zeros((1, 3, 8, 8), np.float32), np.ones((1, 8, 9), bool), GridError, "N, H, W"),
        (np.zeros((1, 3, 8, 8), np.int16), np.ones((1, 8, 8), bool), GridError, "int16"),
        (np.zeros((1, 3, 8, 8), np.float32), np.ones((1, 8, 8), np.uint8), GridError, "uint8"),
    ],
)
def test_wrong_arrays_are_refused(
    mininet: Bundle, pixels: Any, valid: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        Predictor(mininet).logits(pixels, valid)


def test_a_runtime_is_resolved_once_and_compared() -> None:
    planned = Runtime.resolve("cpu")
    assert (planned.precision, planned.threads, planned.library) == ("fp32", 1, f"torch {torch.__version__}")
    assert Runtime.resolve("cpu", "fp32", 1) == planned
    planned.check()
    for change, said in (
        ({"processor": "ABACUS"}, "processor ABACUS planned"),
        ({"library": "torch 1.0"}, "library torch 1.0 planned"),
        ({"geoseg": "0.0.1"}, "geoseg 0.0.1 planned"),
    ):
        with pytest.raises(RunError, match=said) as caught:
            replace(planned, **cast("Any", change)).check()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"device": "tpu"}, "device must be auto, cpu or cuda, got 'tpu'"),
        ({"precision": "int8"}, "precision must be auto, fp32 or bf16 or fp16, got 'int8'"),
        ({"threads": 0}, "threads must be 1"),
    ],
)
def test_an_impossible_runtime_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(RunError, match=said):
        Runtime.resolve(**arguments)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(RunError, match="sees no GPU"):
        Runtime.resolve("cuda")
    assert Runtime.resolve("auto").device == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_agrees_with_the_cpu(mininet: Bundle) -> None:
    pixels, valid = _images(2, 64, 64)
    cpu, gpu = (
        Predictor(mininet, Runtime.resolve(device)).logits(pixels, valid) for device in ("cpu", "cuda")
    )
    assert (cpu.argmax(1) == gpu.argmax(1)).mean() >= 0.9999


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_the_allocator_is_tuned_once_unless_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tune_allocator()
    assert tune_allocator.cache_info().currsize == 1
    monkeypatch.setenv("GEOSEG_TUNE_MALLOC", "0")
    assert not tune_allocator.__wrapped__()


def _tiny(folder: Path) -> Bundle:
    """Alignment 2, radius 9."""
    arguments = {"widths": [8, 8], "encoder": [1, 1], "decoder": [1]}
    return random_bundle(folder, arguments=arguments)


def test_measured_halo_is_the_smallest_that_agrees(tmp_path: Path) -> None:
    bundle = _tiny(tmp_path)
    radius, exact = bundle.spec.receptive_field_radius, bundle.spec.exact_halo
    assert radius is not None
    windows = [(p, v) for p, v in zip(*_images(2, 64, 70), strict=True)]
    halo, share = measure_halo(bundle, windows, core=32)
    assert 0 < halo <= cast("int", exact)
    assert share >= 0.9999
    assert measure_halo(bundle, windows, core=32, agreement=1.0)[0] >= halo
    lax, lower = measure_halo(Predictor(bundle), windows, core=32, agreement=0.5)
    assert lax < halo
    assert lower < share


def test_a_halo_as_wide_as_the_radius_agrees_on_every_pixel(tmp_path: Path) -> None:
    bundle = _tiny(tmp_path)
    pixels, valid = _images(1, 64, 64)
    predictor = Predictor(bundle)
    whole = predictor.logits(pixels, valid)
    halo = cast("int", bundle.spec.exact_halo)
    cut = np.s_[..., 16 - halo : 48 + halo, 16 - halo : 48 + halo]
    part = predictor.logits(pixels[cut], valid[cut])
    # Windows this small make torch choose other algorithms: equal but for rounding. Windows of the size that
    # maps are made with are equal in every bit (test_micronet_sees_the_same_at_any_aligned_offset).
    np.testing.assert_allclose(part[..., halo:-halo, halo:-halo], whole[..., 16:48, 16:48], atol=1e-5)


@pytest.mark.parametrize(
    ("windows", "said"),
    [
        ([], "needs a window"),
        ([(np.zeros((3, 32, 32), np.float32), np.ones((32, 32), bool))], "windows of at least"),
    ],
)
def test_a_halo_cannot_be_measured_on_too_little(tmp_path: Path, windows: Any, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        measure_halo(_tiny(tmp_path), windows, core=32)


def test_a_halo_needs_windows_large_enough_to_agree(mininet: Bundle) -> None:
    network = mininet.network()
    assert isinstance(network, nn.Module)
    windows = list(zip(*_images(1, 128, 128), strict=True))
    with pytest.raises(BundleError, match=r"halo of 16 px leaves .* give windows larger than 128 px"):
        measure_halo(mininet, windows, core=64, agreement=1.0)
