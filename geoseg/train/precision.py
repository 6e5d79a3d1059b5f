"""Where and in which precision a network learns."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import torch
from torch import nn

from geoseg.errors import RunError
from geoseg.models.runtime import intra_op_threads, tune_allocator

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Arithmetic", "out_of_memory"]

Precision = Literal["fp32", "bf16", "fp16"]

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Device, precision and threads of a training, resolved."""

    device: str
    """``cpu``, or ``cuda:0`` …."""
    precision: Precision
    """Of convolutions; weights, losses and sums are float32."""
    threads: int
    """Threads inside an operation."""

    @classmethod
    def resolve(cls, device: str = "auto", precision: str = "auto", threads: int = 1, index: int = 0) -> Self:
        """What ``auto`` means here.

        Args:
            device: ``cpu``, ``cuda``, or ``auto``: a GPU where there is one.
            precision: ``fp32``, ``bf16``, ``fp16``, or ``auto``: bf16 on a GPU that has it, else fp32.
            threads: Inside an operation.
            index: Which GPU.

        Raises:
            RunError: there is no such device here, or it does not have the precision.
        """
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        kind = ("cuda" if gpus else "cpu") if device == "auto" else device
        if kind == "cuda" and index >= gpus:
            raise RunError(
                f"device cuda: this training needs {index + 1} GPU(s), torch sees {gpus} here; "
                "use compute.device: cpu, or fewer compute.processes"
            )
        if precision == "auto":
            precision = "bf16" if kind == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
        if precision == "fp16" and kind == "cpu":
            raise RunError("precision fp16 needs a GPU; use bf16 or fp32 on a CPU")
        where = f"cuda:{index}" if kind == "cuda" else "cpu"
        return cls(where, precision, threads)  # type: ignore[arg-type]  # one of the three by now

    @property
    def kind(self) -> Literal["cpu", "cuda"]:
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
        with intra_op_threads(self.threads):
            if not self.is_gpu:
                tune_allocator()
                yield
                return
            with (
                torch.cuda.device(self.device),
                torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
            ):
                yield

    def __str__(self) -> str:
        return f"{self.device} {self.precision}"


def _dilated_depthwise(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1 and max(module.dilation) > 1
    )


def out_of_memory(error: RuntimeError) -> bool:
    """Whether torch says that memory is short: a GPU's, or a CPU allocation that the system refused."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
