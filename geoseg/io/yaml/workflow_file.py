"""Workflow files: YAML text to a validated workflow, with every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.config.slug import scene_slug
from geoseg.config.workflow import Workflow
from geoseg.io.yaml.config_file import (
    FileKind,
    absolute,
    is_path,
    merge_overrides,
    parse_overrides,
    read_file,
    where,
)
from geoseg.io.yaml.strict_yaml import dump_yaml

__all__ = ["LoadedWorkflow", "dump_workflow", "load_workflow", "parse_overrides"]

_KIND = FileKind(
    Workflow,
    word="workflow",
    needs="catalog and model",
    example="model: buildings-mininet2",
    paths=frozenset({"catalog", "model", "output"}),
    names=frozenset({"model"}),
)


@dataclass(frozen=True, slots=True)
class LoadedWorkflow:
    """A workflow, its paths made absolute, and where each key was written."""

    workflow: Workflow
    """The workflow: paths as written, those of ``--set`` absolute; ``name`` is the file's unless given."""
    source: Path
    """Absolute path of the file."""
    catalog: Path
    """Absolute path of the STAC catalog."""
    model: str
    """A shipped model's name, or the absolute path of a bundle."""
    output: Path
    """Absolute path of the output folder."""
    origins: Mapping[str, str]
    """Key → where it was given: ``austin.yaml:12`` or ``--set``."""

    def where(self, key: str) -> str:
        """Where a key, or else the section around it, was given; else the file."""
        return where(self.origins, key)


def load_workflow(
    source: str | Path | Workflow, overrides: Mapping[str, Any] | None = None
) -> LoadedWorkflow:
    """Read a workflow file, or take a workflow that was made in Python.

    Relative paths in the file are relative to the file, those of a workflow from Python and of ``overrides``
    to the working directory. ``output`` is ``runs/<name>`` in the working directory unless given.

    Args:
        source: YAML file, UTF-8, or a workflow.
        overrides: key (``tiling.halo``) → YAML text, as ``--set`` gives it, or a value that is no text.

    Raises:
        ConfigError: every mistake of file and overrides, one line each:
            ``austin.yaml:12: tiling.halo: 'exakt' is neither auto nor exact …; did you mean 'exact'?``
    """
    read = (
        merge_overrides(source, overrides, _KIND)
        if isinstance(source, Workflow)
        else read_file(source, _KIND, overrides)
    )
    workflow, folder = read.content, read.source.parent
    model, output = workflow.model, workflow.output
    default_output = Path("runs", scene_slug(workflow.name))
    return LoadedWorkflow(
        workflow=workflow,
        source=read.source,
        catalog=absolute(workflow.catalog, folder),
        model=str(absolute(model, folder)) if is_path(model) else model,
        output=absolute(default_output, Path.cwd()) if output is None else absolute(output, folder),
        origins=read.origins,
    )


def dump_workflow(workflow: Workflow) -> str:
    """The workflow as YAML: what it says beyond the defaults; loading it gives the same workflow."""
    said = workflow.model_dump(mode="json", exclude_defaults=True)
    return dump_yaml(
        {"name": workflow.name, **said}
    )  # always with its name, which a file's name would replace
