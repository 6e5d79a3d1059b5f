"""Every network of the registry in figures: size, work, memory, receptive field, what its paper prints.

``zoo.json`` has those of three bands and two classes, so that they are listed without building anything.
After a change of a network: ``python -c "from geoseg.models.zoo import zoo_text; print(zoo_text())"``.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any, Final

from geoseg.models.cost.memory import bytes_per_pixel
from geoseg.models.papers import Figure, paper_figures

__all__ = ["Member", "count_zoo", "model_zoo", "zoo_text"]

_COUNTED: Final = (3, 2)
"""Bands and classes of ``zoo.json``."""
_SIDE = 1024  # side of the image that work is counted on, in pixels: a multiple of every alignment


@dataclass(frozen=True, slots=True)
class Figures:
    """What a network takes, for a number of bands and classes."""

    parameters: int
    giga_operations: float  # 10⁹ multiply-adds per 10⁶ pixels: the papers' GFLOPs, convolutions alone
    bytes_per_pixel: float  # of a forward pass in float32, with the usual heap; also MB per 10⁶ pixels
    alignment: int  # tile offsets are multiples of this, in pixels
    radius: int | None  # receptive field's worst side in pixels; None: global


@dataclass(frozen=True, slots=True)
class Member:
    """One architecture of the registry."""

    name: str
    source: str  # paper and table
    needs: tuple[str, ...]  # arguments besides ``bands`` and ``classes`` that have no default
    figures: Figures | None  # None where it needs further arguments
    paper: Figure | None  # one size that its paper prints, parameters before all; None where it prints none


def model_zoo(bands: int, classes: int) -> Iterator[Member]:
    """Every architecture, with the figures of a network of so many bands and classes.

    Those of ``zoo.json`` are read; others are counted, in a few tenths of a second each.
    """
    if (bands, classes) != _COUNTED:
        yield from count_zoo(bands, classes)
        return
    for entry in json.loads((files("geoseg") / "models" / "zoo.json").read_text(encoding="utf-8")):
        yield Member(
            name=entry["name"],
            source=entry["source"],
            needs=tuple(entry["needs"]),
            figures=None if entry["figures"] is None else Figures(**entry["figures"]),
            paper=None if entry["paper"] is None else Figure(**entry["paper"]),
        )


def zoo_text() -> str:
    """The text of ``zoo.json``."""
    return json.dumps([asdict(member) for member in count_zoo(*_COUNTED)], indent=1, ensure_ascii=False)


def count_zoo(bands: int, classes: int) -> Iterator[Member]:
    """Every architecture, counted; no memory is taken for weights, and little for anything else."""
    from geoseg.models.networks.registry import ARCHITECTURES  # noqa: PLC0415 - it imports torch

    for name, architecture in ARCHITECTURES.items():
        parameters = inspect.signature(architecture.factory).parameters.values()
        needs = tuple(
            p.name for p in parameters if p.default is p.empty and p.name not in ("bands", "classes")
        )
        figures = None if needs else _figures(name, {"bands": bands, "classes": classes})
        yield Member(name, architecture.source, needs, figures, _foremost(name))


def _foremost(name: str) -> Figure | None:
    """Of the figures that a paper prints the first number of parameters, else the first one."""
    first: Figure | None = None
    for figure in paper_figures(name):
        if figure.measure == "parameters":
            return figure
        first = first or figure
    return first


def _figures(name: str, arguments: dict[str, Any]) -> Figures:
    import torch  # noqa: PLC0415 - figures that are stored are read without

    from geoseg.models.cost.operations import tally  # noqa: PLC0415 - it imports torch
    from geoseg.models.networks.registry import build  # noqa: PLC0415 - it imports torch

    with torch.device("meta"):
        network = build(name, **arguments)
    counted = tally(network, network.bands, _SIDE, _SIDE)
    return Figures(
        parameters=counted.parameters,
        giga_operations=counted.multiply_adds / 1e9 / (_SIDE**2 / 1e6),
        bytes_per_pixel=bytes_per_pixel(name, arguments, "meta"),
        alignment=network.alignment,
        radius=network.receptive_field_radius,
    )
