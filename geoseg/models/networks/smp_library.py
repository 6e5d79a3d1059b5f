"""Networks as segmentation-models-pytorch (SMP) makes them. Its import takes seconds: it is imported late."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from geoseg.errors import BundleError
from geoseg.words import did_you_mean, listed

__all__ = ["alignment_of", "library", "made_by_smp"]

_OURS = (
    *["self", "encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params"],
    "kwargs",
)
"""Parameters of SMP's networks that are no options: what follows from others, what downloads, what makes the
output something else than logits."""


def library() -> ModuleType:
    """SMP."""
    import segmentation_models_pytorch  # noqa: PLC0415 - see the module's docstring

    return cast("ModuleType", segmentation_models_pytorch)


def made_by_smp(
    architecture: str,
    encoder: str,
    options: str,
    align_corners: bool,  # noqa: FBT001 - as SmpNetwork.recipe holds them
    *,
    bands: int,
    classes: int,
    weights: str | bool | None = None,
) -> Any:
    """SMP's own network with random weights, or with its encoder's pre-trained ones.

    Encoder stages deeper than the decoder looks (``encoder_depth`` below 5) are left out: timm's encoders
    would keep and even compute them for nothing.

    Args:
        architecture: see :class:`SmpNetwork`.
        encoder: see :class:`SmpNetwork`.
        options: see :class:`SmpNetwork`, as JSON.
        align_corners: see :class:`SmpNetwork`.
        bands: input channels.
        classes: output channels.
        weights: SMP's name of pre-trained weights, or True for timm's; this alone may use the network.

    Raises:
        BundleError: a name or an option that SMP or timm do not have.
    """
    made = _whole(
        architecture, encoder, options, align_corners, bands=bands, classes=classes, weights=weights
    )
    for name in _idle(architecture, encoder, options, align_corners):
        parent, _, key = name.rpartition(".")
        setattr(made.get_submodule(parent), key, nn.Identity())
    return made


@lru_cache(maxsize=64)
def _idle(
    architecture: str,
    encoder: str,
    options: str,
    align_corners: bool,  # noqa: FBT001 - as SmpNetwork.recipe holds them
) -> tuple[str, ...]:
    """Modules with weights that no output depends on, the outermost ones."""
    # Whoever asks may be counting in inference mode, which leaves no trace of what came from what.
    with torch.device("meta"), torch.inference_mode(mode=False), torch.enable_grad():
        made = _whole(architecture, encoder, options, align_corners, bands=3, classes=2).eval()
        stride = alignment_of(made)
        try:
            output = made(torch.empty(1, 3, 2 * stride, 3 * stride))
        except (RuntimeError, AssertionError, ValueError):
            return ()  # it does not take images of any size: whoever asks for its reach says so
    used = _weights_behind(output)
    idle = [
        name
        for name, module in made.named_modules()
        if name and (weights := list(module.parameters())) and not used.intersection(map(id, weights))
    ]
    return tuple(name for name in idle if name.rpartition(".")[0] not in idle)


def _weights_behind(output: Tensor) -> set[int]:
    """Ids of the parameters that a tensor was computed from."""
    seen, found = set(), set()
    waiting = [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        waiting += [following for following, _ in node.next_functions]
    return found


def _whole(
    architecture: str,
    encoder: str,
    options: str,
    align_corners: bool,  # noqa: FBT001 - as SmpNetwork.recipe holds them
    *,
    bands: int,
    classes: int,
    weights: str | bool | None = None,
) -> Any:
    """The network as SMP makes it."""
    smp = library()
    kinds: Mapping[str, Any] = smp.MODEL_ARCHITECTURES_MAPPING
    if architecture not in kinds:
        hint = did_you_mean(architecture, kinds) or f"; it has {listed(kinds, limit=99)}"
        raise BundleError(f"argument 'architecture': SMP has no {architecture!r}{hint}")
    given: dict[str, Any] = json.loads(options)
    known = [name for name in inspect.signature(kinds[architecture].__init__).parameters if name not in _OURS]
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f"; it takes {listed(known, limit=99)}"
            raise BundleError(f"argument 'options': SMP's {architecture} has no option {name!r}{hint}")
    if architecture == "dpt":
        given["dynamic_img_size"] = True  # timm's vision transformers take one size only, unless asked
    arguments = {
        "encoder_name": encoder,
        "encoder_weights": weights,
        "in_channels": bands,
        "classes": classes,
    }
    _check_encoder(encoder)
    try:
        with _RatesHaveValues():
            made = kinds[architecture](**given, **arguments)
    except Exception as error:
        if weights is not None:  # not the fault of the names: they made the network before
            raise
        raise BundleError(
            f"SMP cannot make {architecture} on the encoder {encoder!r} with the options {options:.200}: "
            f"{' '.join(str(error).split()):.200}"
        ) from error
    made = made.to(torch.get_default_device())  # SMP makes the first layer of other than 3 bands in memory
    for module in made.modules():
        if isinstance(module, nn.Upsample) and module.align_corners is not None:
            module.align_corners = align_corners
    return made


def alignment_of(made: Any) -> int:
    """Offsets of agreeing tiles, in pixels: the encoder's stride; DPT halves its deepest map once more."""
    return int(made.encoder.output_stride) * (2 if isinstance(made, library().DPT) else 1)


class _RatesHaveValues(TorchFunctionMode):
    """Some encoders read their drop rates off a ``linspace``: on the meta device it would have no values."""

    def __torch_function__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        on_cpu = {"device": "cpu"} if func is torch.linspace else {}
        return func(*args, **{**(kwargs or {}), **on_cpu})


def _check_encoder(encoder: str) -> None:
    import timm  # noqa: PLC0415 - as SMP, which brings it

    names: Iterable[str] = [*library().encoders.encoders, *(f"tu-{name}" for name in timm.list_models())]
    # timm's name may end in the tag of its weights.
    if encoder.partition(".")[0] not in names and not encoder.startswith("timm-"):
        hint = did_you_mean(encoder, names) or "; write timm's names with tu- before them"
        raise BundleError(f"argument 'encoder': neither SMP nor timm has {encoder!r}{hint}")
