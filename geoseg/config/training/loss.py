"""What a training minimizes: a weighted sum of terms. Formulas and sources: :mod:`geoseg.train.losses`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictFloat, model_validator

from geoseg.config.section import Section

__all__ = ["ClassWeights", "CrossEntropy", "Focal", "Loss", "Overlap", "Reduction"]

Weight = Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)]
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
