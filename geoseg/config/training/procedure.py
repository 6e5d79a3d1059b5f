"""How a network learns: optimizer, schedule, loss, precision, when to stop. Values only."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    WithJsonSchema,
    model_validator,
)

from geoseg.config.section import Section
from geoseg.config.training.loss import CrossEntropy, Loss, Overlap
from geoseg.words import did_you_mean

__all__ = [
    "Adam",
    "Constant",
    "Cosine",
    "EarlyStopping",
    "KerasDecay",
    "Optimizer",
    "Plateau",
    "Poly",
    "Recipe",
    "Schedule",
    "Sgd",
]

Positive = Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[StrictFloat, Field(ge=0, lt=1)]
Count = Annotated[StrictInt, Field(ge=1, le=10**9)]


class _Optimizer(Section):
    rate: Positive
    """Peak learning rate."""
    weight_decay: NotNegative = 0.0
    """Weight decay: an L2 term of the gradient for sgd and adam, decoupled from it for adamw."""
    decays: Literal["kernels", "all"] = "kernels"
    """What decays. kernels: weights of convolutions. all: biases, norms and slopes too, as in torch."""
    encoder_rate_factor: Annotated[StrictFloat, Field(gt=0, le=100)] = 1.0
    """Factor on the rate of the network's encoder, below 1 where that is pre-trained."""


class Sgd(_Optimizer):
    """Stochastic gradient descent."""

    kind: Literal["sgd"] = "sgd"
    """Stochastic gradient descent."""
    momentum: Share = 0.9
    """Momentum."""
    nesterov: StrictBool = False
    """Nesterov's momentum."""

    @model_validator(mode="after")
    def _momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Adam(_Optimizer):
    """Adam, or AdamW."""

    kind: Literal["adam", "adamw"]
    """adam: weight decay is part of the gradient. adamw: it is apart from it."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Decays of the averages of the gradient and of its square."""


class _Schedule(Section):
    warmup: Annotated[StrictInt, Field(ge=0, le=10**9)] = 0
    """Steps over which the rate rises linearly from zero."""


class Constant(_Schedule):
    """The same rate throughout."""

    kind: Literal["constant"] = "constant"
    """The same rate throughout."""


class Poly(_Schedule):
    """rate × (1 - step / steps)^power, per step."""

    kind: Literal["poly"] = "poly"
    """Falls to zero: rate × (1 - step / steps)^power."""
    power: Positive = 0.9
    """Exponent."""


class Cosine(_Schedule):
    """Half a cosine from the rate to zero, per step."""

    kind: Literal["cosine"] = "cosine"
    """Falls to zero along half a cosine."""


class KerasDecay(_Schedule):
    """rate / (1 + decay × step), per step: what Keras called the decay of an optimizer."""

    kind: Literal["keras-decay"] = "keras-decay"
    """Falls as rate / (1 + decay × step)."""
    decay: NotNegative = 5e-5
    """Decay per step."""


class Plateau(_Schedule):
    """The rate falls by a factor when validations do not improve (ReduceLROnPlateau)."""

    kind: Literal["plateau"] = "plateau"
    """Falls by a factor when validations do not improve."""
    watch: Literal["loss", "score"] = "loss"
    """What has to improve: the loss on the held-out blocks, or the score."""
    patience: Annotated[StrictInt, Field(ge=0, le=10**6)] = 2
    """Validations without improvement that are waited for."""
    factor: Annotated[StrictFloat, Field(gt=0, lt=1)] = 0.5
    """Factor on the rate."""


class EarlyStopping(Section):
    """When to stop before the end."""

    watch: Literal["loss", "score"] = "loss"
    """What has to improve: the loss on the held-out blocks, or the score."""
    patience: Annotated[StrictInt, Field(ge=1, le=10**6)] = 5
    """Validations without improvement after which the training stops."""


def _word_or_count(word: str) -> tuple[Any, ...]:
    def read(given: object) -> object:
        if given == word or (isinstance(given, int) and not isinstance(given, bool) and given >= 1):
            return given
        hint = did_you_mean(given, [word]) if isinstance(given, str) else ""
        raise ValueError(f"must be {word} or a whole number from 1, got {given!r:.80}{hint}")

    schema = {"anyOf": [{"const": word}, {"type": "integer", "minimum": 1}]}
    return BeforeValidator(read), WithJsonSchema(schema)


Optimizer = Annotated[Sgd | Adam, Field(discriminator="kind")]
"""Any optimizer."""
Schedule = Annotated[Constant | Poly | Cosine | KerasDecay | Plateau, Field(discriminator="kind")]
"""Any schedule."""
Every = Annotated[Literal["epoch"] | int, *_word_or_count("epoch")]
"""``epoch``, or a number of steps."""


class Recipe(Section):
    """How the network learns. A step is one change of the weights, an epoch a number of chips."""

    steps: Count | None = 2000
    """Steps in all; give this or epochs."""
    epochs: Count | None = None
    """Epochs in all; give this or steps."""
    epoch: Annotated[Literal["auto"] | int, *_word_or_count("auto")] = "auto"
    """Chips of an epoch; auto: as many as cover the labeled area once."""
    batch: Annotated[StrictInt, Field(ge=1, le=65536)] = 8
    """Chips seen at once, by all processes together."""
    accumulate: Annotated[StrictInt, Field(ge=1, le=65536)] = 1
    """Batches whose gradients are added up for one step."""
    optimizer: Optimizer = Adam(kind="adamw", rate=2e-3, weight_decay=1e-4)
    """Optimizer and rate."""
    schedule: Schedule = Poly(power=0.9, warmup=100)
    """How the rate changes."""
    loss: Loss = Loss(cross_entropy=CrossEntropy(), overlap=Overlap(kind="dice", smooth=1.0))
    """What is minimized."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the network while it learns; auto: bf16 on a GPU that has it, else fp32. fp16 needs a
    GPU."""
    average: Share | None = 0.998
    """Decay of the moving average of the weights, which is then what is scored and kept; null keeps none."""
    clip: Positive | None = 5.0
    """Largest norm of the gradient; null does not clip."""
    keep: Literal["score", "loss", "last"] = "score"
    """Which weights are kept: of the best score or of the lowest loss on the held-out blocks, or the last."""
    early_stopping: EarlyStopping | None = None
    """When to stop before the end; null does not."""
    validate_every: Every = 250
    """Steps between validations, or epoch."""
    checkpoint_every: Every = 250
    """Steps between checkpoints, or epoch. A checkpoint is where a stopped training goes on."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            both = "both are" if self.steps else "neither is"
            raise ValueError(f"needs steps or epochs, one of them: {both} given")
        return self
