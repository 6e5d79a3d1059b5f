"""Networks of segmentation-models-pytorch (SMP): any of its decoders on any of its encoders.

The library is imported when such a network is asked for, since it takes seconds. Two of its networks are in
Tables 3 and 4 of Cai, Zhang, "Finding a Faster UNet for Satellite Image Segmentation", there with encoders
pre-trained on ImageNet; their sizes and pass sizes agree to the digit. Pre-trained encoders come from the hub
where SMP and timm keep them, or from its cache on this machine.
"""

from __future__ import annotations

import inspect
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Annotated, Any, NamedTuple, cast

import torch
from pydantic import Field, JsonValue
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.overrides import TorchFunctionMode

from geoseg.errors import BundleError
from geoseg.models.networks.network import Architecture, Bands, Classes, Network, Span
from geoseg.models.networks.receptive_field import Offsets, field_of_view
from geoseg.words import did_you_mean, listed

__all__ = ["SMP", "load_encoder"]


class _Definition(NamedTuple):
    """All that decides a network but bands and classes; see :class:`SmpNetwork`."""

    architecture: str
    encoder: str
    options: str  # JSON
    align_corners: bool


class SmpNetwork(Network):
    """One of SMP's networks; its state has SMP's own names (``encoder.``, ``decoder.``, …).

    Sizes that are no multiple of the alignment are padded with zeros below and on the right; the logits are
    cropped. Random weights are as SMP draws them: of ResNets He's normal distribution (fan out), of U-Nets'
    decoders He's uniform one (fan in). The radius is found by
    :func:`~geoseg.models.networks.receptive_field.field_of_view`: exact, or None where it cannot be shown
    (image pooling, squeeze and excitation, attention, group norm).

    Args:
        architecture: SMP's name of the decoder in small letters, such as ``unetplusplus``.
        encoder: SMP's or, after ``tu-``, timm's name.
        options: other parameters of SMP's class, such as ``{"decoder_channels": [128, 64, 32, 16, 8]}``.
        align_corners: how upsampling modules work. SMP aligns corners: a value then depends on its tile's
            size and its place in it, so geoseg does not; set it for weights that were trained so.

    Raises:
        BundleError: a name or an option that SMP or timm do not have, or a network made for one image size.
    """

    def __init__(
        self,
        bands: int,
        classes: int,
        *,
        architecture: str,
        encoder: str,
        options: Mapping[str, Any],
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.bands, self.classes = bands, classes
        text = json.dumps(dict(options), sort_keys=True)
        self.definition = _Definition(architecture, encoder, text, align_corners)
        _offsets(self.definition)
        made = made_by_smp(self.definition, bands=bands, classes=classes)
        self.encoder, self.decoder = made.encoder, made.decoder
        self.segmentation_head = made.segmentation_head
        self.alignment = alignment_of(made)
        self._tokens = isinstance(made, library().DPT)

    def forward(self, pixels: Tensor) -> Tensor:
        """Float (N, bands, H, W) to logits (N, classes, H, W)."""
        height, width = pixels.shape[-2:]
        bottom, right = -height % self.alignment, -width % self.alignment
        if bottom or right:
            pixels = F.pad(pixels, (0, right, 0, bottom))
        features = self.encoder(pixels)
        # A vision transformer's features come with its tokens, and its decoder takes both.
        decoded = self.decoder(*features) if self._tokens else self.decoder(features)
        logits: Tensor = self.segmentation_head(decoded)
        return logits[..., :height, :width] if bottom or right else logits

    def receptive_field(self, span: Span) -> Span | None:
        """See :meth:`Network.receptive_field`."""
        offsets = _offsets(self.definition)
        if offsets is None:
            return None
        before, after = offsets.before[span.lo % self.alignment], offsets.after[span.hi % self.alignment]
        return Span(span.lo - before, span.hi + after)


@lru_cache(maxsize=64)
def _offsets(definition: _Definition) -> Offsets | None:
    """How far a network looks, once it is seen to take images that are no square of a certain size."""
    named = f"SMP's {definition.architecture} on the encoder {definition.encoder!r}"
    with torch.device("meta"), torch.inference_mode():
        made = made_by_smp(definition, bands=3, classes=2).eval()
        stride = alignment_of(made)
        image = torch.empty(1, 3, 2 * stride, 3 * stride)
        try:
            size = tuple(made(image).shape[2:])
        except (RuntimeError, AssertionError, ValueError) as error:
            raise BundleError(
                f"{named} does not take images of any size: {' '.join(str(error).split()):.200}"
            ) from error
    if size != image.shape[2:]:
        raise BundleError(
            f"{named} with the options {definition.options:.200} makes maps of {size[0]}×{size[1]} px of an "
            f"image of {2 * stride}×{3 * stride} px"
        )
    return field_of_view(made, 3, stride)


_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+-]{1,100}$")]
"""Of an encoder: with a : or / in it, timm would ask a hub for the network itself."""


def _smp(
    *,
    bands: Bands,
    classes: Classes,
    architecture: _Name = "unet",
    encoder: _Name = "resnet34",
    options: dict[str, JsonValue] | None = None,
    align_corners: bool = False,
) -> Network:
    return SmpNetwork(
        bands,
        classes,
        architecture=architecture,
        encoder=encoder,
        options=options or {},
        align_corners=align_corners,
    )


def _preset(architecture: str, encoder: str) -> Callable[..., Network]:
    def factory(*, bands: Bands, classes: Classes) -> Network:
        return SmpNetwork(bands, classes, architecture=architecture, encoder=encoder, options={})

    return factory


_SOURCE = "Cai, Zhang, Finding a Faster UNet: Tables 3 and 4, by segmentation-models-pytorch"

SMP: Mapping[str, Architecture] = {
    "unetpp-resnet34": Architecture(_preset("unetplusplus", "resnet34"), _SOURCE),
    "deeplabv3plus-resnet34": Architecture(_preset("deeplabv3plus", "resnet34"), _SOURCE),
    "smp": Architecture(_smp, "segmentation-models-pytorch: any of its architectures and encoders"),
}


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
    definition: _Definition, *, bands: int, classes: int, weights: str | bool | None = None
) -> Any:
    """SMP's own network with random weights, or with its encoder's pre-trained ones.

    Encoder stages deeper than the decoder looks (``encoder_depth`` below 5) are left out: timm's encoders
    would keep and even compute them for nothing.

    Args:
        weights: SMP's name of pre-trained weights, or True for timm's; this alone may use the network.

    Raises:
        BundleError: a name or an option that SMP or timm do not have.
    """
    made = _whole(definition, bands=bands, classes=classes, weights=weights)
    for name in _idle(definition):
        parent, _, key = name.rpartition(".")
        setattr(made.get_submodule(parent), key, nn.Identity())
    return made


@lru_cache(maxsize=64)
def _idle(definition: _Definition) -> tuple[str, ...]:
    """Modules with weights that no output depends on, the outermost ones."""
    # Whoever asks may be counting in inference mode, which leaves no trace of what came from what.
    with torch.device("meta"), torch.inference_mode(mode=False), torch.enable_grad():
        made = _whole(definition, bands=3, classes=2).eval()
        stride = alignment_of(made)
        try:
            output = made(torch.empty(1, 3, 2 * stride, 3 * stride))
        except (RuntimeError, AssertionError, ValueError):
            return ()  # it does not take images of any size: _offsets reports it
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


def _whole(definition: _Definition, *, bands: int, classes: int, weights: str | bool | None = None) -> Any:
    architecture, encoder, options, align_corners = definition
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
    _check_encoder(encoder)
    try:
        with _RatesHaveValues():
            made = kinds[architecture](
                **given, encoder_name=encoder, encoder_weights=weights, in_channels=bands, classes=classes
            )
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


_PATIENCE_S = 4.0  # how long the hub may take to answer before what it would give is taken from the cache
_FROM_SCRATCH = "set model.encoder_weights to null to train from random weights"


def load_encoder(network: Network, weights: str) -> None:
    """Replace an encoder's random weights by pre-trained ones, in place.

    For other than three bands, SMP and timm spread the first layer's weights over them.

    Args:
        weights: ``imagenet``, or another name that SMP gives weights of this encoder. An encoder of timm has
            those that its own name says.

    Raises:
        BundleError: a network without such an encoder, an encoder without such weights, or neither the hub
            nor its cache on this machine gives them; the text names the key that trains from random weights.
    """
    if not isinstance(network, SmpNetwork):
        raise BundleError(
            "pre-trained encoders belong to networks of SMP (smp, unetpp-resnet34, deeplabv3plus-resnet34), "
            f"this is a {type(network).__name__}; {_FROM_SCRATCH}"
        )
    encoder = network.definition.encoder
    known = _weights_of(encoder)
    if weights not in known:
        has = f"has {', '.join(known)}" if known else "has none"
        raise BundleError(f"no weights {weights!r} for the encoder {encoder}: it {has}; {_FROM_SCRATCH}")
    reached = _hub_answers()
    try:
        with _cache_only(not reached):
            made = made_by_smp(
                network.definition,
                bands=network.bands,
                classes=network.classes,
                weights=True if encoder.startswith("tu-") else weights,
            )
    except (OSError, RuntimeError) as error:
        why = f"loading them failed: {' '.join(str(error).split()):.200}"
        if not reached:
            why = "it cannot be reached from here, nor does its cache have them"
        raise BundleError(
            f"weights {weights!r} of the encoder {encoder} come from {_endpoint()}, and {why}; "
            f"{_FROM_SCRATCH}"
        ) from error
    network.encoder.load_state_dict(made.encoder.state_dict())


def _weights_of(encoder: str) -> list[str]:
    import timm  # noqa: PLC0415 - it takes seconds
    from segmentation_models_pytorch.encoders import encoders  # noqa: PLC0415 - same

    if encoder.startswith("tu-"):
        return ["imagenet"] if timm.models.is_model_pretrained(encoder.removeprefix("tu-")) else []
    settings: dict[str, Any] = encoders.get(encoder, {}).get("pretrained_settings", {})
    return list(settings)


def _endpoint() -> str:
    from huggingface_hub import constants  # noqa: PLC0415 - it comes with SMP and takes a second

    return str(constants.ENDPOINT)


def _hub_answers() -> bool:
    """Whether the hub answers at all: the libraries would retry for most of a minute."""
    asked = urllib.request.Request(_endpoint(), method="HEAD")  # noqa: S310 - the hub's address
    try:
        urllib.request.urlopen(asked, timeout=_PATIENCE_S).close()  # noqa: S310 - same
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@contextmanager
def _cache_only(on: bool) -> Iterator[None]:  # noqa: FBT001 - says itself
    """The hub's offline mode, which takes what an earlier run has fetched, without a request."""
    from huggingface_hub import constants  # noqa: PLC0415 - it comes with SMP and takes a second

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = on or before
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
