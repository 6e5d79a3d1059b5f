"""Several processes that train one network: torch's DistributedDataParallel, gloo on CPUs, NCCL on GPUs.

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

__all__ = ["ALONE", "Team", "check_shared", "train_together"]

T = TypeVar("T")

_PATIENCE = timedelta(hours=2)
"""Longest wait for another process: while the first one validates, the others wait."""
_LAST_WORDS = 10.0
"""Seconds that a process which failed has to say why."""


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
class Team:
    """The processes that share each batch."""

    rank: int = 0
    """Which of them this is; 0 is the one that validates, logs and saves."""
    size: int = 1
    """How many there are."""
    local: int = 0
    """Which of this machine's GPUs this process has."""

    def total(self, tensor: Tensor) -> Tensor:
        """Sum of a tensor over the processes, with gradients."""
        if self.size == 1:
            return tensor
        return cast("Tensor", _Sum.apply(tensor))

    def told(self, value: T) -> T:
        """The first process's value, in all of them."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def joined(self, network: nn.Module, device: str) -> nn.Module:
        """The network as one of a team: same weights everywhere, gradients averaged.

        On GPUs batch normalization is taken over the chips of all processes; on CPUs torch has none that is,
        so each process normalizes by its own chips, and the running statistics are the first one's.
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


ALONE = Team()
"""One process."""


def _has_idle_parameters(network: nn.Module, device: str) -> bool:
    """Whether some parameter gets no gradient: tried once, on a copy of what it changes."""
    kept = {key: value.clone() for key, value in network.state_dict().items()}
    bands = next(p for p in network.parameters() if p.ndim > 1).shape[1]
    bands = getattr(network, "bands", bands)
    outputs = network(torch.zeros(2, bands, 64, 64, device=device))
    total = sum(output.sum() for output in (outputs if isinstance(outputs, tuple) else (outputs,)))
    cast("Tensor", total).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    idle = any(p.grad is None for p in network.parameters() if p.requires_grad)
    network.zero_grad(set_to_none=True)
    network.load_state_dict(kept)
    return idle


def check_shared(recipe: TrainConfig, processes: int) -> None:
    """Refuse a batch that so many processes cannot share evenly.

    Raises:
        RunError: says what would do.
    """
    if recipe.batch % processes:
        raise RunError(
            f"train.batch is {recipe.batch}, which {processes} processes cannot share evenly: "
            f"give a multiple of {processes}"
        )


def train_together(work: Callable[..., T], processes: int, device: str, *arguments: Any) -> T:
    """Run ``work(team, *arguments)`` in so many processes; returns what the first one's returned.

    Args:
        work: A function of a module, since the other processes import it.
        processes: How many; 1 runs it here.
        device: ``cpu`` or ``cuda``.
        *arguments: Picklable.

    Raises:
        GeosegError: what a process raised, the first one's before the others'.
        RunError: a process ended without a word, or fewer GPUs than processes.
    """
    if processes == 1:
        return work(ALONE, *arguments)
    if device == "cuda" and processes > torch.cuda.device_count():
        raise RunError(
            f"compute.processes is {processes} but torch sees {torch.cuda.device_count()} GPU(s) here; "
            "give as many as there are GPUs"
        )
    context = get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="geoseg-") as folder:
        meeting = f"file://{folder}/meeting"
        said: SimpleQueue[tuple[int, str]] = context.SimpleQueue()
        teams = [Team(rank, processes, rank) for rank in range(processes)]
        tasks = [_Other(team, device, meeting, os.getpid(), said, work, arguments) for team in teams[1:]]
        others = [context.Process(target=task, name=f"geoseg-train-{task.team.rank}") for task in tasks]
        try:
            for other in others:
                other.start()
            with _group(teams[0], device, meeting):
                result = work(teams[0], *arguments)
            _end(others, _LAST_WORDS)
        except RuntimeError as error:
            # Most likely another process has died and the connection with it: its reason is the one to tell.
            _end(others, _LAST_WORDS)
            raise RunError(_reason(said, others, error)) from error
        finally:
            _end(others, 0.0)
    return result


@dataclass(frozen=True, slots=True)
class _Other:
    """What a process that is not the first does."""

    team: Team
    device: str
    meeting: str
    parent: int
    said: SimpleQueue[tuple[int, str]]
    work: Callable[..., object]
    arguments: tuple[Any, ...]

    def __call__(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first one, which ends the others
        _die_with(self.parent)
        try:
            with _group(self.team, self.device, self.meeting):
                self.work(self.team, *self.arguments)
        except GeosegError as error:
            self.said.put((self.team.rank, str(error)))
            sys.exit(2)
        except BaseException as error:
            self.said.put((self.team.rank, f"{type(error).__name__}: {error}"))
            raise


def _die_with(parent: int) -> None:
    """End when the first process does, even when that is killed."""
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(1)


@contextmanager
def _group(team: Team, device: str, meeting: str) -> Iterator[None]:
    """Be one of the processes, inside the block."""
    if device == "cpu":
        # All on this machine: no need to listen where others could connect.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group(
        "gloo" if device == "cpu" else "nccl",
        init_method=meeting,
        rank=team.rank,
        world_size=team.size,
        timeout=_PATIENCE,
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _end(others: list[SpawnProcess], wait: float) -> None:
    for other in others:
        if other.pid is not None:
            other.join(wait)
            if other.is_alive():
                other.kill()
                other.join()


def _reason(said: SimpleQueue[tuple[int, str]], others: list[SpawnProcess], error: RuntimeError) -> str:
    if not said.empty():
        rank, text = said.get()
        return f"process {rank} of the training failed: {text}"
    dead = [f"{other.name} (exit code {other.exitcode})" for other in others if other.exitcode]
    if dead:
        return f"a process of the training ended without a word: {', '.join(dead)}; was memory short?"
    return f"the training's processes lost each other: {error}"
