"""What several commands take."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, get_args

import click
from click.shell_completion import CompletionItem

__all__ = [
    "complete_models",
    "examples",
    "plain_options",
    "progress_option",
    "set_option",
    "trust_option",
    "workflow_command",
]


def examples(*lines: str) -> str:
    """The end of a command's help: lines that one can type."""
    return "\b\n" + "\n".join(("Examples:", *(f"  {line}" for line in lines)))


def _overrides(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    from geoseg.io.yaml.config_file import parse_overrides

    return dict(parse_overrides(values))


def complete_models(_context: click.Context, _option: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of the shipped models that begin with what is typed; the shell adds files."""
    from geoseg.models.bundle import shipped_bundles

    return [CompletionItem(name) for name in shipped_bundles() if name.startswith(typed)]


def _complete_keys(context: click.Context, _option: click.Parameter, typed: str) -> list[CompletionItem]:
    """Keys of a workflow, or of a training, that begin with what is typed."""
    from pydantic import BaseModel

    from geoseg.config.training.training_file import Training
    from geoseg.config.workflow import Workflow

    def keys(section: type[BaseModel], before: str = "") -> Iterator[str]:
        for name, field in section.model_fields.items():
            inner = [
                kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)
            ]
            nested = next((kind for kind in inner if issubclass(kind, BaseModel)), None)
            yield from [f"{before}{name}="] if nested is None else keys(nested, f"{before}{name}.")

    found = keys(Training if context.info_name == "train" else Workflow)
    return [CompletionItem(key) for key in found if key.startswith(typed)]


def set_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--set``; its values come as ``overrides``."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        callback=_overrides,
        shell_complete=_complete_keys,
        help=text,
    )


def workflow_command(function: Callable[..., Any], metavar: str = "WORKFLOW") -> Callable[..., Any]:
    """What every command on a workflow takes."""
    option = set_option(
        "Override a key of the workflow, such as tiling.halo=exact or data[0].weight=0.5; may be repeated."
    )
    return click.argument("workflow", metavar=metavar, type=click.Path(path_type=Path))(option(function))


_PLAIN: dict[str, tuple[str, str]] = {
    "catalog": ("PATH", "STAC catalog, folder of images, image or pattern, in place of the workflow's."),
    "model": ("NAME|PATH", "Model, in place of the workflow's."),
    "output": ("FOLDER", "Folder of the results, in place of the workflow's."),
}


def plain_options(*keys: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options of their own for these keys; they count as the last ``--set`` of their key.

    A person at a terminal sees at once that the command has begun.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def command(*args: Any, overrides: dict[str, str], **given: Any) -> Any:
            if sys.stderr.isatty() and given.get("progress") not in ("json", "none"):
                click.echo(f"reading {given['workflow']}", err=True)  # before what takes seconds to import
            for key in keys:
                value = given.pop(f"{key}_option", None)
                if value is not None:
                    overrides[key] = json.dumps(value)  # JSON is YAML: a pattern's * must not be an alias
            return function(*args, overrides=overrides, **given)

        for key in reversed(keys):
            names = [f"--{key}", *(["-o"] if key == "output" else [])]
            what, text = _PLAIN[key]
            complete = complete_models if key == "model" else None
            option = click.option(*names, f"{key}_option", metavar=what, help=text, shell_complete=complete)
            command = option(command)
        return command

    return decorate


progress_option = click.option(
    "--progress",
    type=click.Choice(["auto", "bar", "plain", "json", "none"]),
    default="auto",
    show_default=True,
    help="auto: a bar on a terminal, plain lines elsewhere.",
)

trust_option = click.option(
    "--trust",
    type=click.Choice(["catalog", "local"]),
    default="catalog",
    show_default=True,
    help="local: everything that GDAL reads from your own disk, not plain GeoTIFFs only.",
)
"""How far files are trusted: :data:`geoseg.config.stac.refs.Trust`."""
