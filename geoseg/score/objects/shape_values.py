"""Measures of pairs of polygons, one by one and together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from geoseg.arrays import Bool, Float64, Int64

__all__ = ["ShapeMeasures", "ShapeSummary"]


@dataclass(frozen=True, slots=True)
class ShapeSummary:
    """Measures of many pairs together; NaN where no pair has the measure."""

    pairs: int
    """Pairs compared."""
    missing: int
    """Pairs without a predicted polygon: IoU and C-IoU 0, in no other figure."""
    invalid: int
    """Predicted polygons that are not valid; they were repaired for the IoU."""
    iou: float
    """Mean IoU."""
    c_iou: float
    """Mean C-IoU."""
    polis: float
    """Mean PoLiS distance."""
    hausdorff: float
    """Mean Hausdorff distance."""
    tangent_error: float
    """Mean, in degrees."""
    n_ratio: float
    """All predicted vertices over all true ones."""
    vertices: float
    """Mean vertices of a predicted polygon."""
    right_angles: float
    """Share of all predicted vertices that are right angles."""
    area_bias: float
    """Predicted area over true area, less one."""

    def to_dict(self) -> dict[str, float | int | None]:
        """The figures by name; None for NaN."""
        return {
            name: None if isinstance(value, float) and np.isnan(value) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True, slots=True, eq=False)
class ShapeMeasures:
    """Measures of N pairs, each of shape (N,)."""

    iou: Float64
    """Area in both over area in either, 0 to 1."""
    c_iou: Float64
    """IoU times ``1 − |n − m| / (n + m)`` of both numbers of vertices (PolyWorld, Zorzi et al. 2022)."""
    polis: Float64
    """PoLiS distance (Avbelj et al. 2014), in the polygons' unit."""
    hausdorff: Float64
    """Hausdorff distance of the boundaries, in the polygons' unit."""
    tangent_error: Float64
    """95th percentile of the angle between both boundaries (Girard et al. 2021), degrees, 0 to 90."""
    right_angles: Float64
    """Share of the predicted vertices that are right angles."""
    vertices: Int64
    """Vertices of the predicted polygons."""
    true_vertices: Int64
    """Vertices of the true ones."""
    area: Float64
    """Of the predicted polygons; 0 where missing."""
    true_area: Float64
    """Of the true ones."""
    present: Bool
    """Whether there is a predicted polygon."""
    valid: Bool
    """Whether it is valid as it came; False where missing."""

    @classmethod
    def joined(cls, parts: Sequence[ShapeMeasures]) -> ShapeMeasures:
        """The pairs of several, one after another; at least one."""
        names = cls.__dataclass_fields__
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def chosen(self, pairs: Bool | Int64) -> ShapeMeasures:
        """Some of the pairs, such as those of one size."""
        return ShapeMeasures(*(getattr(self, name)[pairs] for name in self.__dataclass_fields__))

    def summary(self) -> ShapeSummary:
        """Means over the pairs; counts of vertices and areas as ratios of sums."""
        found = self.present
        vertices, true_vertices = int(self.vertices[found].sum()), int(self.true_vertices[found].sum())
        right = float(np.nansum(self.right_angles[found] * self.vertices[found]))
        area, true_area = float(self.area[found].sum()), float(self.true_area[found].sum())
        return ShapeSummary(
            pairs=len(found),
            missing=int((~found).sum()),
            invalid=int((found & ~self.valid).sum()),
            iou=_mean(self.iou),
            c_iou=_mean(self.c_iou),
            polis=_mean(self.polis),
            hausdorff=_mean(self.hausdorff),
            tangent_error=_mean(self.tangent_error),
            n_ratio=_ratio(vertices, true_vertices),
            vertices=_ratio(vertices, int(found.sum())),
            right_angles=_ratio(right, vertices),
            area_bias=_ratio(area, true_area) - 1,
        )


def _mean(values: Float64) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
