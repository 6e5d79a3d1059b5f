"""Training files: YAML text to a validated training, with every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.config.slug import scene_slug
from geoseg.config.training.training_file import Training
from geoseg.io.yaml.config_file import FileKind, absolute, is_path, read_file, where
from geoseg.io.yaml.strict_yaml import dump_yaml

__all__ = ["LoadedTraining", "dump_training", "load_training"]

_KIND = FileKind(
    Training,
    word="training",
    needs="model, classes and data",
    example="preset: mininet",
    paths=frozenset({"output", "model.start", "distill.teacher"}),
    names=frozenset({"model.start", "distill.teacher"}),
)


@dataclass(frozen=True, slots=True)
class LoadedTraining:
    """A training, its paths made absolute, and where each key was written."""

    training: Training
    """The training: paths as written, those of ``--set`` absolute; ``name`` is the file's unless given."""
    source: Path
    """Absolute path of the file."""
    catalogs: tuple[Path, ...]
    """Absolute path of the catalog of each entry of ``data``."""
    start: str | None
    """``model.start``: a shipped model's name, or the absolute path of a bundle."""
    teacher: str | None
    """``distill.teacher``: likewise."""
    output: Path
    """Absolute path of the output folder."""
    origins: Mapping[str, str]
    """Key → where it was given: ``train_roofs.yaml:12`` or ``--set``."""

    def where(self, key: str) -> str:
        """Where a key, or else the section around it, was given; else the file."""
        return where(self.origins, key)


def load_training(path: str | Path, overrides: Mapping[str, Any] | None = None) -> LoadedTraining:
    """Read a training file.

    Relative paths in the file are relative to the file, those of ``overrides`` (``output``, ``model.start``,
    ``distill.teacher``) to the working directory. ``output`` is ``runs/<name>`` in the working directory
    unless given.

    Args:
        path: YAML file, UTF-8.
        overrides: key (``train.optimizer.rate``) → YAML text, as ``--set`` gives it, or a value that is no
            text.

    Raises:
        ConfigError: every mistake of file and overrides, one line each:
            ``train_roofs.yaml:12: train.schedule: there is no kind 'polly'; …; did you mean 'poly'?``
    """
    read = read_file(path, _KIND, overrides)
    training, folder = read.content, read.source.parent
    teacher = None if training.distill is None else training.distill.teacher
    default_output = Path("runs", scene_slug(training.name))
    return LoadedTraining(
        training=training,
        source=read.source,
        catalogs=tuple(absolute(entry.catalog, folder) for entry in training.data),
        start=_bundle(training.model.start, folder),
        teacher=_bundle(teacher, folder),
        output=absolute(default_output, Path.cwd())
        if training.output is None
        else absolute(training.output, folder),
        origins=read.origins,
    )


def dump_training(training: Training) -> str:
    """The training as YAML, ``train`` and ``chips`` in full; loading it gives the same training."""
    said = training.model_dump(mode="json", exclude_defaults=True)
    # In full: what equals a default may still differ from the preset that it is laid over.
    whole = training.model_dump(mode="json", include={"train", "chips"})
    return dump_yaml({"name": training.name, **said, **whole})


def _bundle(name_or_path: str | None, folder: Path) -> str | None:
    if name_or_path is None or not is_path(name_or_path):
        return name_or_path
    return str(absolute(name_or_path, folder))
