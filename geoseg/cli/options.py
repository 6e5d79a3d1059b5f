"""What several commands take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["progress_option", "set_option", "trust_option", "workflow_command"]

_EXISTING_FILE = click.Path(exists=False, dir_okay=False, path_type=Path)


def _overrides(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    from geoseg.io.yaml.config_file import parse_overrides

    return dict(parse_overrides(values))


def set_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--set``; its values come as ``overrides``."""
    return click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", callback=_overrides, help=text
    )


def workflow_command(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command on a workflow takes."""
    option = set_option("Override a key of the workflow, such as tiling.halo=exact; may be repeated.")
    return click.argument("workflow", type=_EXISTING_FILE)(option(function))


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
