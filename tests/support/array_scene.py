"""A labeled scene in memory, for tests that need no file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from geoseg.grid.encoding import IGNORE
from geoseg.grid.window import Window
from geoseg.training.data.holdout import Split
from geoseg.training.data.scenes import Patch, squares


@dataclass(frozen=True, slots=True, eq=False)
class ArrayScene:
    """A scene with labels, in memory, on a grid of square pixels."""

    name: str
    pixels: NDArray[Any]
    """(C, H, W) in stored units, uint8, uint16 or float32."""
    valid: NDArray[np.bool_]
    """(H, W): where the pixels are data."""
    labels: NDArray[np.uint8]
    """(H, W): class ids; 255 where nothing is labeled."""
    resolution: float
    """Meters on the ground per pixel."""
    place: str = ""
    """Scenes of one place are scored together; empty: the name."""
    weight: float = 1.0
    """Chips come from the scenes in proportion to this."""
    split: Split = field(default_factory=Split)
    chooses: bool = True
    """Whether the score on its held-out blocks takes part in choosing the weights; it is reported anyway."""

    @property
    def identity(self) -> str:
        """A hash of the arrays."""
        arrays = (self.pixels, self.valid, self.labels)
        return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()

    @property
    def group(self) -> str:
        """The place it is scored with."""
        return self.place or self.name

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        height, width = self.labels.shape
        return height, width

    @property
    def origin(self) -> tuple[int, int]:
        """Blocks are counted from the first pixel."""
        return 0, 0

    @property
    def bands(self) -> int:
        """Number of bands."""
        return len(self.pixels)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return self.pixels.dtype

    def patch(self, window: Window) -> Patch:
        """What a window holds."""
        rows, cols = window.slices
        valid = self.valid[rows, cols]
        labels = np.where(valid, self.labels[rows, cols], np.uint8(IGNORE))
        return Patch(self.pixels[:, rows, cols], valid, labels)

    def tiles(self) -> Sequence[Window]:
        """The whole scene in squares."""
        return [part for _, part in squares(Window(0, 0, *self.shape))]

    def at(self, resolution: float) -> ArrayScene:
        """Resampled: pixels averaged or bilinear, validity and labels nearest.

        The footprint becomes the nearest whole number of pixels; the scene itself where nothing changes.
        """
        factor = self.resolution / resolution
        shape = (max(round(self.shape[0] * factor), 1), max(round(self.shape[1] * factor), 1))
        if shape == self.shape:
            return self
        ids, good = (
            functional.interpolate(torch.from_numpy(layer)[None, None], shape, mode="nearest-exact")[0, 0]
            for layer in (self.labels, self.valid.astype(np.uint8))
        )
        image = functional.interpolate(
            torch.from_numpy(self.pixels.astype(np.float32))[None],
            shape,
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
        return replace(
            self,
            pixels=image[0].numpy(),
            valid=good.numpy().astype(bool),
            labels=ids.numpy(),
            resolution=resolution,
        )
