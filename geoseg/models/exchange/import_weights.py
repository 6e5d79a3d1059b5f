"""Bare weights and a card to a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from geoseg.config.model_card import Card
from geoseg.errors import BundleError
from geoseg.io.weights import State, read_state
from geoseg.models.bundle import Bundle
from geoseg.models.networks.network import Network
from geoseg.models.networks.registry import ARCHITECTURES, build
from geoseg.models.saving import save_bundle

__all__ = ["import_bundle"]

_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
"""What wrappers put before every name: data parallel, compiled, Lightning."""


def import_bundle(weights: Path, card: Card, folder: Path) -> tuple[Bundle, list[str]]:
    """Make a bundle of a state dict.

    Names that every tensor has in front (``module.``, ``_orig_mod.`` …) are taken off, and counters that a
    state dict lacks are set to 0; both are reported. Auxiliary heads are left out. A bundle in the folder is
    replaced.

    Args:
        weights: ``.safetensors``, or what ``torch.save`` wrote.

    Returns:
        The bundle, and what was done to the weights' names, one line each.

    Raises:
        BundleError: no such weights, not of the card's architecture, or not finite.
        OutputError: the folder cannot be written.
    """
    state, within = read_state(weights)
    changes = [f"read the state dict under {'.'.join(within)!r}"] if within else []
    with torch.device("meta"):
        network = build(card.architecture, **card.all_arguments)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    state, prefix = _without_prefix(state, wanted)
    if prefix:
        changes.append(f"took {prefix!r} off every name")
    counters = [name for name in wanted if name not in state and name.endswith("num_batches_tracked")]
    if counters:  # older torch did not keep them; they change no output
        changes.append(f"set {len(counters)} counters of batch normalization to 0")
    extra = [name for name in state if name not in wanted and name.startswith("auxiliary.")]
    if extra:
        changes.append(f"left {len(extra)} tensors of auxiliary heads out")
    tensors = {name: torch.from_numpy(array) for name, array in state.items() if name not in extra}
    tensors |= {name: torch.zeros((), dtype=torch.int64) for name in counters}
    _check(weights, card, network, tensors)
    network.load_state_dict(tensors, strict=True, assign=True)
    try:
        spec = card.spec(network.alignment, network.receptive_field_radius)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise BundleError(f"the card of {card.name}: {reason}") from error
    return save_bundle(folder, spec, network.eval()), changes


def _without_prefix(state: State, wanted: Mapping[str, Any]) -> tuple[State, str]:
    """Names as the network has them, where a wrapper's prefix is all that differs; and that prefix."""
    taken = ""
    while state and not any(name in wanted for name in state):
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in state)), None)
        if prefix is None:
            break
        state = {name.removeprefix(prefix): array for name, array in state.items()}
        taken += prefix
    return state, taken


def _check(weights: Path, card: Card, network: Network, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights of another network, and name the one that they fit."""
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found == wanted:
        return
    wrong = []
    for names, verb in (
        ([name for name in wanted if name not in found], "lacks"),
        ([name for name in found if name not in wanted], "has an unknown"),
    ):
        if names:
            wrong.append(f"{verb} tensor {_some(names)}")
    other = [name for name in wanted if name in found and found[name] != wanted[name]]
    if other:
        wrong.append(f"{other[0]!r} is {found[other[0]]}, needed {wanted[other[0]]}{_more(other)}")
    raise BundleError(
        f"{weights} does not fit {card.architecture} with {len(card.bands)} bands and {len(card.classes)} "
        f"classes{' and their border' if card.border else ''}: {'; '.join(wrong)}{_fitting(card, found)}"
    )


def _fitting(card: Card, found: Mapping[str, tuple[int, ...]]) -> str:
    """The end of a sentence: which of geoseg's networks has just these tensors, if one has."""
    sizes = {(len(card.bands), card.all_arguments["classes"])} | _likely_sizes(found)
    for name in ARCHITECTURES:
        for bands, classes in sorted(sizes):
            try:
                with torch.device("meta"):
                    state = build(name, bands=bands, classes=classes).state_dict()
            except BundleError:  # it needs more arguments than these
                break
            if {key: tuple(tensor.shape) for key, tensor in state.items()} == found:
                return f"; they are those of {name} with {bands} bands and {classes} classes"
    return "; give the architecture and arguments that they were trained with"


def _likely_sizes(found: Mapping[str, tuple[int, ...]]) -> set[tuple[int, int]]:
    """Bands and classes by the first and last weights of more than one axis."""
    shapes = [shape for shape in found.values() if len(shape) > 1]
    return {(shapes[0][1], shapes[-1][0])} if shapes else set()


def _some(names: Iterable[str]) -> str:
    known = list(names)
    return repr(known[0]) + _more(known)


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
