"""Networks by name: what a bundle's ``architecture`` and ``arguments`` mean."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from pydantic import ValidationError, validate_call

from geoseg.errors import BundleError
from geoseg.models.networks.dualaspp import DUAL_ASPP
from geoseg.models.networks.fasterunet import FASTER_UNET
from geoseg.models.networks.liteunet import LITE_UNET
from geoseg.models.networks.micronet import MICRONET
from geoseg.models.networks.mininet import MININET
from geoseg.models.networks.network import Architecture, Network
from geoseg.models.networks.smp import SMP
from geoseg.words import did_you_mean, listed

__all__ = ["ARCHITECTURES", "build", "traits"]


@dataclass(frozen=True, slots=True)
class Traits:
    """What tiling needs to know of a network."""

    alignment: int  # tile offsets are multiples of this, in pixels
    receptive_field_radius: int | None  # receptive field's worst side in pixels; None: global


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {**MICRONET, **FASTER_UNET, **MININET, **SMP, **DUAL_ASPP, **LITE_UNET}
)
"""Every network that a bundle can name: each family offers its own, this is all of them."""


def build(architecture: str, /, **arguments: Any) -> Network:
    """A network with fresh random weights, in training mode, on torch's default device.

    It takes ``bands`` and ``classes``, and what else the architecture does; lists stand for tuples.

    Raises:
        BundleError: unknown architecture or argument, or a value out of range.
    """
    found = ARCHITECTURES.get(architecture)
    if found is None:
        hint = did_you_mean(architecture, ARCHITECTURES)
        raise BundleError(
            f"no network is called {architecture!r}"
            f"{hint or f'; geoseg has {listed(ARCHITECTURES, limit=len(ARCHITECTURES))}'}"
        )
    try:
        return validate_call(found.factory)(**arguments)
    except ValidationError as error:
        known = list(inspect.signature(found.factory).parameters)
        raise BundleError(f"{architecture}: {_mistake(error, known)}") from error
    except BundleError as error:
        raise BundleError(f"{architecture}: {error}") from error


def _mistake(error: ValidationError, known: list[str]) -> str:
    errors = error.errors(include_url=False)
    # Of an argument that may have several forms, the form that fits furthest says what is wrong.
    first = max((e for e in errors if e["loc"][0] == errors[0]["loc"][0]), key=lambda e: len(e["loc"]))
    name = ".".join(str(part) for part in first["loc"] if not str(part).endswith("]"))
    if first["type"] == "unexpected_keyword_argument":
        return f"unknown argument {name!r}{did_you_mean(name, known) or f'; it takes {listed(known)}'}"
    if first["type"] == "missing_keyword_only_argument":
        return f"the argument {name!r} is missing"
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"argument {name!r}: {message}, got {first['input']!r:.80}"


def traits(architecture: str, /, **arguments: Any) -> Traits:
    """Alignment and radius of a network, without allocating its weights; raises as :func:`build`."""
    with torch.device("meta"):
        network = build(architecture, **arguments)
    return Traits(network.alignment, network.receptive_field_radius)
