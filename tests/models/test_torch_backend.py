"""torch on a device whose memory runs short: the same bits from fewer windows at a time, or one sentence."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, cast
from weakref import ReferenceType, ref

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from geoseg.arrays import Bool, Float32
from geoseg.errors import RunError
from geoseg.models.backends.torch import TorchNetwork
from geoseg.models.bundle import load_bundle
from geoseg.models.networks.network import Network
from geoseg.models.runtime import Runtime, intra_op_threads

CPU = Runtime.resolve("cpu")
SPEC = load_bundle("buildings-mininet2").spec


class Device(nn.Module):
    """A network of single pixels, on a device that may be short of memory."""

    def __init__(self, short: Callable[[int, int], bool]) -> None:
        super().__init__()
        self.short = short  # of a call's number, from 1, and its windows
        self.asked: list[int] = []

    def forward(self, image: Tensor) -> Tensor:
        self.asked.append(len(image))
        if self.short(len(self.asked), len(image)):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.stack([image.sum(1).sin(), image[:, 0] * image[:, 2]], 1)


def _opened(short: Callable[[int, int], bool], runtime: Runtime = CPU) -> tuple[Device, TorchNetwork]:
    device = Device(short)
    return device, TorchNetwork(cast("Network", device), SPEC, runtime)


def _windows(count: int) -> tuple[Any, Bool]:
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (count, 3, 8, 12), np.uint8), rng.random((count, 8, 12)) > 0.1


def _whole(count: int) -> Float32:
    return _opened(lambda *_: False)[1].on_device(*_windows(count))


@pytest.mark.parametrize("count", [1, 2, 5, 8, 11])
@pytest.mark.parametrize("fits", [1, 2, 3, 5, 8])
def test_a_batch_is_halved_until_it_fits_and_no_bit_changes(
    count: int, fits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    emptied: list[None] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(None))
    device, network = _opened(lambda _, windows: windows > fits)
    assert np.array_equal(network.on_device(*_windows(count)), _whole(count))
    halves = [count]
    while halves[-1] > fits:
        halves.append(halves[-1] // 2)
    tried, most = halves[:-1], halves[-1]
    assert len(emptied) == len(tried)
    rest = [most] * (count // most) + [count % most] * (count % most > 0)
    assert device.asked == tried + rest
    # The next batch begins with what fitted.
    device.asked.clear()
    assert np.array_equal(network.on_device(*_windows(count)), _whole(count))
    assert device.asked == rest


@pytest.mark.parametrize(
    ("calls", "asked"), [((1, 2), [9, 4, 2, 2, 2, 2, 1]), ((1, 3), [9, 4, 4, 2, 2, 1]), ((2,), [9])]
)
def test_memory_that_another_program_takes_in_between_changes_no_bit(
    calls: tuple[int, ...], asked: list[int]
) -> None:
    device, network = _opened(lambda call, _: call in calls)
    assert np.array_equal(network.on_device(*_windows(9)), _whole(9))
    assert device.asked == asked


def test_a_window_that_does_not_fit_is_named_with_what_to_type() -> None:
    device, network = _opened(lambda *_: True)
    said = (
        r"^out of memory on the cpu with a window of 8×12 px and the model buildings-mininet2; "
        r"use a smaller tiling\.window$"
    )
    with pytest.raises(RunError, match=said):
        network.on_device(*_windows(5))
    assert device.asked == [5, 2, 1]


def test_other_errors_are_not_taken_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: pytest.fail("it is tried again"))
    device, network = _opened(lambda *_: False)
    with intra_op_threads(2), pytest.raises(RunError, match="threads"):
        network.on_device(*_windows(4))
    assert device.asked == []

    def broken(_: Tensor) -> Tensor:
        raise RuntimeError("device-side assert triggered")

    monkeypatch.setattr(device, "forward", broken)
    with pytest.raises(RuntimeError, match="device-side assert"):
        network.on_device(*_windows(4))


def test_pixels_are_pinned_for_a_gpu_alone_and_computed_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[Tensor] = []
    sent: list[tuple[str, bool, bool]] = []
    there: list[ReferenceType[Tensor]] = []
    left: list[int] = []

    def pin(tensor: Tensor) -> Tensor:
        pinned.append(tensor)
        return tensor

    def to(tensor: Tensor, device: str, *, non_blocking: bool) -> Tensor:
        sent.append((device, non_blocking, any(tensor is one for one in pinned)))
        copy = tensor.clone()
        there.append(ref(copy))
        return copy

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    monkeypatch.setattr(Tensor, "to", to)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it asks for a driver
    monkeypatch.setattr(
        torch.cuda, "empty_cache", lambda: left.append(sum(one() is not None for one in there))
    )
    expected = _whole(6)
    assert (pinned, sent) == ([], [])
    device, network = _opened(lambda _, windows: windows > 2, replace(CPU, device="cuda"))
    assert np.array_equal(network.on_device(*_windows(6)), expected)
    assert device.asked == [6, 3, 1, 1, 1, 1, 1, 1]
    # Pixels and validity of each try, of those that failed too.
    assert sent == [("cuda", True, True)] * 2 * len(device.asked)
    assert left == [0, 0], "what a try left on the device would be missing to the next"
