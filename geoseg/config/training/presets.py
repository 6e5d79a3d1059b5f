"""Settings of ``train`` and ``chips`` by name: ours, and those of the papers.

What a paper does not state is marked *ours*.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from geoseg.config.section import Section
from geoseg.config.training.data import Chips, Color
from geoseg.config.training.train_config import (
    Adam,
    CrossEntropy,
    EarlyStopping,
    KerasDecay,
    Loss,
    Overlap,
    Plateau,
    Poly,
    Sgd,
    TrainConfig,
)
from geoseg.config.units import Pixels

__all__ = ["PRESETS", "Preset", "laid_over"]


class Preset(NamedTuple):
    """How to train, the chips that go with it, and where both are from."""

    train: TrainConfig
    chips: Chips
    source: str


_PLAIN = Chips(scales=(1.0, 1.0), rotate=0.0, flips=(), focus=0.0, color=None, blur=0.0, noise=0.0, holes=0.0)
"""Chips as they lie in the scene: the papers cut tiles beforehand, each pixel as often as another."""


def _plain(size: int, **changes: object) -> Chips:
    return _PLAIN.model_copy(update={"size": (Pixels(size, "px"),), **changes})


def _in_epochs(**settings: Any) -> TrainConfig:
    """What the papers share: validated and saved once an epoch, no average of weights, no clipping."""
    return TrainConfig(
        steps=None, average=None, clip=None, validate_every="epoch", checkpoint_every="epoch", **settings
    )


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "geoseg": Preset(TrainConfig(), Chips(), "ours: cross-entropy + Dice, AdamW, poly, averaged weights"),
        # SGD 0.9 with Nesterov (the authors' code); "decay 5e-5" is Keras' decay of the rate, nothing is
        # regularized; 20 epochs of batch 2; the lowest validation loss is kept; 500 px, horizontal flips.
        # Ours: validated and saved once an epoch.
        "micro-net": Preset(
            _in_epochs(
                epochs=20,
                batch=2,
                optimizer=Sgd(rate=1e-3, momentum=0.9, nesterov=True),
                schedule=KerasDecay(decay=5e-5),
                loss=Loss(cross_entropy=CrossEntropy(), deep_supervision=0.0),
                precision="fp32",
                keep="loss",
            ),
            _plain(500, flips=("horizontal",)),
            "Chen, Chen, Jing, Micro-Net",
        ),
        # Adam 1e-3 with weight decay 1e-3, ReduceLROnPlateau(min, patience 2, factor 0.5), at most 50 epochs,
        # early stopping after 5, a logical batch of 8 by accumulation, JDT with alpha = beta = gamma = 1 on
        # hard labels, flips, hue, brightness and contrast. smooth 1.0 is that of the JDT releases then.
        # Ours: 4 × 2 chips; the ranges of color; "auto" precision (the paper's GradScaler means fp16, which
        # needs a GPU); that the loss on the held-out blocks is what is watched.
        "faster-unet": Preset(
            _in_epochs(
                epochs=50,
                batch=4,
                accumulate=2,
                optimizer=Adam(kind="adam", rate=1e-3, weight_decay=1e-3, decays="all"),
                schedule=Plateau(watch="loss", patience=2, factor=0.5),
                loss=Loss(
                    cross_entropy=None, overlap=Overlap(kind="jaccard", smooth=1.0), deep_supervision=0.0
                ),
                keep="loss",
                early_stopping=EarlyStopping(watch="loss", patience=5),
            ),
            _plain(
                512,
                flips=("horizontal", "vertical"),
                color=Color(brightness=0.2, contrast=0.2, gamma=0.0, gain=0.0, saturation=0.0, hue=15.0),
            ),
            "Cai, Zhang, Finding a Faster UNet",
        ),
        # The paper states nothing of it but that nothing is augmented. All else is ours, the default of the
        # public framework that it evidently builds on: SGD 0.9, poly 0.9, weight decay 1e-4, rate 0.02 for
        # the encoder and ten times that for the decoder, crops of 769 px, batch 8. Ours too: 100 epochs.
        "dual-aspp": Preset(
            _in_epochs(
                epochs=100,
                batch=8,
                optimizer=Sgd(
                    rate=0.2, momentum=0.9, weight_decay=1e-4, decays="all", encoder_rate_factor=0.1
                ),
                schedule=Poly(power=0.9),
                loss=Loss(cross_entropy=CrossEntropy(), deep_supervision=0.0),
            ),
            _plain(769),
            "ours: Xiao et al., Dual ASPP, states none",
        ),
        # Adam 2e-3 with weight decay 1e-4, poly 0.9 per step, 300 epochs (100 for the ablations),
        # cross-entropy on four outputs with weights 1 and 0.4 each; random scale, crop and flip.
        # Ours: batch 8 (not stated), scales 0.5 to 2 (not stated), crops of 512 px.
        "mininet": Preset(
            _in_epochs(
                epochs=300,
                batch=8,
                optimizer=Adam(kind="adam", rate=2e-3, weight_decay=1e-4, decays="all"),
                schedule=Poly(power=0.9),
                loss=Loss(cross_entropy=CrossEntropy(), deep_supervision=0.4),
            ),
            _plain(512, scales=(0.5, 2.0), flips=("horizontal",)),
            "Liu et al. 2022, MiniNet",
        ),
    }
)
"""Every preset that a training can name."""


def laid_over(preset: Section, given: object) -> object:
    """A section of a preset with what a file says over it.

    A section within it whose ``kind`` changes starts afresh: the power of a poly schedule means nothing to a
    plateau. ``steps`` and ``epochs`` replace each other. Anything but a mapping comes back as it is, for the
    model to refuse.

    >>> laid_over(PRESETS["mininet"].train, {"steps": 9, "schedule": {"kind": "cosine"}})["schedule"]
    {'kind': 'cosine'}
    """
    if not isinstance(given, dict):
        return given
    merged = _merged(preset.model_dump(mode="json"), given)
    for one, other in (("steps", "epochs"), ("epochs", "steps")):
        if given.get(one) is not None and other not in given and other in merged:
            merged[other] = None
    return merged


def _merged(below: dict[str, object], above: dict[str, object]) -> dict[str, object]:
    if "kind" in above and above["kind"] != below.get("kind"):
        return dict(above)
    merged = dict(below)
    for key, value in above.items():
        under = below.get(key)
        merged[key] = _merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged
