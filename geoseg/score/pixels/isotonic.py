"""Confidences that mean what they should: isotonic calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.arrays import Array, Float64
from geoseg.errors import GridError

__all__ = ["Isotonic", "fit_isotonic"]


@dataclass(frozen=True, slots=True, eq=False)
class Isotonic:
    """A rising function from confidence to how often it was true."""

    confidence: Float64
    """Confidences where the function is known, strictly rising, shape (n,)."""
    true: Float64
    """Its values there, never falling, 0 to 1, shape (n,); straight between them, level beyond."""

    def apply(self, confidence: Array) -> Float64:
        """Calibrated confidences, 0 to 1, of the same shape; NaN stays NaN."""
        return np.interp(np.asarray(confidence, np.float64), self.confidence, self.true)


def fit_isotonic(confidence: Array, is_right: Array, weight: Array | None = None) -> Isotonic:
    """The rising function that is nearest to what was true, in squares (Zadrozny & Elkan 2002).

    Found by pooling adjacent violators: where a higher confidence was right less often, both become their
    mean. Objects of equal confidence count as one.

    Args:
        confidence: of each object, finite, shape (n,), at least one.
        is_right: whether it was true, bool or shares 0 to 1, shape (n,).
        weight: of each object, above 0, shape (n,); None: all equal.

    Raises:
        GridError: no objects, other shapes, confidences that are not finite, shares or weights out of range.

    >>> found = fit_isotonic(np.array([0.6, 0.7, 0.8, 0.9]), np.array([0, 1, 0, 1]))
    >>> found.apply(np.array([0.5, 0.7, 0.75, 0.85, 1.0])).round(6).tolist()
    [0.0, 0.5, 0.5, 0.75, 1.0]
    """
    from scipy.optimize import isotonic_regression  # noqa: PLC0415 - slow to import, and rarely fitted

    values, right = np.asarray(confidence, np.float64), np.asarray(is_right, np.float64)
    counts = np.ones_like(values) if weight is None else np.asarray(weight, np.float64)
    if values.ndim != 1 or not values.size or right.shape != values.shape or counts.shape != values.shape:
        raise GridError(
            f"a calibration is fitted to objects: got shapes {values.shape}, {right.shape} and "
            f"{counts.shape}, needed the same (n,) of at least one"
        )
    fits = np.isfinite(values) & (right >= 0) & (right <= 1) & (counts > 0) & np.isfinite(counts)
    if not fits.all():
        raise GridError(
            f"{(~fits).sum()} of {values.size} objects cannot be fitted: needed finite confidences, shares 0 "
            "to 1 and weights above 0"
        )
    places, which = np.unique(values, return_inverse=True)
    total = np.bincount(which, counts)
    pooled = isotonic_regression(np.bincount(which, counts * right) / total, weights=total)
    first = pooled.blocks[:-1]
    ends = np.unique(np.concatenate([first, pooled.blocks[1:] - 1]))
    return Isotonic(places[ends], np.clip(pooled.x[ends], 0, 1))
