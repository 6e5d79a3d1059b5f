"""Where and how a network is computed: what has to be the same for the same bits.

With network, precision, backend, instruction set and the number of threads inside an operation fixed, logits
are the same bits in any process. So a run fixes them once, as a :class:`Runtime`, and every worker compares.

torch is imported when something is computed, or where only it knows: what a check or a plan needs of it is
read from its files and the system's, and a process that has imported it asks it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, Self, cast, get_args

from geoseg._version import __version__
from geoseg.config.model.contract import BundleSpec
from geoseg.errors import BundleError, RunError
from geoseg.models.processor import Processor, cpu_flags

__all__ = [
    "Backend",
    "Device",
    "Precision",
    "Runtime",
    "intra_op_threads",
    "is_out_of_memory",
    "reproducible_cudnn",
    "resolve_device",
    "tune_allocator",
]

Backend = Literal["torch", "openvino", "onnxruntime"]
Device = Literal["cpu", "cuda"]
Precision = Literal["fp32", "bf16", "fp16", "int8"]

_PRECISIONS: Final[dict[tuple[Backend, Device], tuple[Precision, ...]]] = {
    ("torch", "cpu"): ("fp32", "bf16"),
    ("torch", "cuda"): ("fp32", "bf16", "fp16"),
    ("openvino", "cpu"): ("fp32", "bf16", "int8"),
    ("onnxruntime", "cpu"): ("fp32",),
}
"""What each backend computes in."""
_FAST_BF16: Final = (("AVX512_CORE_AMX", ""), ("AVX512_CORE_BF16", "AuthenticAMD"))
"""Instruction sets, and vendors (empty: any), on which OpenVINO is at least half as fast again in bf16 as in
fp32: 4.6 against 1.65 times torch with AMX, 2.5 against 1.2 on AMD's Zen 5; Intel's AVX512-BF16 has 1.2
against 1.5 (``benchmarks/speed.md``)."""
_LEAST_BF16: Final = "AVX512_CORE"
"""What OpenVINO needs for bf16 at all."""
_NATIVE_BF16: Final = "AVX512_CORE_BF16"
"""What it takes for bf16 not to be emulated, which is slower than fp32."""
_EXTRAS: Final[dict[Backend, str]] = {"onnxruntime": "geoseg[export]", "openvino": "openvino"}

_MAX_THREADS = 1024
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""Device files of NVIDIA's driver, of Windows' subsystem for Linux and of AMD's driver."""


def resolve_device(
    device: str = "auto", precision: str = "auto", *, training: bool = False, gpus: int = 1
) -> tuple[Device, Precision]:
    """What ``auto`` means in this process for what torch computes, maps and trainings.

    Args:
        device: ``cpu``, ``cuda``, or ``auto``: a GPU where there is one.
        precision: ``fp32``, ``bf16``, ``fp16``, or ``auto``: bf16 in trainings on a GPU that has it, else
            fp32.

    Raises:
        RunError: no such device or precision here, or too few GPUs.
    """
    seen = _gpus()
    precisions = _PRECISIONS["torch", "cuda"]
    for key, value, choices in (("device", device, get_args(Device)), ("precision", precision, precisions)):
        if value not in ("auto", *choices):
            raise RunError(f"{key} must be auto, {' or '.join(choices)}, got {value!r}")
    if device == "auto":
        device = "cuda" if seen else "cpu"
    if device == "cuda" and gpus > seen:
        needed = f"{gpus} GPUs are needed, torch sees {seen or 'none'}" if gpus > 1 else "torch sees no GPU"
        fewer = ", or fewer compute.processes" if gpus > 1 else ", or auto"
        raise RunError(f"device cuda: {needed} here; use device: cpu{fewer}")
    if precision == "fp16" and device == "cpu":
        raise RunError("precision fp16 needs a GPU; use bf16 or fp32 on a CPU")
    if precision == "auto":
        precision = "bf16" if training and device == "cuda" and _has_bf16() else "fp32"
    return cast("Device", device), cast("Precision", precision)


def _gpus() -> int:
    """Number of GPUs that torch sees."""
    if "torch" not in sys.modules and not any(map(os.path.exists, _GPU_DEVICES)) and sys.platform == "linux":
        return 0  # without a device file no driver has one
    import torch  # noqa: PLC0415 - see the module's docstring

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _gpu_name() -> str:
    import torch  # noqa: PLC0415 - see the module's docstring

    return torch.cuda.get_device_name()


def _has_bf16() -> bool:
    import torch  # noqa: PLC0415 - see the module's docstring

    return bool(torch.cuda.is_bf16_supported())


def _instruction_set() -> str:
    """What torch computes with on this CPU: its own word, or by the rule that it chooses it by (x86 only)."""
    flags = set() if "torch" in sys.modules or "ATEN_CPU_CAPABILITY" in os.environ else cpu_flags()
    if not flags:
        import torch  # noqa: PLC0415 - see the module's docstring

        return torch.backends.cpu.get_cpu_capability()
    if flags >= {"avx512vl", "avx512bw", "avx512dq", "fma"}:
        return "AVX512"
    return "AVX2" if flags >= {"avx2", "fma"} else "DEFAULT"


def _torch_version() -> str:
    """``torch.__version__``, read from its file where torch is not imported yet."""
    if "torch" not in sys.modules:
        spec = find_spec("torch")
        for place in (spec.submodule_search_locations or ()) if spec else ():
            file = Path(place, "version.py")
            text = file.read_text(encoding="utf-8") if file.is_file() else ""
            if found := re.search(r"^__version__ = '([^']+)'$", text, re.MULTILINE):
                return found[1]
    import torch  # noqa: PLC0415 - see the module's docstring

    return str(torch.__version__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """What decides a network's last bits, beside the network: a plan stores it, a worker compares."""

    backend: Backend
    device: Device
    processor: str
    """Instruction set of a CPU as the backend uses it, or the GPU's name."""
    precision: Precision
    """Of convolutions; with bf16 and fp16 weights and sums are float32."""
    threads: int
    """Inside an operation."""
    library: str
    """The backend with its version, such as ``openvino 2026.4.1``."""
    geoseg: str

    @classmethod
    def resolve(
        cls,
        device: str = "auto",
        precision: str = "auto",
        threads: int = 1,
        backend: Backend = "torch",
        *,
        cpu: Processor | None = None,
    ) -> Self:
        """Describe this process; ``auto`` as in :func:`resolve_device`, and fp32 for other backends.

        ``cpu``: that of the processes that will compute, where they are on other machines.

        Raises:
            RunError: no such device or backend here, no such precision or number of threads.
        """
        if not 1 <= threads <= _MAX_THREADS:
            raise RunError(f"threads must be 1 to {_MAX_THREADS}, got {threads}")
        if backend == "torch":
            kind, resolved = resolve_device(device, precision)
            processor = _gpu_name() if kind == "cuda" else _instruction_set()
            library = f"torch {_torch_version()}"
        else:
            kind, resolved = "cpu", cast("Precision", "fp32" if precision == "auto" else precision)
            cpu = cpu or Processor.here()
            _check_backend(backend, device, resolved, cpu)
            processor = cpu.instruction_set
            library = f"{backend} {version(backend)}"
        return cls(backend, kind, processor, resolved, threads, library, __version__)

    @classmethod
    def of_model(
        cls,
        spec: BundleSpec,
        device: str = "auto",
        precision: str = "auto",
        threads: int = 1,
        backend: str = "auto",
        *,
        cpu: Processor | None = None,
    ) -> Self:
        """What computes a model here, or on workers with another CPU.

        A GPU computes with torch, where there is one; a CPU with OpenVINO, where the bundle has a graph. The
        precision is bf16 where the instruction set makes it at least half as fast again and the model's
        contract holds that it changes nothing that matters; else fp32.

        Raises:
            RunError: as :meth:`resolve`.
            BundleError: the model has no graph for the backend, or nothing for the precision.
        """
        if precision == "int8" and spec.int8 is None:
            raise BundleError(
                f"the model {spec.name} is not calibrated for int8; make a bundle that is (geoseg models "
                f"quantize {spec.name} --catalog SCENES -o FOLDER), or use another compute.precision"
            )
        chosen = _backend(spec, "openvino" if (backend, precision) == ("auto", "int8") else backend, device)
        if precision == "auto" and chosen == "openvino" and spec.allows("bf16"):
            here = cpu or Processor.here()
            if any(here.has(least) and vendor in ("", here.vendor) for least, vendor in _FAST_BF16):
                precision = "bf16"
        return cls.resolve(device, precision, threads, chosen, cpu=cpu)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What the user should know of it, each in one sentence."""
        emulated = self.backend == "openvino" and self.precision == "bf16"
        if emulated and not Processor(self.processor, "").has(_NATIVE_BF16):
            return (
                f"compute.precision: bf16 is emulated on {self.processor}, slower than fp32; use fp32 here",
            )
        return ()

    def check(self, geoseg: str = __version__) -> None:
        """Refuse to compute here what was planned for another kind of process.

        Raises:
            RunError: something differs; names what the plan has and what this process has.
        """
        found = Runtime.resolve(self.device, self.precision, self.threads, self.backend)
        here = asdict(found) | {"geoseg": geoseg}
        differing = [
            f"{key} {value} planned, {here[key]} here"
            for key, value in asdict(self).items()
            if here[key] != value
        ]
        if differing:
            raise RunError(
                f"the worker on {platform.node()} would give other bits than the run was planned with: "
                f"{'; '.join(differing)}; use workers of one kind with the same versions, or plan the run "
                "again here"
            )


def _backend(spec: BundleSpec, backend: str, device: str) -> Backend:
    """What ``auto`` means for a model, or that the backend asked for cannot compute it."""
    if backend not in ("auto", *get_args(Backend)):
        raise RunError(f"backend must be auto, {', '.join(get_args(Backend))}, got {backend!r}")
    if backend == "auto":
        gpu = device == "cuda" or (device == "auto" and _gpus() > 0)
        return "torch" if gpu or spec.graph is None else "openvino"
    if backend != "torch" and spec.graph is None:
        raise BundleError(
            f"the model {spec.name} has no graph for {backend}; make a bundle that has one (geoseg models "
            f"graph {spec.name} -o FOLDER), or use compute.backend: torch"
        )
    return cast("Backend", backend)


def _check_backend(backend: Backend, device: str, precision: Precision, cpu: Processor) -> None:
    """Refuse what a backend other than torch does not have here."""
    if device not in ("auto", "cpu"):
        raise RunError(f"backend {backend} computes on the CPU, got device {device!r}; use backend: torch")
    if find_spec(backend) is None:
        raise RunError(f"backend {backend} is not installed here; pip install '{_EXTRAS[backend]}'")
    offered = _PRECISIONS[backend, "cpu"]
    if precision not in offered:
        raise RunError(f"backend {backend} computes in {' or '.join(offered)}, got precision {precision!r}")
    if precision == "bf16" and not cpu.has(_LEAST_BF16):
        raise RunError(
            f"precision bf16 needs a CPU with {_LEAST_BF16}, this one has {cpu.instruction_set}; use fp32"
        )


class _Threads:
    """The number of threads inside an operation, which torch keeps partly per thread, partly per process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._count = 0
        self._before = 0

    def enter(self, count: int) -> None:
        import torch  # noqa: PLC0415 - see the module's docstring

        with self._lock:
            if self._users and count != self._count:
                raise RunError(
                    f"threads: another prediction in this process runs with {self._count} threads, this one "
                    f"wants {count}; give all of them the same number"
                )
            if not self._users:
                self._before, self._count = torch.get_num_threads(), count
            self._users += 1
            # OpenMP keeps its number per thread: a setting made elsewhere does not hold in this thread.
            torch.set_num_threads(count)

    def leave(self) -> None:
        import torch  # noqa: PLC0415 - see the module's docstring

        with self._lock:
            self._users -= 1
            # MKL keeps its number per process: it is restored when no thread computes with it any more.
            if not self._users:
                torch.set_num_threads(self._before)


_threads = _Threads()


@contextmanager
def intra_op_threads(count: int) -> Iterator[None]:
    """Compute with so many threads inside each operation, in this thread, and leave the process as it was.

    Raises:
        RunError: another thread of this process computes with another number right now.
    """
    _threads.enter(count)
    try:
        yield
    finally:
        _threads.leave()


@lru_cache(maxsize=1)
def tune_allocator() -> bool:
    """Tell glibc, once per process, to keep freed memory instead of giving it back at every operation.

    A network's activations are tens of megabytes each. By default glibc maps them afresh for every operation
    and the kernel clears each page again: measured at 512×512 on one core, Micro-Net runs 1.8 to 2.1 times
    and MiniNet #2 1.3 times as fast without that. The cost: a process keeps its peak (Micro-Net at 512×512:
    about 0.5 GB more between windows) until it ends. ``GEOSEG_TUNE_MALLOC=0`` turns it off. False: not done.
    """
    if os.environ.get("GEOSEG_TUNE_MALLOC") == "0" or sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or platform.libc_ver()[0] != "glibc":
        return False
    mmap_max, trim_threshold = -4, -1  # M_MMAP_MAX, M_TRIM_THRESHOLD of <malloc.h>
    # A larger M_MMAP_THRESHOLD would not do: glibc caps it at 32 MB, less than one activation.
    return bool(mallopt(mmap_max, 0) and mallopt(trim_threshold, 2**31 - 1))


def reproducible_cudnn(device: str) -> AbstractContextManager[None]:
    """Deterministic algorithms without TF32 on a GPU, inside the block; nothing on a CPU."""
    if device == "cpu":
        return nullcontext()
    import torch  # noqa: PLC0415 - see the module's docstring

    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch reports that memory is short: a GPU's, or a CPU allocation that the system refused."""
    import torch  # noqa: PLC0415 - see the module's docstring

    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
