"""How a network learns: loss, optimizer, schedule, precision, when to stop. Values only.

Formulas and sources of the losses: :mod:`geoseg.training.losses`.
"""

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
from geoseg.words import did_you_mean

__all__ = [
    "Adam", "Constant", "Cosine", "CrossEntropy", "EarlyStopping", "Focal", "KerasDecay", "Loss", "Optimizer",
    "Overlap", "Plateau", "Poly", "Positive", "Reduction", "Schedule", "Sgd", "TrainConfig",
]  # fmt: skip

Positive = Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[StrictFloat, Field(ge=0, lt=1)]
Count = Annotated[StrictInt, Field(ge=1, le=10**9)]
Weight = NotNegative
ClassWeights = Annotated[tuple[Weight, ...], Field(min_length=2, max_length=255)]
"""One factor per class, in the order of the classes."""

_RATIOS = {"jaccard": (1.0, 1.0), "dice": (0.5, 0.5)}


class CrossEntropy(Section):
    """Cross-entropy of the softmax, the mean over the labeled pixels."""

    weight: Weight = 1.0
    """Factor of this term in the sum."""
    class_weights: ClassWeights | None = None
    """One factor per class; without it, all count alike. The mean stays one over pixels, not over weights."""
    label_smoothing: Annotated[StrictFloat, Field(ge=0, lt=1)] = 0.0
    """Share of each label that is spread evenly over all classes."""


class Reduction(Section):
    """Weights of the three means of an overlap loss; at least one is above zero."""

    per_batch: Weight = 1.0
    """Overlaps summed over the batch, one loss per class, mean over classes (D)."""
    per_image: Weight = 0.0
    """One loss per image and class; mean over classes, then over images (I)."""
    per_class: Weight = 0.0
    """One loss per image and class; mean over images, then over classes (C)."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.per_batch or self.per_image or self.per_class):
            raise ValueError("per_batch, per_image and per_class are all 0; give one of them a weight")
        return self


class Overlap(Section):
    """Jaccard, Dice or Tversky loss in its L1 form (JDT)."""

    weight: Weight = 1.0
    """Factor of this term in the sum."""
    kind: Literal["jaccard", "dice", "tversky"] = "dice"
    """jaccard: alpha = beta = 1. dice: alpha = beta = 0.5. tversky: alpha and beta of your own."""
    alpha: Weight | None = None
    """Weight of false positives; for tversky."""
    beta: Weight | None = None
    """Weight of false negatives; for tversky."""
    gamma: Annotated[StrictFloat, Field(ge=1, le=10)] = 1.0
    """Focal exponent: the loss of a class is raised to it."""
    smooth: Weight = 1e-3
    """Added above and below the fraction: keeps small and absent classes from dominating."""
    norm: Annotated[StrictFloat, Field(ge=1, le=8)] = 1.0
    """Exponent of the norm: sums of its powers in place of sums of absolute values."""
    log: StrictBool = False
    """The logarithm of the overlap in place of its difference from 1."""
    classes: Literal["auto", "present", "all"] = "auto"
    """Which classes are averaged. auto: those present in hard labels, all of soft ones."""
    class_weights: ClassWeights | None = None
    """One factor per class, before the mean."""
    reduction: Reduction = Reduction()
    """Over what the losses are averaged."""

    @model_validator(mode="after")
    def _weights(self) -> Self:
        given = self.alpha is not None or self.beta is not None
        if self.kind == "tversky" and (self.alpha is None or self.beta is None):
            raise ValueError("kind tversky needs alpha and beta, such as alpha: 0.3 and beta: 0.7")
        if self.kind != "tversky" and given:
            raise ValueError(f"alpha and beta are those of kind tversky, but kind is {self.kind}")
        return self

    @property
    def ratio(self) -> tuple[float, float]:
        """Weights of false positives and of false negatives."""
        if self.alpha is not None and self.beta is not None:
            return self.alpha, self.beta
        return _RATIOS[self.kind]


class Focal(Section):
    """Focal loss: cross-entropy times (1 - p)^gamma, so that what is already right counts little."""

    weight: Weight = 1.0
    """Factor of this term in the sum."""
    gamma: Annotated[StrictFloat, Field(ge=0, le=10)] = 2.0
    """Exponent; 0 is cross-entropy."""
    class_weights: ClassWeights | None = None
    """One factor per class."""


class Loss(Section):
    """A sum of terms on the network's output, and the inner outputs' share."""

    cross_entropy: CrossEntropy | None = CrossEntropy()
    """Cross-entropy; null leaves it out."""
    overlap: Overlap | None = None
    """Jaccard, Dice or Tversky loss; null leaves it out."""
    focal: Focal | None = None
    """Focal loss; null leaves it out."""
    deep_supervision: Weight = 0.4
    """Factor of the cross-entropy of each inner output, for networks with auxiliary heads; 0 leaves them
    out."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not any(
            term is not None and term.weight for term in (self.cross_entropy, self.overlap, self.focal)
        ):
            raise ValueError("has no term; give cross_entropy, overlap or focal a weight")
        return self

    @property
    def class_weights(self) -> dict[str, tuple[float, ...]]:
        """The terms that weigh classes, by key."""
        terms = {"cross_entropy": self.cross_entropy, "overlap": self.overlap, "focal": self.focal}
        return {key: term.class_weights for key, term in terms.items() if term and term.class_weights}


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


class TrainConfig(Section):
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
