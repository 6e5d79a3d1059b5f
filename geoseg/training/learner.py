"""One step: chips in, changed weights out. Accumulation, precision, clipping, and memory that runs short."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from geoseg.errors import BundleError, RunError
from geoseg.grid.encoding import IGNORE
from geoseg.models.backends.torch import scaled_logits, scaled_tensor
from geoseg.models.bundle import Bundle, load_bundle
from geoseg.models.runtime import is_out_of_memory
from geoseg.training.distributed import ProcessGroup
from geoseg.training.ema import copy_tensors
from geoseg.training.losses import BatchCounts, Objective, invalid_labels
from geoseg.training.optim import make_optimizer, set_rate
from geoseg.training.precision import TrainingRuntime

if TYPE_CHECKING:
    from pathlib import Path

    from geoseg.config.model.contract import Scaling
    from geoseg.config.training.train_config import TrainConfig
    from geoseg.config.training.training_file import Distill
    from geoseg.models.networks.network import Network
    from geoseg.training.data.chips import Chip

__all__ = ["Learner", "StepResult", "Teacher"]

_SEEDS = 2**63 - 1
_Piece = tuple[Tensor, Tensor, Tensor]  # pixels, validity and ids, on the device


@dataclass(frozen=True, slots=True, eq=False)
class StepResult:
    """What a step came to, still on the device: looking at it waits for the device."""

    step: int
    loss: Tensor  # scalar: the loss of all its chips, over all processes
    wrong: Tensor  # scalar: labels that are neither a class of the network nor 255, over all processes


class Teacher:
    """A bundle's network in evaluation mode, without gradients, with its own scaling."""

    def __init__(self, bundle: Bundle, device: str) -> None:
        self.spec = bundle.spec
        network = bundle.network() if device == "cpu" else copy.deepcopy(bundle.network()).to(device)
        self._network = network.requires_grad_(requires_grad=False).eval()

    @classmethod
    def load(
        cls, name_or_path: str | Path, bands: Sequence[str], classes: Sequence[str], device: str
    ) -> Teacher:
        """Load a bundle that can teach a network of these bands and classes.

        Raises:
            BundleError: no such bundle, or it has other bands or classes.
        """
        bundle = load_bundle(name_or_path)
        for what, own, wanted in (
            ("bands", bundle.spec.bands, tuple(bands)),
            ("classes", tuple(c.name for c in bundle.spec.classes), tuple(classes)),
        ):
            if own != wanted:
                raise BundleError(
                    f"distill.teacher: {bundle.spec.name} has the {what} {', '.join(own)}, this training "
                    f"{', '.join(wanted)}; a teacher needs the same ones in the same order"
                )
        return cls(bundle, device)

    @property
    def identity(self) -> str:
        """Of its weights and contract."""
        return self.spec.identity

    @torch.no_grad()
    def logits(self, pixels: Tensor, valid: Tensor) -> Tensor:
        """Float32 logits (N, K, H, W) of chips, float32 (N, C, H, W) in stored units, valid (N, H, W)."""
        return scaled_logits(self._network, pixels, valid, self.spec.scaling)


class Learner:
    """Changes a network's weights, one step at a time.

    Chips of a step are seen in pieces of at most ``batch / parts``; their gradients add up to those of the
    whole (:mod:`geoseg.training.losses`), batch normalization aside, which sees a piece at a time.

    Args:
        network: On the CPU; it is moved.
        seed: Of what a network draws, such as dropout.
        notify: Takes a sentence when the batch had to be cut.
    """

    def __init__(
        self,
        network: Network,
        config: TrainConfig,
        scaling: Scaling,
        runtime: TrainingRuntime,
        group: ProcessGroup,
        *,
        seed: int,
        distill: Distill | None = None,
        teacher: Teacher | None = None,
        notify: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._layout = runtime.layout(network)
        self.network = network.to(runtime.device).to(memory_format=cast("Any", self._layout))
        self.config, self.scaling, self.runtime, self.group = config, scaling, runtime, group
        self.seed, self.teacher, self.notify = seed, teacher, notify
        self.objective = Objective(config.loss, distill, None if group.size == 1 else group.all_reduce)
        self.optimizer = make_optimizer(self.network, config.optimizer)
        self.scaler = runtime.scaler()
        self.parts = 1
        """Into how many pieces a batch is cut, because memory is short."""
        self._joined = group.wrap(self.network, runtime.device)
        self._buffers = list(self.network.buffers())
        self._before = [buffer.clone() for buffer in self._buffers]

    def learn(self, step: int, batches: Sequence[Chip], rate: float) -> StepResult:
        """Change the weights once, by this process's chips of each batch of the step, on the CPU.

        Raises:
            RunError: a single chip is too much for the memory.
        """
        self.network.train()
        set_rate(self.optimizer, rate)
        device = self.runtime.device
        moved = [[tensor.to(device, non_blocking=True) for tensor in chips] for chips in batches]
        classes = self.network.classes
        wrong = [invalid_labels(ids, classes) for _, _, ids in moved]
        # What is no class is reported; until then it must not be looked up.
        ready = [
            (pixels, valid, torch.where(bad, IGNORE, ids))
            for (pixels, valid, ids), bad in zip(moved, wrong, strict=True)
        ]
        counts = torch.stack([BatchCounts.of(ids, classes, valid).vector for _, valid, ids in ready]).sum(0)
        numbers = torch.cat([counts, torch.stack([bad.sum() for bad in wrong]).sum()[None]])
        numbers = self.group.all_reduce(numbers.double())
        loss = self._gradients(step, ready, BatchCounts.from_vector(numbers[:-1]))
        self._update()
        return StepResult(step, self.group.all_reduce(loss), numbers[-1])

    def _gradients(self, step: int, batches: Sequence[_Piece], counts: BatchCounts) -> Tensor:
        """Gradients of all batches; in smaller pieces where memory runs short."""
        largest = max(len(pixels) for pixels, _, _ in batches)
        copy_tensors(self._before, self._buffers)
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            try:
                return self._accumulated(step, batches, counts)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if self.group.size > 1 or self.parts >= largest:
                    raise RunError(self._too_large(step, batches)) from error
            # Outside of the handler: what the error refers to holds the memory of the failed attempt.
            self.parts = min(2 * self.parts, largest)
            if self.runtime.is_gpu:
                torch.cuda.empty_cache()
            copy_tensors(self._buffers, self._before)
            self.notify(
                f"out of memory at step {step + 1}: the batch is now seen in {self.parts} pieces of at most "
                f"{-(-largest // self.parts)} chip(s), whose gradients add up to the same step "
                "(batch normalization sees a piece at a time); a smaller train.batch with a larger "
                "train.accumulate does the same from the start"
            )

    def _accumulated(self, step: int, batches: Sequence[_Piece], counts: BatchCounts) -> Tensor:
        pieces = [
            piece
            for batch in batches
            for piece in zip(*(tensor.tensor_split(self.parts) for tensor in batch), strict=True)
            if len(piece[0])
        ]
        total = torch.zeros((), device=self.runtime.device)
        for number, (pixels, valid, ids) in enumerate(pieces):
            # What a network draws is a function of seed and step too, or a resumed training would differ.
            torch.manual_seed((((self.seed << 16) + step) * 4099 + number) * 1031 + self.group.rank & _SEEDS)
            last = number == len(pieces) - 1
            with self._unshared() if not last else nullcontext():
                loss = self._loss(pixels, valid, ids, counts)
                # The group takes the mean of its gradients; the loss is a share of a sum.
                self.scaler.scale(loss * self.group.size).backward()  # type: ignore[no-untyped-call]  # in torch
            total = total + loss.detach()
        return total

    def _unshared(self) -> Any:
        """Gradients stay in this process: they are shared with the last piece."""
        joined = self._joined
        return joined.no_sync() if isinstance(joined, DistributedDataParallel) else nullcontext()

    def _loss(self, pixels: Tensor, valid: Tensor, ids: Tensor, counts: BatchCounts) -> Tensor:
        image = scaled_tensor(pixels, valid, self.scaling)
        taught = None if self.teacher is None else self.teacher.logits(pixels, valid)
        with self.runtime.autocast():
            try:
                outputs = self._joined(image.contiguous(memory_format=self._layout))
            except ValueError as error:
                if "more than 1 value per channel" not in str(error):
                    raise
                raise RunError(
                    "this network normalizes a whole image to one value, so it needs 2 chips at once or "
                    f"more, got {len(pixels)}: raise train.batch, or free memory"
                ) from error
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        with torch.autocast(self.runtime.kind, enabled=False):
            wide = [output.float() for output in outputs]
            return self.objective(wide, ids, valid=valid, teacher=taught, counts=counts)

    def _update(self) -> None:
        if self.config.clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _too_large(self, step: int, batches: Sequence[_Piece]) -> str:
        pixels = batches[0][0]
        at_once = -(-len(pixels) // self.parts)
        how = "a smaller chips.size or network"
        if self.group.size > 1:
            how = "a smaller train.batch with a larger train.accumulate, or a smaller chips.size"
        return (
            f"out of memory at step {step + 1} with {at_once} chip(s) of {pixels.shape[-1]} px at once on "
            f"{self.runtime.device}: it takes {how}"
        )

    @torch.no_grad()
    def logits(self, pixels: Tensor, valid: Tensor) -> Tensor:
        """Float32 logits (1, K, H, W) on the CPU, as for a map.

        Of stored pixels, float32 (1, C, H, W), and validity (1, H, W), by the network in evaluation mode.
        """
        device = self.runtime.device
        return scaled_logits(self.network, pixels.to(device), valid.to(device), self.scaling).cpu()

    def validation_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The config's loss, a scalar, without teacher and inner outputs.

        Of a window's logits, float32 (1, K, H, W), and class ids (1, H, W), 255 where no label is.
        """
        return Objective(self.config.loss)(logits, target)

    def state(self) -> dict[str, Any]:
        """All that decides the steps to come: tensors and plain values."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "parts": self.parts,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.parts = state["parts"]
