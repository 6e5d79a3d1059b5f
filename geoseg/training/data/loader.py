"""Batches of chips cut ahead of the training, by a thread or by processes; the bits are the same."""

from __future__ import annotations

import os
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import torch
from torch.utils.data import DataLoader, Dataset

from geoseg.errors import GeosegError, RunError
from geoseg.training.data.chips import Chip

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from geoseg.training.data.chips import ChipSampler

__all__ = ["ChipLoader", "chip_workers"]

_AHEAD = 3  # batches that wait for the training, per process or thread
_WORTH_TELLING = 5.0  # seconds of waiting that are not worth a word
_MOST_PROCESSES = 12  # processes that ``auto`` takes at most: enough for a thousand chips of 256 px a second


def chip_workers(asked: int | str, device: str, processes: int = 1) -> int:
    """How many workers cut chips.

    On a CPU one thread beside the network: a chip costs a hundredth of what the network does with it. A GPU
    takes chips faster than one core cuts them (5 ms for 256 px, 24 ms for 512 px), so all cores but those
    that drive GPUs cut for it, each in a process of its own: threads hold each other up at arrays so small.

    ``processes`` trainings share this machine's cores (one per GPU).
    """
    if isinstance(asked, int):
        return asked
    if device == "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_PROCESSES, (cores - processes) // processes))


class _Batches(Dataset[Any]):
    """Batches by number, for torch's loader; an error travels as a value, so that its class survives."""

    def __init__(self, sampler: ChipSampler, size: int, part: tuple[int, int], first: int) -> None:
        self.sampler, self.size, self.part, self.first = sampler, size, part, first

    def __getitem__(self, item: int) -> tuple[torch.Tensor, ...] | GeosegError:
        try:
            return tuple(self.sampler.batch(self.first + item, self.size, part=self.part))
        except GeosegError as error:
            return error


class ChipLoader:
    """Batches ``first`` to ``stop - 1`` in order; a context manager.

    Batches are functions of seed and number, so neither the number of workers nor when one of them is slow
    changes a bit. One worker is a thread of this process and shares its cache of tiles; more are processes,
    each with a cache of its own.

    Args:
        part: As in :meth:`~geoseg.training.data.chips.ChipSampler.batch`.

    Raises:
        RunError: a worker process died.
        GeosegError: what cutting a chip raises.
    """

    def __init__(
        self,
        sampler: ChipSampler,
        size: int,
        *,
        first: int,
        stop: int,
        workers: int = 1,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.sampler, self.size, self.part = sampler, size, part
        self.first, self.stop, self.workers = first, stop, workers
        self.waited = 0.0
        """Seconds that the training waited for chips so far, the first batch aside."""
        self.elapsed = 0.0
        """Seconds since the first batch."""
        self._cut: Generator[Chip] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End thread or processes, whether all batches were taken or not."""
        if self._cut is not None:
            self._cut.close()

    def __iter__(self) -> Iterator[Chip]:
        self._cut = self._by_thread() if self.workers == 1 else self._by_processes()
        begun = 0.0
        for number in range(self.first, self.stop):
            asked = time.perf_counter()
            batch = next(self._cut)
            now = time.perf_counter()
            if number == self.first:  # processes start and files open before it
                begun = now
            else:
                self.waited += now - asked
            self.elapsed = now - begun
            yield batch

    @property
    def advice(self) -> str:
        """What to do where the training waited much for chips; empty where it did not."""
        if self.waited < max(_WORTH_TELLING, 0.1 * self.elapsed):
            return ""
        return (
            f"{self.waited / self.elapsed:.0%} of the time was spent waiting for chips: raise "
            f"compute.workers (now {self.workers}), or compute.memory where scenes do not fit into it"
        )

    def _by_thread(self) -> Generator[Chip]:
        with ThreadPoolExecutor(1, "chips") as pool:
            ahead: deque[Future[Chip]] = deque()
            try:
                for number in range(self.first, self.stop):
                    ahead.append(pool.submit(self.sampler.batch, number, self.size, part=self.part))
                    if len(ahead) > _AHEAD:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _by_processes(self) -> Generator[Chip]:
        loader = DataLoader(
            _Batches(self.sampler, self.size, self.part, self.first),
            sampler=range(self.stop - self.first),
            batch_size=None,
            num_workers=self.workers,
            prefetch_factor=_AHEAD,
            # Not fork: the parent has threads of torch and GDAL, whose locks a copy would inherit.
            multiprocessing_context="spawn",
            pin_memory=torch.cuda.is_available(),
        )
        try:
            for batch in loader:
                if isinstance(batch, GeosegError):
                    raise batch
                yield Chip(*batch)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise RunError(
                f"a process that cuts chips died ({error}); lower compute.workers or compute.memory"
            ) from error
