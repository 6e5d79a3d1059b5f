"""Labelled scenes in memory, and their split into training and validation by blocks on the ground."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.errors import LabelError
from geoseg.train.losses import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LabelledScene", "Split", "scaling"]


@dataclass(frozen=True, slots=True)
class Split:
    """Square blocks on the ground; one of ``every`` is held out for validation.

    Neighbouring pixels are alike, so a split by pixels would score memory. The blocks held out form a slanted
    lattice: each row and each column of blocks gives its share, and no two of them touch by a side.
    """

    block: float = 48.0
    """Side of a block in metres on the ground."""
    every: int = 5
    """One block of this many is held out; at least 3 (0: none is)."""
    margin: float = 3.0
    """Metres beside a block held out that are neither trained on nor scored."""
    phase: int = 0
    """Which of the blocks."""

    def __post_init__(self) -> None:
        if self.every in (1, 2) or self.every < 0 or self.block <= 0 or self.margin < 0:
            raise LabelError(
                f"a split holds out one block of 3 or more (0: none), of positive size: "
                f"got every={self.every}, block={self.block:g} m, margin={self.margin:g} m"
            )

    def held_out(self, shape: tuple[int, int], resolution: float, *, grow: float = 0.0) -> NDArray[np.bool_]:
        """Pixels of the blocks held out, bool (H, W).

        Args:
            shape: (H, W) of the scene in pixels.
            resolution: Metres on the ground per pixel.
            grow: Metres by which each block is enlarged on its four sides.
        """
        if not self.every:
            return np.zeros(shape, bool)
        side = self.block / resolution
        rows, cols = math.ceil(shape[0] / side), math.ceil(shape[1] / side)
        # Coprime, or some columns of blocks would never be held out.
        step = next(s for s in range(2, self.every) if math.gcd(s, self.every) == 1)
        mask = np.zeros(shape, bool)
        extra = grow / resolution
        for row in range(rows):
            for col in range(cols):
                if (step * row + col + self.phase) % self.every:
                    continue
                top, left = row * side - extra, col * side - extra
                bottom, right = (row + 1) * side + extra, (col + 1) * side + extra
                mask[max(round(top), 0) : round(bottom), max(round(left), 0) : round(right)] = True
        return mask


@dataclass(frozen=True, slots=True, eq=False)
class LabelledScene:
    """A scene with labels, in memory, on a grid of square pixels.

    Raises:
        LabelError: shapes disagree, the resolution or weight is not positive, or nothing is labelled.
    """

    name: str
    """Its name in logs and figures."""
    pixels: NDArray[Any]
    """(C, H, W) in stored units, uint8, uint16 or float32."""
    valid: NDArray[np.bool_]
    """(H, W): where the pixels are data."""
    labels: NDArray[np.uint8]
    """(H, W): class ids; 255 where nothing is labelled."""
    resolution: float
    """Metres on the ground per pixel."""
    place: str = ""
    """Scenes of one place are scored together; empty: the name."""
    weight: float = 1.0
    """Chips come from the scenes in proportion to this."""
    split: Split = Split()
    """Which blocks validate."""
    chooses: bool = True
    """Whether the score on its held-out blocks takes part in choosing the weights; it is reported anyway."""

    def __post_init__(self) -> None:
        shape = self.labels.shape
        if self.pixels.shape != (len(self.pixels), *shape) or self.valid.shape != shape:
            raise LabelError(
                f"{self.name}: pixels {self.pixels.shape}, validity {self.valid.shape} and labels "
                f"{self.labels.shape} do not lie on one grid: give (C, H, W), (H, W) and (H, W)"
            )
        if not (self.resolution > 0 and self.weight > 0):
            raise LabelError(f"{self.name}: resolution and weight must be positive")
        if not self.training.any():
            raise LabelError(f"{self.name}: no pixel is labelled and left to train on")

    @property
    def group(self) -> str:
        """The place it is scored with."""
        return self.place or self.name

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.labels.shape

    @property
    def training(self) -> NDArray[np.bool_]:
        """Labelled, valid pixels outside the held-out blocks and their margin, bool (H, W)."""
        held = self.split.held_out(self.shape, self.resolution, grow=self.split.margin)
        return self._labelled & ~held

    @property
    def validation(self) -> NDArray[np.bool_]:
        """Labelled, valid pixels of the held-out blocks, bool (H, W)."""
        return self._labelled & self.split.held_out(self.shape, self.resolution)

    @property
    def _labelled(self) -> NDArray[np.bool_]:
        labelled: NDArray[np.bool_] = self.labels != IGNORE
        return labelled & self.valid

    def training_labels(self) -> NDArray[np.uint8]:
        """Labels with all that is not for training at 255, uint8 (H, W)."""
        return np.where(self.training, self.labels, np.uint8(IGNORE))

    def validation_labels(self) -> NDArray[np.uint8]:
        """Labels with all but the held-out blocks at 255, uint8 (H, W)."""
        return np.where(self.validation, self.labels, np.uint8(IGNORE))


def scaling(scenes: list[LabelledScene]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per band over the training pixels, each scene counting by its weight.

    In stored units; what a bundle's scaling holds.
    """
    weights = np.array([s.weight for s in scenes])
    first = np.stack([s.pixels[:, s.training].mean(1, dtype=np.float64) for s in scenes])
    second = np.stack([np.square(s.pixels[:, s.training], dtype=np.float64).mean(1) for s in scenes])
    mean = np.average(first, axis=0, weights=weights)
    deviation = np.sqrt(np.maximum(np.average(second, axis=0, weights=weights) - mean**2, 0.0))
    # A constant band says nothing; 1 keeps it finite.
    deviation = np.where(deviation < 1e-3 * np.maximum(np.abs(mean), 1e-3), 1.0, deviation)
    return tuple(float(f"{v:.6g}") for v in mean), tuple(float(f"{v:.6g}") for v in deviation)
