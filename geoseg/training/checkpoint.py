"""Checkpoints: all that a stopped training needs to end with the weights it would have had."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

import torch

from geoseg.errors import RunError
from geoseg.io.files import staged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from geoseg.config.training.train_config import TrainConfig
    from geoseg.config.training.training_file import Distill

__all__ = ["CHECKPOINT_NAME", "config_identity", "read_checkpoint", "write_checkpoint"]

CHECKPOINT_NAME = "last.pt"

_VERSION = 3


def config_identity(
    config: TrainConfig, seed: int, origin: str, distill: Distill | None, teacher: str | None
) -> dict[str, str]:
    """What must not change in a training's file, known before any scene is read, each by its name.

    Args:
        origin: What the first weights are, beside the seed; empty: random.
        teacher: Identity of the teacher; None: there is none.
    """
    return {
        "config": config.model_dump_json(),
        "start": origin,
        "teacher": repr(distill and (distill.model_dump(), teacher)),
        "seed": str(seed),
    }


def write_checkpoint(folder: Path, identity: Mapping[str, str], content: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all; an older one stays until it is.

    Raises:
        OutputError: the disk is full or read-only.
    """
    buffer = io.BytesIO()
    # In memory first: torch hides the system's error of a full disk.
    torch.save({"version": _VERSION, "identity": dict(identity), **content}, buffer)
    with staged(folder / CHECKPOINT_NAME) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def read_checkpoint(folder: Path, identity: Mapping[str, str]) -> dict[str, Any] | None:
    """Read the folder's checkpoint, on the CPU; None where there is none.

    Args:
        identity: What has to agree: all of it, or the part that is known.

    Raises:
        RunError: it is damaged, of another version, or of another training; says what differs.
    """
    path = folder / CHECKPOINT_NAME
    if not path.exists():
        return None
    try:
        # Tensors and plain values only: nothing in the file can run code.
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise RunError(
            f"{path} is no checkpoint that can be read; remove it to train from the start"
        ) from error
    if content.get("version") != _VERSION:
        raise RunError(f"{path} was written by another version of geoseg; remove it to train from the start")
    differing = [key for key in identity if content["identity"][key] != identity[key]]
    if differing:
        raise RunError(
            f"{path} belongs to a training with another {' and another '.join(differing)}: "
            "go on with what it had, or give another output folder"
        )
    return content
