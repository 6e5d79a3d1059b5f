"""What the QGIS plugin Deepness reads from an ONNX file's metadata.

Keys and encodings are those of the plugin's own reader (``ModelBase`` and its dock widget, about version
0.6.5; its documentation calls the tile's key ``tiles_size``, its code does not): every value is JSON. Of each
tile the plugin computes ``(value / 255 - mean) / std``, runs the network, sets scores below ``seg_thresh`` to
zero, takes the class with the largest, and runs a median filter of ``seg_small_segment`` pixels. With what
:func:`deepness_metadata` says, that is geoseg's own result for the tile.
"""

from __future__ import annotations

import json

from geoseg.config.model.contract import BundleSpec
from geoseg.grid.tiling import align_up

__all__ = ["DEEPNESS_RANGE", "deepness_metadata", "deepness_tile"]

DEEPNESS_RANGE = 255.0
"""What the plugin divides every value by, whatever its type."""

_TILE = 512
"""Side of a tile, in pixels, where the contract states no window."""
_MOST_OVERLAP = 80
"""Largest overlap in per cent: beyond it, tiles are almost all overlap."""


def deepness_tile(spec: BundleSpec) -> int:
    """Side of the square tiles to export for, in pixels: the contract's window, else at least six halos."""
    if spec.window is not None:
        return spec.window
    return align_up(max(_TILE, 6 * spec.halo), spec.alignment)


def deepness_metadata(spec: BundleSpec, tile: int) -> dict[str, str]:
    """The plugin's keys with their JSON values, for tiles of this side in pixels.

    ``resolution`` is in centimeters per pixel. ``tiles_overlap`` is a whole per cent of the tile: the plugin
    cuts half of it from each side, which is at least the halo. ``seg_thresh`` and ``seg_small_segment`` are
    0, which turns both off: any other threshold would turn pixels on which no class reaches it into class 0.
    """
    overlap = next(
        (percent for percent in range(_MOST_OVERLAP) if tile * percent // 100 >= 2 * spec.halo), _MOST_OVERLAP
    )
    values = {
        "model_type": "Segmentor",
        "class_names": {str(c.id): c.name for c in spec.classes},
        "resolution": round(100 * spec.resolution, 6),
        "tile_size": tile,
        "tiles_overlap": overlap,
        "standardization_mean": [mean / DEEPNESS_RANGE for mean in spec.scaling.mean],
        "standardization_std": [std / DEEPNESS_RANGE for std in spec.scaling.std],
        "seg_thresh": 0,
        "seg_small_segment": 0,
    }
    return {key: json.dumps(value) for key, value in values.items()}
