"""The split into training and validation, by blocks on the ground."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoseg.errors import LabelError

if TYPE_CHECKING:
    from geoseg.arrays import Bool

__all__ = ["Split"]


@dataclass(frozen=True, slots=True)
class Split:
    """Square blocks on the ground; one of ``every`` is held out for validation.

    Neighboring pixels are alike, so a split by pixels would score memory. The blocks held out form a slanted
    lattice: each row and each column of blocks gives its share, and no two of them touch by a side.
    """

    block: float = 48.0  # side of a block in meters on the ground
    every: int = 5  # one block of this many is held out; at least 3 (0: none is)
    margin: float = 3.0  # meters beside a block held out that are neither trained on nor scored
    phase: int = 0  # which of the blocks

    def __post_init__(self) -> None:
        if self.every in (1, 2) or self.every < 0 or self.block <= 0 or self.margin < 0:
            raise LabelError(
                f"a split holds out one block of 3 or more (0: none), of positive size: "
                f"got every={self.every}, block={self.block:g} m, margin={self.margin:g} m"
            )

    def held_out(
        self,
        shape: tuple[int, int],
        resolution: float,
        *,
        grow: float = 0.0,
        origin: tuple[int, int] = (0, 0),
    ) -> Bool:
        """Pixels of the blocks held out, bool (H, W).

        Blocks are counted from the scene's first pixel and reach over its edges without end, so a pixel's
        answer depends on its own position alone, whatever window is asked about.

        Args:
            shape: (H, W) in pixels.
            resolution: Meters on the ground per pixel.
            grow: Meters by which each block is enlarged on its four sides.
            origin: Row and column in the scene of the first pixel asked about.
        """
        mask = np.zeros(shape, bool)
        if not self.every:
            return mask
        side, extra = self.block / resolution, grow / resolution
        # Coprime, or some columns of blocks would never be held out.
        step = next(s for s in range(2, self.every) if math.gcd(s, self.every) == 1)
        rows, cols = (
            range(math.floor((first - extra) / side) - 1, math.ceil((first + length + extra) / side) + 1)
            for first, length in zip(origin, shape, strict=True)
        )
        for row in rows:
            for col in cols:
                if (step * row + col + self.phase) % self.every:
                    continue
                top, left = (round(n * side - extra) - o for n, o in zip((row, col), origin, strict=True))
                bottom, right = (
                    round((n + 1) * side + extra) - o for n, o in zip((row, col), origin, strict=True)
                )
                mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
        return mask
