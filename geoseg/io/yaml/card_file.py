"""Model cards: YAML text to a validated card, with every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.config.model_card import Card
from geoseg.io.yaml.config_file import FileKind, read_file

__all__ = ["load_card"]

_KIND = FileKind(
    Card,
    word="model card",
    needs="title, architecture, bands, scaling, classes, resolution and data",
    example="architecture: micronet",
    paths=frozenset(),
)


def load_card(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Card:
    """Read a model card.

    Args:
        path: YAML file, UTF-8.
        overrides: key → YAML text, as ``--set`` gives it, or a value that is no text.

    Raises:
        ConfigError: every mistake of file and overrides, one line each.
    """
    return read_file(path, _KIND, overrides).content
