"""Pre-trained encoders, from the hub where SMP and timm keep them or from its cache on this machine."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from geoseg.errors import BundleError
from geoseg.models.networks.network import Network
from geoseg.models.networks.smp import SmpNetwork
from geoseg.models.networks.smp_library import made_by_smp

__all__ = ["load_encoder"]

_PATIENCE_S = 4.0
"""How long the hub may take to answer before what it would give is taken from the cache."""
_FROM_SCRATCH = "set model.encoder_weights to null to train from random weights"


def load_encoder(network: Network, weights: str) -> None:
    """Replace an encoder's random weights by pre-trained ones, in place.

    For other than three bands, SMP and timm spread the first layer's weights over them.

    Args:
        network: a network of segmentation-models-pytorch.
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
    _, encoder, _, _ = network.recipe
    known = _weights_of(encoder)
    if weights not in known:
        has = f"has {', '.join(known)}" if known else "has none"
        raise BundleError(f"no weights {weights!r} for the encoder {encoder}: it {has}; {_FROM_SCRATCH}")
    reached = _hub_answers()
    try:
        with _cache_only(not reached):
            made = made_by_smp(
                *network.recipe,
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
    """Whether the hub says anything at all: the libraries would retry for most of a minute."""
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
    """The hub's offline mode, which takes what an earlier run has fetched and asks nobody."""
    from huggingface_hub import constants  # noqa: PLC0415 - it comes with SMP and takes a second

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = on or before
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
