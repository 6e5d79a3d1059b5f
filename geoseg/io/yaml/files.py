"""The files that a person writes, read and written: workflows, training files and model cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.config.slug import scene_slug
from geoseg.config.workflow import Workflow
from geoseg.errors import ConfigError
from geoseg.io.yaml.config_file import FileKind, absolute, is_path, merge_overrides, read_file, where
from geoseg.io.yaml.strict_yaml import dump_yaml

if TYPE_CHECKING:
    from geoseg.config.model_card import Card
    from geoseg.config.training.training_file import Training

__all__ = [
    "LoadedTraining", "LoadedWorkflow", "dump_training", "dump_workflow", "load_card", "load_training",
    "load_workflow", "shared_workflow",
]  # fmt: skip

_WORKFLOW = FileKind(
    Workflow,
    word="workflow",
    needs="catalog and model",
    example="model: buildings-mininet2",
    paths=frozenset({"catalog", "model", "output"}),
    names=frozenset({"model"}),
    command="geoseg run FILE",
)


@cache
def _training_kind() -> FileKind[Training]:
    from geoseg.config.training.training_file import Training  # noqa: PLC0415 - a run reads no such file

    return FileKind(
        Training,
        word="training",
        needs="model, classes and data",
        example="preset: mininet",
        paths=frozenset({"output", "model.start", "distill.teacher", "data.*.catalog"}),
        names=frozenset({"model.start", "distill.teacher"}),
        command="geoseg train FILE",
    )


@cache
def _card_kind() -> FileKind[Card]:
    from geoseg.config.model_card import Card  # noqa: PLC0415 - as above

    return FileKind(
        Card,
        word="model card",
        needs="title, architecture, bands, scaling, classes, resolution and data",
        example="architecture: micronet",
        paths=frozenset(),
        command="geoseg models import STATE_DICT --card FILE -o BUNDLE",
        template="geoseg models import --template > card.yaml",
    )


def _kinds() -> tuple[FileKind[Any], ...]:
    return _WORKFLOW, _training_kind(), _card_kind()


@dataclass(frozen=True, slots=True)
class _LoadedFile:
    source: Path
    output: Path
    origins: Mapping[str, str]

    def where(self, key: str) -> str:
        """Where a key, or else the section around it, was given; else the file."""
        return where(self.origins, key)


@dataclass(frozen=True, slots=True)
class LoadedWorkflow(_LoadedFile):
    """A workflow, its paths made absolute, and where each key was written."""

    workflow: Workflow
    """The workflow: paths as written, those of ``--set`` absolute; ``name`` is the file's unless given."""
    catalog: Path
    model: str
    """A shipped model's name, or the absolute path of a bundle."""


@dataclass(frozen=True, slots=True)
class LoadedTraining(_LoadedFile):
    """A training, its paths made absolute, and where each key was written."""

    training: Training
    """The training: paths as written, those of ``--set`` absolute; ``name`` is the file's unless given."""
    catalogs: tuple[Path, ...]
    """Absolute path of the catalog of each entry of ``data``."""
    start: str | None
    """``model.start``: a shipped model's name, or the absolute path of a bundle."""
    teacher: str | None
    """``distill.teacher``: likewise."""


def load_workflow(
    source: str | Path | Workflow, overrides: Mapping[str, Any] | None = None
) -> LoadedWorkflow:
    """Read a workflow file, or take a workflow that was made in Python.

    Relative paths in the file are relative to the file, those of a workflow from Python and of ``overrides``
    to the working directory. ``output`` is ``runs/<name>`` in the working directory unless given.

    Args:
        source: YAML file, UTF-8; the name of a workflow that comes with geoseg (``austin_buildings``); or a
            workflow.
        overrides: key (``tiling.halo``) → YAML text, as ``--set`` gives it, or a value that is not text.

    Raises:
        ConfigError: every mistake of file and overrides, one line each:
            ``austin.yaml:12: tiling.halo: 'exakt' is neither auto nor exact …; did you mean 'exact'?``
    """
    read = (
        merge_overrides(source, overrides, _WORKFLOW)
        if isinstance(source, Workflow)
        else read_file(_or_shared(source, "run"), _WORKFLOW, overrides, kinds=_kinds)
    )
    workflow, folder = read.content, read.source.parent
    return LoadedWorkflow(
        workflow=workflow,
        source=read.source,
        catalog=absolute(workflow.catalog, folder),
        model=_bundle(workflow.model, folder),
        output=_output(workflow, folder),
        origins=read.origins,
    )


def dump_workflow(workflow: Workflow) -> str:
    """The workflow as YAML: what it says beyond the defaults; loading it gives the same workflow."""
    given = workflow.model_dump(mode="json", exclude_defaults=True)
    # Always with its name, which a file's name would replace.
    return dump_yaml({"name": workflow.name, **given})


def load_training(path: str | Path, overrides: Mapping[str, Any] | None = None) -> LoadedTraining:
    """Read a training file: YAML, UTF-8.

    Paths and ``overrides`` are those of :func:`load_workflow`; overrides that are paths: ``output``,
    ``model.start`` and ``distill.teacher``.

    Raises:
        ConfigError: every mistake of file and overrides, one line each:
            ``train_roofs.yaml:12: train.schedule: there is no kind 'polly'; …; did you mean 'poly'?``
    """
    read = read_file(_or_shared(path, "train"), _training_kind(), overrides, kinds=_kinds)
    training, folder = read.content, read.source.parent
    return LoadedTraining(
        training=training,
        source=read.source,
        catalogs=tuple(absolute(entry.catalog, folder) for entry in training.data),
        start=None if training.model.start is None else _bundle(training.model.start, folder),
        teacher=None if training.distill is None else _bundle(training.distill.teacher, folder),
        output=_output(training, folder),
        origins=read.origins,
    )


def dump_training(training: Training) -> str:
    """The training as YAML, ``train`` and ``chips`` in full; loading it gives the same training."""
    given = training.model_dump(mode="json", exclude_defaults=True)
    # In full: what equals a default may still differ from the preset that it is laid over.
    whole = training.model_dump(mode="json", include={"train", "chips"})
    return dump_yaml({"name": training.name, **given, **whole})


def load_card(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Card:
    """Read a model card: YAML, UTF-8; overrides and errors as for :func:`load_workflow`."""
    return read_file(path, _card_kind(), overrides, kinds=_kinds).content


def _bundle(name_or_path: str, folder: Path) -> str:
    return str(absolute(name_or_path, folder)) if is_path(name_or_path) else name_or_path


def _output(content: Workflow | Training, folder: Path) -> Path:
    if content.output is None:
        return absolute(Path("runs", scene_slug(content.name)), Path.cwd())
    return absolute(content.output, folder)


def _or_shared(path: str | Path, command: str) -> Path:
    """The path of a file, or of one that comes with geoseg, which a bare word names where no file does."""
    path = Path(path)
    shared = shared_workflow(path.stem)
    if path.exists() or not shared.is_file():
        return path
    if path.name == path.stem and path.parent == Path():
        return shared
    raise ConfigError(
        f"{path}: no such file; for the one that comes with geoseg: geoseg {command} {path.stem}"
    )


def shared_workflow(name: str) -> Path:
    """A workflow of the repository's folder ``workflows``, which installed packages carry.

    >>> shared_workflow("landcover").name
    'landcover.yaml'
    """
    return Path(str(files("geoseg"))) / "share" / "workflows" / f"{name}.yaml"
