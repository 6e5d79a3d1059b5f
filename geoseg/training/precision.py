"""Where and in which precision a network learns: device, autocast, gradient scaling, layout, threads."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import nn

from geoseg.models.runtime import intra_op_threads, reproducible_cudnn, resolve_device, tune_allocator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from geoseg.models.runtime import Device, Precision

__all__ = ["TrainingRuntime"]

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class TrainingRuntime:
    """Device, precision and threads of a training, resolved."""

    device: str  # ``cpu``, or ``cuda:0`` …
    precision: Precision  # of convolutions; weights, losses and sums are float32
    threads: int

    @classmethod
    def resolve(
        cls, device: str = "auto", precision: str = "auto", threads: int = 1, *, index: int = 0, gpus: int = 1
    ) -> Self:
        """What ``auto`` means here, see :func:`~geoseg.models.runtime.resolve_device`.

        Raises:
            RunError: there is no such device here, or it does not have the precision.
        """
        kind, resolved = resolve_device(device, precision, training=True, gpus=max(gpus, index + 1))
        return cls(f"cuda:{index}" if kind == "cuda" else "cpu", resolved, threads)

    @property
    def kind(self) -> Device:
        """Kind of device."""
        return "cuda" if self.is_gpu else "cpu"

    @property
    def is_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device != "cpu"

    def autocast(self) -> AbstractContextManager[object]:
        """Convolutions in the precision."""
        low = self.precision != "fp32"
        return torch.autocast(self.kind, _TYPES[self.precision] if low else torch.bfloat16, enabled=low)

    def layout(self, network: nn.Module) -> torch.memory_format:
        """Memory layout to learn in: channels last, which is fastest, where its gradients are right.

        They are not for dilated depthwise convolutions in bf16 on a CPU: torch 2.15's oneDNN kernel gives
        weight gradients that are off by 150 %, or NaN. Contiguous tensors take another kernel.
        """
        if not self.is_gpu and self.precision == "bf16" and any(map(_dilated_depthwise, network.modules())):
            return torch.contiguous_format
        return torch.channels_last

    def scaler(self) -> torch.amp.GradScaler:
        """Keeps small gradients of fp16 from vanishing; does nothing in other precisions."""
        return torch.amp.GradScaler(self.kind, enabled=self.precision == "fp16")

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Reproducible algorithms and the number of threads, inside the block."""
        with intra_op_threads(self.threads), ExitStack() as stack:
            if self.is_gpu:
                stack.enter_context(torch.cuda.device(self.device))
            else:
                tune_allocator()
            stack.enter_context(reproducible_cudnn(self.device))
            yield

    def __str__(self) -> str:
        return f"{self.device} {self.precision}"


def _dilated_depthwise(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1 and max(module.dilation) > 1
    )
