"""Array types: numpy arrays by the type of their values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Bool", "Float32", "Float64", "Int64", "Objects", "UInt8"]

Array = NDArray[Any]
Bool = NDArray[np.bool_]
UInt8 = NDArray[np.uint8]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Objects = NDArray[np.object_]
"""Python objects: shapely geometries, text."""
