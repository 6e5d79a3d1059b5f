"""What a family of networks says of each of its members: how to build it and what its paper prints of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from geoseg.models.networks.network import Network

__all__ = ["Architecture", "Bands", "Classes", "Dilations", "EvenWidth", "Row", "Rule", "Width", "like"]

# A bundle may come from anywhere: sizes beyond any published network are refused before they are allocated.
Bands = Annotated[int, Field(ge=1, le=1024)]
"""Input channels."""
Classes = Annotated[int, Field(ge=1, le=1024)]
"""Output channels."""
Width = Annotated[int, Field(ge=1, le=4096)]
"""Channels of a feature map."""
EvenWidth = Annotated[int, Field(ge=2, le=4096, multiple_of=2)]
"""Channels that are split in two halves."""
Dilations = Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=16)]
"""Dilations of one level's modules, in order."""

Rule = Literal["mininet", "thop"]
"""How a paper counts operations, defined by :meth:`geoseg.models.cost.operations.Count.operations`."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a paper's table: a network's arguments, and what is printed of it.

    Printed figures are texts, since their digits say how exact they are; :func:`like` writes ours the same
    way.
    """

    name: str
    """As the paper calls it."""
    arguments: Mapping[str, Any]
    """All arguments of the factory that are not its defaults; ``bands`` and ``classes`` among them."""
    table: str
    """Where it is printed, as in ``Table 2(g)``."""
    parameters: str | None = None
    """Trainable weights, as in ``1.06 M``, ``211 K`` or ``31,043,976``."""
    operations: str | None = None
    """For one image of ``size``, as in ``2.4 G``."""
    rule: Rule | None = None
    """How the operations are counted; set where they are."""
    size: tuple[int, int] | None = None
    """Height and width in pixels of the image that operations and pass size belong to."""
    pass_size: str | None = None
    """torchsummary's forward/backward pass size in MB of 2²⁰ bytes, as in ``3966.00``."""
    scores: Mapping[str, str] = field(default_factory=dict)
    """Measure and data to the figure, in percent, as in ``{"mIoU, Inria Austin": "76.81"}``."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network family member that a bundle can name."""

    factory: Callable[..., Network]
    """Typed keyword arguments, ``bands`` and ``classes`` first, to a network with fresh random weights."""
    source: str
    """Paper and table."""
    rows: tuple[Row, ...] = ()
    """What the paper prints of it, its plain form first, then its variants."""


def like(printed: str, value: float) -> str:
    """A figure of ours with the unit and the digits of a printed one.

    >>> like("1.06 M", 1_055_920), like("211 K", 211_138), like("31,043,976", 8_254_981)
    ('1.06 M', '211 K', '8,254,981')
    """
    number, _, unit = printed.partition(" ")
    decimals = len(number.partition(".")[2])
    scale = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}[unit]
    grouping = "," if "," in number else ""
    return f"{value / scale:{grouping}.{decimals}f} {unit}".rstrip()
