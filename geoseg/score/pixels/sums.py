"""The sums that every measure is a function of, per cell of ground or of all cells together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Array, Bool, Float64, Int64
from geoseg.score.pixels.calibration import BINS, calibration_errors
from geoseg.score.pixels.confusion import margins, measures

__all__ = ["Sums"]


@dataclass(frozen=True, eq=False, slots=True)
class Sums:
    """Sums of N cells (or of N draws of cells, as floats that hold whole numbers)."""

    pixels: Array
    """Shape (N, 3, K): pixels that are right, of the true class, mapped as the class."""
    boundary: Array | None = None
    """The same of pixels near contours; None: not counted."""
    calibration: Array | None = None
    """Shape (N, K + 1, bins, 3), as :func:`~geoseg.score.pixels.calibration.binned`; None: not counted."""
    objects: Array | None = None
    """Shape (N, 3, K): objects that are matched, of the reference, mapped; None: not counted."""

    @classmethod
    def of(
        cls,
        cells: Int64,
        boundary: Int64 | None = None,
        calibration: Int64 | None = None,
        objects: Int64 | None = None,
    ) -> Self:
        """The sums of confusion matrices, shape (N, K, K), and what belongs to the same cells."""
        return cls(np.stack(margins(cells), axis=-2), boundary, calibration, objects)

    @classmethod
    def joined(cls, parts: Sequence[Sums]) -> Sums:
        """The cells of several scenes, one after another; zeros where a scene lacks what another one has."""
        classes = parts[0].pixels.shape[-1]
        shapes = {"boundary": (3, classes), "calibration": (classes + 1, BINS, 3), "objects": (3, classes)}
        found: dict[str, Array | None] = {}
        for name, shape in shapes.items():
            arrays = [getattr(part, name) for part in parts]
            zeros = (np.zeros((len(part.pixels), *shape), np.int64) for part in parts)
            filled = [zero if array is None else array for array, zero in zip(arrays, zeros, strict=True)]
            found[name] = None if all(array is None for array in arrays) else np.concatenate(filled)
        return Sums(np.concatenate([part.pixels for part in parts]), **found)

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def scored(self) -> Bool:
        """Which of the N cells have pixels, bool (N,)."""
        return np.asarray(self.pixels.any(axis=(1, 2)))

    def each(self, change: Callable[[Array], Array]) -> Sums:
        """The same sums with their cells changed, each array alike."""
        rest = (self.boundary, self.calibration, self.objects)
        return Sums(change(self.pixels), *(None if array is None else change(array) for array in rest))

    def chosen(self, cells: Array) -> Sums:
        """Some of the cells, by a mask (N,) or by their numbers."""
        return self.each(lambda array: array[cells])

    def weighted(self, weights: Float64) -> Sums:
        """M sums of cells taken as often as weights (M, N) say; whole numbers, exact below 2^53."""

        def summed(array: Array) -> Float64:
            flat = weights @ array.reshape(len(array), -1).astype(np.float64)
            return flat.reshape(len(weights), *array.shape[1:])

        return self.each(summed)

    def total(self) -> Sums:
        """The sum of all cells, as one."""
        return self.each(lambda array: array.sum(axis=0, keepdims=True))

    def measures(self) -> dict[str, Float64]:
        """All measures of N cells, NaN where undefined.

        ``iou``, ``precision``, ``recall``, ``f1`` (N, K); ``mean_iou``, ``accuracy`` (N); where counted
        ``boundary_iou`` (N, K), ``mean_boundary_iou`` (N), ``class_calibration_error`` (N, K) and
        ``calibration_error`` (N), which is that of the mapped class, ``object_f1``, ``object_precision`` and
        ``object_recall`` (N, K).
        """
        found = measures(*_planes(self.pixels))
        del found["mean_iou_cityscapes"]
        if self.boundary is not None:
            near = measures(*_planes(self.boundary))
            found |= {"boundary_iou": near["iou"], "mean_boundary_iou": near["mean_iou"]}
        if self.calibration is not None:
            expected, _ = calibration_errors(self.calibration)
            found |= {"class_calibration_error": expected[:, :-1], "calibration_error": expected[:, -1]}
        if self.objects is not None:
            things = measures(*_planes(self.objects))
            found |= {f"object_{name}": things[name] for name in ("f1", "precision", "recall")}
        return found

    def bearing(self) -> dict[str, NDArray[np.intp]]:
        """Cells that hold a measure's denominator, by the names of :meth:`measures`: (K,) or ()."""
        hits, truth, mapped = _planes(self.pixels)
        used = {
            "iou": truth + mapped - hits,
            "precision": mapped,
            "recall": truth,
            "f1": truth + mapped,
            "mean_iou": truth.sum(axis=-1),
            "accuracy": truth.sum(axis=-1),
        }
        if self.boundary is not None:
            hits, truth, mapped = _planes(self.boundary)
            used |= {"boundary_iou": truth + mapped - hits, "mean_boundary_iou": truth.sum(axis=-1)}
        if self.calibration is not None:
            pixels = self.calibration[..., 0].sum(axis=-1)
            used |= {"class_calibration_error": pixels[:, :-1], "calibration_error": pixels[:, -1]}
        if self.objects is not None:
            _, truth, mapped = _planes(self.objects)
            used |= {"object_f1": truth + mapped, "object_precision": mapped, "object_recall": truth}
        return {name: (denominator > 0).sum(axis=0) for name, denominator in used.items()}


def _planes(sums: Array) -> tuple[Array, Array, Array]:
    return sums[..., 0, :], sums[..., 1, :], sums[..., 2, :]
