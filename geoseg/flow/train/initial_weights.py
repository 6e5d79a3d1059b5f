"""The network that a training begins with: random, pre-trained, or a bundle's."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch

from geoseg.errors import BundleError, ConfigError
from geoseg.flow.train.contract import arguments_of
from geoseg.models.backends.torch import scaled_logits
from geoseg.models.bundle import Bundle, load_bundle
from geoseg.models.networks.registry import ARCHITECTURES, build
from geoseg.models.networks.smp import load_encoder
from geoseg.words import listed

if TYPE_CHECKING:
    from torch import Tensor

    from geoseg.config.model.contract import Scaling
    from geoseg.config.training.training_file import Training
    from geoseg.models.networks.network import Network
    from geoseg.training.precision import TrainingRuntime
    from geoseg.training.validate import Score, Validation

__all__ = ["check_supervision", "first_network", "first_score", "origin_of", "start_bundle"]

Notify = Callable[[str], None]


def start_bundle(training: Training, name_or_path: str | None) -> Bundle | None:
    """The bundle whose weights a training starts from; None: there is none.

    Raises:
        BundleError: no such bundle, or one of another architecture, other arguments or other bands.
    """
    if name_or_path is None:
        return None
    bundle = load_bundle(name_or_path)
    spec = bundle.spec
    own = {key: value for key, value in spec.arguments.items() if key not in ("bands", "classes")}
    asked = {key: value for key, value in training.model.arguments.items() if key not in ("bands", "classes")}
    for what, found, needed in (
        ("architecture", spec.architecture, training.model.architecture),
        ("arguments", own, asked),
        ("bands", spec.bands, training.bands),
    ):
        if found != needed:
            raise BundleError(
                f"model.start: {spec.name} has the {what} {_shown(found)}, this training {_shown(needed)}; "
                "weights only fit the network that they were trained for"
            )
    return bundle


def origin_of(training: Training, start: Bundle | None) -> str:
    """What the first weights are, beside the seed: text that stays the same while they do."""
    return training.model.encoder_weights or "" if start is None else start.spec.identity


def first_network(training: Training, start: Bundle | None, notify: Notify = lambda _text: None) -> Network:
    """The network as it is before the first step, a function of the file, its seed and the start.

    Raises:
        ConfigError: inner outputs are asked for that the network cannot have.
        BundleError: arguments that the network does not take, or weights that cannot be had.
    """
    model = training.model
    torch.manual_seed(training.seed)
    network = _built(training)
    if model.encoder_weights is not None:
        load_encoder(network, model.encoder_weights)
    if start is not None:
        _take_over(network, start, notify, fresh=_of_classes(training, network, start))
    return network


def check_supervision(training: Training) -> None:
    """Refuse inner outputs that the network cannot have, without allocating weights.

    Raises:
        ConfigError: the loss asks for them; says to set its factor to 0.
    """
    if _supervised(training):
        with torch.device("meta"):
            _built(training)


def _supervised(training: Training) -> bool:
    """Whether the network has inner outputs to learn by, and the loss asks for them."""
    takes = inspect.signature(ARCHITECTURES[training.model.architecture].factory).parameters
    return bool(training.train.loss.deep_supervision) and "auxiliary" in takes


def _built(training: Training) -> Network:
    """The network that learns, with random weights."""
    architecture, arguments = training.model.architecture, cast("dict[str, Any]", arguments_of(training))
    if not _supervised(training):
        return build(architecture, **arguments)
    try:
        return build(architecture, **arguments | {"auxiliary": True})
    except BundleError as error:
        factor = training.train.loss.deep_supervision
        raise ConfigError(
            f"train.loss.deep_supervision: {factor:g} asks for inner outputs ({error}); give 0, which asks "
            "for none"
        ) from error


def first_score(
    network: Network, scaling: Scaling, validation: Validation, runtime: TrainingRuntime
) -> Score:
    """Score of a network before it learns; it is not changed."""
    device = runtime.device
    with runtime.settings(), torch.inference_mode():
        twin = copy.deepcopy(network).to(device).to(memory_format=cast("Any", torch.channels_last)).eval()

        def logits(pixels: Tensor, valid: Tensor) -> Tensor:
            return scaled_logits(twin, pixels.to(device), valid.to(device), scaling).cpu()

        return validation.score(logits)


def _of_classes(training: Training, network: Network, start: Bundle) -> frozenset[str]:
    """Tensors that mean something else in the bundle: those of the channels, where one has a border."""
    if start.spec.border == bool(training.border):
        return frozenset()
    arguments = arguments_of(training) | {"classes": training.channels + 1}
    wider = build(training.model.architecture, **cast("dict[str, Any]", arguments)).state_dict()
    state = network.state_dict()
    return frozenset(key for key in state if key in wider and state[key].shape != wider[key].shape)


def _take_over(network: Network, start: Bundle, notify: Notify, fresh: frozenset[str]) -> None:
    """Weights of a bundle; where it has other channels, its last layer stays fresh."""
    state = network.state_dict()
    given = start.network().state_dict()
    fitting = {
        key: value
        for key, value in given.items()
        if key in state and key not in fresh and value.shape == state[key].shape
    }
    other = [key for key in given if key not in fitting]
    if set(other) - fresh and start.spec.channels == network.classes:
        raise BundleError(
            f"model.start: {start.spec.name} has the tensor {other[0]!r}, which does not fit "
            f"{start.spec.architecture} as this training builds it"
        )
    network.load_state_dict(state | fitting)
    if other:
        notify(
            f"{start.spec.name} has the channels {listed(start.spec.channel_names, limit=8)}, this training "
            f"{network.classes}: {', '.join(other[:4])} start from random weights"
        )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value or "none")
