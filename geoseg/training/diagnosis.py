"""Why a training stopped: which step, which chips, which scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.errors import LabelError, RunError
from geoseg.training.losses import invalid_labels
from geoseg.words import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from geoseg.config.training.train_config import TrainConfig
    from geoseg.training.data.chips import ChipSampler

__all__ = ["diverged", "mislabeled"]


def diverged(sampler: ChipSampler, config: TrainConfig, step: int, what: str) -> RunError:
    """What is no longer finite at a step, from 0; its chips are cut once more, to look at them."""
    chips = list(_chips(sampler, config, step))
    scenes = listed(dict.fromkeys(name for name, *_ in chips))
    spoilt = [
        name for name, pixels, valid, _ in chips if not bool(pixels.movedim(0, -1)[valid].isfinite().all())
    ]
    if spoilt:
        why = f"pixels of {listed(dict.fromkeys(spoilt))} are not finite; declare them as nodata"
    else:
        why = f"its chips are finite, so the training diverged: lower the rate of {config.optimizer.rate:g}"
        why += ", or use precision: bf16" if config.precision == "fp16" else ""
        why += "" if config.clip else ", or set train.clip, such as 5.0"
    return RunError(
        f"{what} at step {step + 1} (batch {step * config.accumulate}, chips from {scenes}): {why}; "
        "a checkpoint, where there is one, is from before it"
    )


def mislabeled(sampler: ChipSampler, config: TrainConfig, step: int, classes: int) -> LabelError:
    """Labels that are no class of the network."""
    found: dict[str, set[int]] = {}
    for name, _, _, ids in _chips(sampler, config, step):
        wrong = invalid_labels(ids, classes)
        if bool(wrong.any()):
            found.setdefault(name, set()).update(ids[wrong].tolist())
    where = "; ".join(f"{name} has {sorted(ids)[:5]}" for name, ids in found.items())
    return LabelError(
        f"labels at step {step + 1} are no class of the network, which has 0 to {classes - 1}: {where}; "
        "map them by data.classes, or mark them 255"
    )


def _chips(
    sampler: ChipSampler, config: TrainConfig, step: int
) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """Scene, pixels, validity and ids of each chip of a step."""
    for batch in range(step * config.accumulate, (step + 1) * config.accumulate):
        chips = sampler.batch(batch, config.batch)
        yield from zip(sampler.scenes_of(batch, config.batch), *chips, strict=True)
