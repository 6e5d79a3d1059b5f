"""What computes a run: decided once for all its workers, and kept for whoever resumes it."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from geoseg.config.workflow import Compute
from geoseg.engine.execute import ask_workers
from geoseg.errors import OutputError, RunError
from geoseg.io.files import write_json
from geoseg.models.bundle import Bundle
from geoseg.models.processor import Processor
from geoseg.models.runtime import Runtime
from geoseg.words import listed

__all__ = ["RUNTIME_NAME", "keep_runtime", "resolve_runtime"]

RUNTIME_NAME: Final = "runtime.json"
"""File in the run's folder."""


class _Kept(BaseModel):
    """What ``auto`` meant when the run began."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    """Identity of the model that it was decided for."""
    backend: Literal["torch", "openvino", "onnxruntime"]
    device: Literal["cpu", "cuda"]
    precision: Literal["fp32", "bf16", "fp16", "int8"]


def resolve_runtime(compute: Compute, bundle: Bundle, output: Path) -> Runtime:
    """What computes a model: ``auto`` as the run in the folder has it, else as its workers have it.

    Raises:
        RunError: what is asked for, or was kept, cannot be had here, or the workers differ.
        BundleError: the model has nothing for it.
        OutputError: what was kept cannot be read.
    """
    kept, spec = _kept(output / RUNTIME_NAME), bundle.spec
    if kept is not None and kept.model != spec.identity:
        kept = None
    cpu = None if compute.scheduler is None else _common(ask_workers(compute.scheduler, Processor.here))
    asked = compute.device, compute.precision, compute.backend
    if kept is None:
        return Runtime.of_model(spec, *asked[:2], compute.threads, asked[2], cpu=cpu)
    before = kept.device, kept.precision, kept.backend
    device, precision, backend = (
        old if value == "auto" else value for old, value in zip(before, asked, strict=True)
    )
    try:
        return Runtime.of_model(spec, device, precision, compute.threads, backend, cpu=cpu)
    except RunError as error:
        raise RunError(
            f"{error}; the run in {output} began with {kept.backend}, {kept.precision} on {kept.device} "
            f"({RUNTIME_NAME}): go on where that can be had, or choose another output"
        ) from error


def keep_runtime(output: Path, bundle: Bundle, runtime: Runtime) -> None:
    """Write what was decided, unless it is there; OutputError where it cannot be written."""
    now = _Kept(
        model=bundle.spec.identity,
        backend=runtime.backend,
        device=runtime.device,
        precision=runtime.precision,
    )
    if _kept(output / RUNTIME_NAME) != now:
        write_json(output / RUNTIME_NAME, now.model_dump(mode="json"))


def _kept(path: Path) -> _Kept | None:
    try:
        return _Kept.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):  # a file in the folder's place is told of by who writes
        return None
    except (OSError, ValidationError) as error:
        raise OutputError(f"{path} does not say what computes this run; remove it to decide anew") from error


def _common(found: dict[str, object]) -> Processor:
    """The CPU that all workers have."""
    kinds = {cast("Processor", processor).instruction_set for processor in found.values()}
    if len(kinds) > 1:
        raise RunError(
            f"the workers have different instruction sets ({listed(sorted(kinds))}) and would give other "
            "bits for the same pixels; use workers of one kind, or hold all to one by ONEDNN_MAX_CPU_ISA"
        )
    return cast("Processor", next(iter(found.values())))
