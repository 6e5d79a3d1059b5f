"""How probabilities are encoded: uint8 0 to 200 (``round(200 · p)``), 255 where the scene has no data.

Classes and polygons are functions of the encoded probabilities alone, so that every tool that reads them
gets the same classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from geoseg.arrays import Float32, UInt8
from geoseg.grid.loops import lower_to_largest, store_shares
from geoseg.grid.resample import Resampler
from geoseg.grid.window import Window

__all__ = ["BORDER_NAME", "IGNORE", "NODATA", "SCALE", "ProbabilityEncoding", "resampled", "row_pieces"]

BORDER_NAME = "border"
"""Name of the band where objects meet, behind those of the classes."""
NODATA: Final = 255
"""Value of a pixel without data, in encoded probabilities and in the class raster."""
IGNORE: Final = 255
"""Class id of a pixel without a label, which neither training nor scoring counts."""
SCALE: Final = 200
"""Encoded value of probability 1."""
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class ProbabilityEncoding:
    """Which bands encoded probabilities have, and how classes follow from them.

    A network with two classes, one of them background, stores the other's probability alone: one band,
    classified by the threshold. Any other network stores one band per class and the largest wins; of equal
    values the lowest class id. The border between objects is a band of its own behind these, and a part of
    the only class's probability.
    """

    classes: int
    """Class ids are 0 … classes - 1."""
    background: int | None
    """Id of the background class, or None."""
    threshold: float = 0.5
    """Probability from which a pixel is foreground (two classes with a background only)."""
    border: bool = False
    """Whether the logits have one more channel, the border between objects of class 1."""

    @property
    def channels(self) -> int:
        """Channels of the logits."""
        return self.classes + self.border

    @property
    def count(self) -> int:
        """Bands: of classes, then of their border."""
        return len(self.class_ids) + self.border

    @property
    def binary(self) -> bool:
        """Whether one class stands against a background."""
        return self.classes == 2 and self.background is not None  # noqa: PLR2004 - two classes

    @property
    def level(self) -> float | None:
        """Encoded value that separates the classes in the only band; None: the largest of several wins."""
        return float(np.ceil(self.threshold * SCALE - 1e-9)) - 0.5 if self.binary else None

    @property
    def class_ids(self) -> tuple[int, ...]:
        """Class id of each band that holds a class."""
        ids = range(self.classes)
        return tuple(i for i in ids if i != self.background) if self.binary else tuple(ids)

    def encode(self, logits: Float32) -> UInt8:
        """Softmax of logits, float32 (channels, height, width), NaN: no data; encoded, uint8 (bands, …)."""
        stored = np.empty((self.count, *logits.shape[1:]), np.uint8)
        bands = np.array([*self.class_ids, *([self.classes] if self.border else [])])
        for rows in row_pieces(logits.shape[1:]):
            raised = np.array(logits[:, rows], order="C")
            lower_to_largest(raised)
            np.exp(raised, out=raised)
            store_shares(raised, bands, self.border, np.float32(SCALE), stored, rows.start)
        return stored

    def classify(self, stored: UInt8) -> UInt8:
        """Class ids, uint8 (height, width), of encoded probabilities; 255 where there is no data."""
        chosen: UInt8
        if self.binary:
            (foreground,) = self.class_ids
            assert self.background is not None
            assert self.level is not None
            is_foreground = (stored[0] >= np.uint8(np.ceil(self.level))).view(np.uint8)
            chosen = is_foreground * np.uint8(foreground ^ self.background) ^ np.uint8(self.background)
        else:
            # Not argmax, which takes eight bytes a pixel and seven times as long.
            chosen = np.zeros(stored.shape[1:], np.uint8)
            largest = stored[0].copy()
            for class_id, values in enumerate(stored[1:], start=1):
                np.maximum(chosen, (values > largest) * np.uint8(class_id), out=chosen)
                np.maximum(largest, values, out=largest)
        np.maximum(chosen, (stored[0] == NODATA) * np.uint8(NODATA), out=chosen)
        return chosen

    def confidence(self, stored: UInt8, chosen: UInt8) -> UInt8:
        """Encoded probability of what :meth:`classify` chose: uint8 (height, width), 0 … 200 or 255."""
        value: UInt8
        if self.binary:
            (foreground,) = self.class_ids
            other = np.uint8(SCALE) - np.minimum(stored[0], np.uint8(SCALE))
            value = other ^ ((chosen == foreground).view(np.uint8) * (other ^ stored[0]))
        else:
            value = np.zeros_like(chosen)
            for class_id, values in enumerate(stored):
                np.maximum(value, (chosen == class_id) * values, out=value)
        np.maximum(value, (stored[0] == NODATA) * np.uint8(NODATA), out=value)
        return value

    def band_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Name of each band, from those of the classes."""
        return (*(names[i] for i in self.class_ids), *([BORDER_NAME] if self.border else []))


def row_pieces(shape: tuple[int, int]) -> Iterator[slice]:
    """Rows of an array of that shape, a few at a time, so that what is computed from them stays in cache."""
    height, width = shape
    step = max(1, _PIECE // max(1, width))
    for first in range(0, height, step):
        yield slice(first, min(first + step, height))


def resampled(stored: UInt8, resampler: Resampler, window: Window) -> UInt8:
    """Encoded probabilities in a window of another grid: uint8 (bands, height, width).

    ``stored`` holds the pixels of ``resampler.source_window(window)``. 255 where less than half of a pixel
    has data.
    """
    values, known = resampler.values(list(stored), stored[0] != NODATA, window)
    np.clip(values, 0, SCALE, out=values)
    out = np.rint(values, out=values).astype(np.uint8)
    out[:, ~known] = NODATA
    return out
