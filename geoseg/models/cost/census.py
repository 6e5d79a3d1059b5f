"""Every architecture in figures: size, work, memory, reach, and what its paper prints beside ours."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from geoseg.models.cost.memory import bytes_per_pixel
from geoseg.models.cost.operations import tally
from geoseg.models.networks.architecture import Architecture, Row, like
from geoseg.models.networks.registry import ARCHITECTURES, build

__all__ = ["Figure", "Figures", "Member", "census", "paper_figures"]

_SIDE = 1024
"""Side of the image that work is counted on, in pixels: a multiple of every alignment."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a network takes, for a number of bands and classes."""

    parameters: int
    """Trainable weights."""
    giga_operations: float
    """10⁹ multiply-adds per 10⁶ pixels: what the papers call GFLOPs, convolutions alone."""
    bytes_per_pixel: float
    """Memory of a forward pass in float32, as a plan counts it; as a number also MB per 10⁶ pixels."""
    alignment: int
    """Tile offsets are multiples of this, in pixels."""
    radius: int | None
    """Receptive field's worst side in pixels; None: global."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure that a paper prints, and ours."""

    row: str
    """The network, as the paper calls it."""
    table: str
    """Where it is printed."""
    measure: str
    """``parameters``, ``operations`` or ``pass MB``."""
    printed: str
    """The paper's figure."""
    ours: str
    """The same of geoseg's network, with the same digits."""


@dataclass(frozen=True, slots=True)
class Member:
    """One architecture of the registry."""

    name: str
    """What a bundle calls it."""
    source: str
    """Paper and table."""
    needs: tuple[str, ...]
    """Arguments besides ``bands`` and ``classes`` that have no default."""
    figures: Figures | None
    """None where it needs further arguments."""
    paper: Figure | None
    """One size that its paper prints, parameters before all; None where it prints none."""


def census(bands: int, classes: int) -> Iterator[Member]:
    """Every architecture, with the figures of a network of so many bands and classes.

    No memory is taken for weights, and little for anything else: a few tenths of a second each.
    """
    for name, architecture in ARCHITECTURES.items():
        parameters = inspect.signature(architecture.factory).parameters.values()
        needs = tuple(
            p.name for p in parameters if p.default is p.empty and p.name not in ("bands", "classes")
        )
        figures = None if needs else _figures(name, {"bands": bands, "classes": classes})
        yield Member(name, architecture.source, needs, figures, _foremost(name, architecture))


def paper_figures(name: str) -> list[Figure]:
    """All that the papers print of an architecture and its variants, beside ours."""
    architecture: Architecture = ARCHITECTURES[name]
    return list(_of_rows(name, architecture.rows))


def _foremost(name: str, architecture: Architecture) -> Figure | None:
    """Of the figures that a paper prints the first number of parameters, else the first one."""
    first: Figure | None = None
    for figure in _of_rows(name, architecture.rows):
        if figure.measure == "parameters":
            return figure
        first = first or figure
    return first


def _figures(name: str, arguments: dict[str, Any]) -> Figures:
    with torch.device("meta"):
        network = build(name, **arguments)
    counted = tally(network, network.bands, _SIDE, _SIDE)
    return Figures(
        parameters=counted.parameters,
        giga_operations=counted.multiply_adds / 1e9 / (_SIDE**2 / 1e6),
        bytes_per_pixel=bytes_per_pixel(name, arguments, "meta"),
        alignment=network.alignment,
        radius=network.radius,
    )


def _of_rows(name: str, rows: tuple[Row, ...]) -> Iterator[Figure]:
    """Each printed figure and ours; a forward pass is counted only for those that need one."""
    for row in rows:
        with torch.device("meta"):
            network = build(name, **row.arguments)
        if row.parameters is not None:
            parameters = sum(parameter.numel() for parameter in network.parameters())
            yield Figure(row.name, row.table, "parameters", row.parameters, like(row.parameters, parameters))
        if row.size is None:
            continue
        found = tally(network, network.bands, *row.size)
        if row.operations is not None and row.rule is not None:
            ours = like(row.operations, found.operations(row.rule))
            yield Figure(row.name, row.table, "operations", row.operations, ours)
        if row.pass_size is not None:
            ours = like(row.pass_size, found.pass_megabytes)
            yield Figure(row.name, row.table, "pass MB", row.pass_size, ours)
