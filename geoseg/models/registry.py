"""Networks by name: what a bundle's ``architecture`` and ``arguments`` mean."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationError, validate_call

from geoseg.errors import BundleError
from geoseg.models.micronet import MicroNet
from geoseg.models.mininet import Activation, MiniNet
from geoseg.models.network import Network
from geoseg.recipe.words import did_you_mean, listed

__all__ = ["ARCHITECTURES", "Architecture", "Traits", "build", "traits"]

# A bundle may come from anywhere: sizes beyond any published network are refused before they are allocated.
_Bands = Annotated[int, Field(ge=1, le=1024)]
_Classes = Annotated[int, Field(ge=1, le=1024)]
_Width = Annotated[int, Field(ge=1, le=4096)]
_EvenWidth = Annotated[int, Field(ge=2, le=4096, multiple_of=2)]
_Blocks = Annotated[int, Field(ge=0, le=64)]
_Dilations = Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=16)]
_FourWidths = tuple[_Width, _Width, _Width, _Width]
_FourBlocks = tuple[_Blocks, _Blocks, _Blocks, _Blocks]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network family member that a bundle can name."""

    factory: Callable[..., Network]
    """Typed keyword arguments to a network with fresh random weights."""
    source: str
    """Paper and row."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What tiling needs to know of a network."""

    alignment: int
    """Tile offsets are multiples of this, in pixels."""
    radius: int | None
    """Receptive field's worst side in pixels; None: global."""


def _micronet(
    *,
    bands: _Bands,
    classes: _Classes,
    widths: Annotated[tuple[_EvenWidth, ...], Field(min_length=1, max_length=6)] = (64, 128, 256),
    encoder: _Dilations = (1, 1, 2, 3),
    decoder: _Dilations = (3, 2, 1),
    squeeze: Annotated[float, Field(gt=0, le=1)] = 0.25,
) -> Network:
    return MicroNet(bands, classes, widths=widths, encoder=encoder, decoder=decoder, squeeze=squeeze)


def _mininet(four_widths: _FourWidths, four_blocks: _FourBlocks) -> Callable[..., Network]:
    def factory(
        *,
        bands: _Bands,
        classes: _Classes,
        widths: _FourWidths = four_widths,
        blocks: _FourBlocks = four_blocks,
        activation: Activation = "prelu",
        pool: bool = True,
        short: bool = True,
        long: bool = True,
        auxiliary: bool = False,
    ) -> Network:
        return MiniNet(
            bands,
            classes,
            widths=widths,
            blocks=blocks,
            activation=activation,
            pool=pool,
            short=short,
            long=long,
            auxiliary=auxiliary,
        )

    return factory


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "micronet": Architecture(_micronet, "Chen, Chen, Jing, Micro-Net: Tables 1-3"),
        "mininet-1": Architecture(
            _mininet((16, 32, 64, 64), (2, 2, 3, 4)), "Liu et al. 2022, MiniNet #1: Table 1"
        ),
        "mininet-2": Architecture(
            _mininet((16, 32, 64, 96), (2, 2, 3, 10)), "Liu et al. 2022, MiniNet #2: Table 1"
        ),
    }
)
"""Every network that a bundle can name."""


def build(architecture: str, **arguments: Any) -> Network:
    """A network with fresh random weights, in training mode, on torch's default device.

    Args:
        architecture: a name of :data:`ARCHITECTURES`.
        **arguments: ``bands`` and ``classes``, and what else the architecture takes; lists stand for tuples.

    Raises:
        BundleError: unknown architecture or argument, or a value out of range.
    """
    found = ARCHITECTURES.get(architecture)
    if found is None:
        hint = did_you_mean(architecture, ARCHITECTURES)
        raise BundleError(
            f"no network is called {architecture!r}{hint or f'; geoseg has {listed(ARCHITECTURES)}'}"
        )
    try:
        return validate_call(found.factory)(**arguments)
    except ValidationError as error:
        known = list(inspect.signature(found.factory).parameters)
        raise BundleError(f"{architecture}: {_mistake(error, known)}") from error


def _mistake(error: ValidationError, known: list[str]) -> str:
    first = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "unexpected_keyword_argument":
        return f"unknown argument {name!r}{did_you_mean(name, known) or f'; it takes {listed(known)}'}"
    if first["type"] == "missing_keyword_only_argument":
        return f"the argument {name!r} is missing"
    return f"argument {name!r}: {first['msg'].lower()}, got {first['input']!r:.80}"


def traits(architecture: str, **arguments: Any) -> Traits:
    """Alignment and radius of a network, without allocating its weights.

    Raises:
        BundleError: as :func:`build`.
    """
    with torch.device("meta"):
        network = build(architecture, **arguments)
    return Traits(network.alignment, network.radius)
