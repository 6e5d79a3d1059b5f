"""Data-parallel training in several processes: torch's DistributedDataParallel, gloo on CPUs, NCCL on GPUs.

Each process takes every n-th chip of a batch, so n processes learn from the very chips that one would, and
gradients are added up by torch. The first process is the one that was started: it validates, logs and saves.
All are on one machine.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from geoseg.errors import GeosegError, RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import SpawnProcess
    from multiprocessing.queues import SimpleQueue

    from geoseg.config.training.train_config import TrainConfig
    from geoseg.models.networks.network import Network

__all__ = ["SINGLE_PROCESS", "ProcessGroup", "check_batch_divides", "launch"]

T = TypeVar("T")

_TIMEOUT = timedelta(hours=2)
"""Longest wait for another process: while the first one validates, the workers wait."""
_GRACE_S = 10.0  # seconds that a failed process has to report why


class _Sum(torch.autograd.Function):
    """Sum over the processes; the gradient of a sum that all of them use is the sum of theirs."""

    @staticmethod
    def forward(_context: Any, tensor: Tensor) -> Tensor:
        total = tensor.detach().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The processes that share each batch."""

    rank: int = 0  # which of them this is; 0 is the one that validates, logs and saves
    size: int = 1
    local: int = 0  # which of this machine's GPUs this process has

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Sum of a tensor over the processes, with gradients."""
        if self.size == 1:
            return tensor
        return cast("Tensor", _Sum.apply(tensor))

    def broadcast(self, value: T) -> T:
        """The first process's value, in all of them."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def wrap(self, network: Network, device: str) -> nn.Module:
        """The network for data-parallel training: same weights everywhere, gradients averaged.

        On GPUs batch normalization is taken over the chips of all processes; torch has no such normalization
        on CPUs, so each process normalizes by its own chips, and the running statistics are the first one's.
        """
        if self.size == 1:
            return network
        if device != "cpu":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]  # in torch
        return DistributedDataParallel(
            network,
            device_ids=None if device == "cpu" else [device],
            # Encoders may compute what their head does not use (V3 with DeepLabV3+'s).
            find_unused_parameters=_has_idle_parameters(network, device),
        )


SINGLE_PROCESS = ProcessGroup()


def _has_idle_parameters(network: Network, device: str) -> bool:
    """Whether some parameter gets no gradient: tried once, on a copy of what it changes."""
    kept = {key: value.clone() for key, value in network.state_dict().items()}
    outputs = network(torch.zeros(2, network.bands, 64, 64, device=device))
    total = sum(output.sum() for output in (outputs if isinstance(outputs, tuple) else (outputs,)))
    cast("Tensor", total).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    idle = any(p.grad is None for p in network.parameters() if p.requires_grad)
    network.zero_grad(set_to_none=True)
    network.load_state_dict(kept)
    return idle


def check_batch_divides(config: TrainConfig, processes: int) -> None:
    """Refuse a batch that does not divide among the processes.

    Raises:
        RunError: it does not divide; names the multiple that is needed.
    """
    if config.batch % processes:
        raise RunError(
            f"train.batch is {config.batch}, which {processes} processes cannot share evenly: "
            f"give a multiple of {processes}"
        )


def launch(work: Callable[..., T], processes: int, device: str, *arguments: Any) -> T:
    """Run ``work(group, *arguments)`` in several processes; returns the first one's result.

    ``work`` is a function of a module, since the other processes import it; arguments are picklable.

    Raises:
        GeosegError: what a process raised, the first one's before the workers'.
        RunError: a process ended without a message, or the processes lost each other.
    """
    if processes == 1:
        return work(SINGLE_PROCESS, *arguments)
    context = get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="geoseg-") as folder:
        rendezvous = f"file://{folder}/rendezvous"
        failures: SimpleQueue[tuple[int, str]] = context.SimpleQueue()
        groups = [ProcessGroup(rank, processes, rank) for rank in range(processes)]
        tasks = [
            _Worker(group, device, rendezvous, os.getpid(), failures, work, arguments) for group in groups[1:]
        ]
        workers = [context.Process(target=task, name=f"geoseg-train-{task.group.rank}") for task in tasks]
        try:
            for worker in workers:
                worker.start()
            with _initialized(groups[0], device, rendezvous):
                result = work(groups[0], *arguments)
            _end(workers, _GRACE_S)
        except RuntimeError as error:
            # Most likely another process has died and the connection with it: report its reason.
            _end(workers, _GRACE_S)
            raise RunError(_reason(failures, workers, error)) from error
        finally:
            _end(workers, 0.0)
    return result


@dataclass(frozen=True, slots=True)
class _Worker:
    """A process other than the first."""

    group: ProcessGroup
    device: str
    rendezvous: str
    parent: int
    failures: SimpleQueue[tuple[int, str]]
    work: Callable[..., object]
    arguments: tuple[Any, ...]

    def __call__(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first one, which ends the workers
        _die_with(self.parent)
        try:
            with _initialized(self.group, self.device, self.rendezvous):
                self.work(self.group, *self.arguments)
        except GeosegError as error:
            self.failures.put((self.group.rank, str(error)))
            sys.exit(2)
        except BaseException as error:
            self.failures.put((self.group.rank, f"{type(error).__name__}: {error}"))
            raise


def _die_with(parent: int) -> None:
    """End when the first process does, even when that is killed."""
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(1)


@contextmanager
def _initialized(group: ProcessGroup, device: str, rendezvous: str) -> Iterator[None]:
    """A process group of torch, inside the block."""
    if device == "cpu":
        # All on this machine: no need to listen where workers could connect.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group(
        "gloo" if device == "cpu" else "nccl",
        init_method=rendezvous,
        rank=group.rank,
        world_size=group.size,
        timeout=_TIMEOUT,
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _end(workers: list[SpawnProcess], wait: float) -> None:
    for worker in workers:
        if worker.pid is not None:
            worker.join(wait)
            if worker.is_alive():
                worker.kill()
                worker.join()


def _reason(failures: SimpleQueue[tuple[int, str]], workers: list[SpawnProcess], error: RuntimeError) -> str:
    if not failures.empty():
        rank, text = failures.get()
        return f"process {rank} of the training failed: {text}"
    dead = [f"{worker.name} (exit code {worker.exitcode})" for worker in workers if worker.exitcode]
    if dead:
        return f"a process of the training ended without a message: {', '.join(dead)}; was memory short?"
    return f"the training's processes lost each other: {error}"
