"""What several commands take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["workflow_command"]

_EXISTING_FILE = click.Path(exists=False, dir_okay=False, path_type=Path)


def _overrides(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    from geoseg.io.text import parse_overrides  # noqa: PLC0415 - --help answers at once

    return dict(parse_overrides(values))


def workflow_command(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command on a workflow takes."""
    set_option = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        callback=_overrides,
        help="Override a key of the workflow, such as tiling.halo=exact; may be repeated.",
    )
    return click.argument("workflow", type=_EXISTING_FILE)(set_option(function))
