"""A finished map in its folder: what its receipt says, and the store that its probability raster holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from geoseg.engine.plan import Plan
from geoseg.errors import OutputError
from geoseg.grid.window import Window
from geoseg.io.raster.maps import read_strips

__all__ = ["ITEM_NAME", "PIXELS", "PROBABILITY_NAME", "FinishedMap", "ReusedProbabilities"]

ITEM_NAME = "item.json"
"""The receipt of a finished scene: a STAC item."""
PROBABILITY_NAME = "probability.tif"
PIXELS = "geoseg:pixels"
"""Property of the item: fingerprint of the store, where the probability raster holds all of it."""


@dataclass(frozen=True, slots=True)
class FinishedMap:
    """What a receipt says of a map."""

    fingerprint: str
    """Of the plan that made it."""
    pixels: str | None
    """Of its store; None: the raster does not hold it."""
    windows: tuple[int, int]
    """Windows that it is made of, and how many of them were without data."""
    sizes: dict[Path, int]
    """Each file and its bytes."""

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The receipt in a folder; None: there is none, or one that nobody can read."""
        try:
            item = json.loads((folder / ITEM_NAME).read_text(encoding="utf-8"))
            known = item["properties"]
            return cls(
                str(known["geoseg:fingerprint"]),
                known.get(PIXELS),
                (int(known["geoseg:windows"]), int(known["geoseg:windows_without_data"])),
                {folder / Path(a["href"]).name: int(a["file:size"]) for a in item["assets"].values()},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @property
    def whole(self) -> bool:
        """Whether all files are there, by their sizes: what was verified when it was written is trusted."""
        return all(_is_there(path, size) for path, size in self.sizes.items())

    def keeps(self, plan: Plan) -> bool:
        """Whether the store that a plan would make is in the raster of this map."""
        path = plan.folder / PROBABILITY_NAME
        size = self.sizes.get(path)
        return plan.keeps_store and self.pixels == plan.pixels and size is not None and _is_there(path, size)


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


class ReusedProbabilities:
    """Rows of the store as the probability raster of a finished map holds them.

    Args:
        plan: one that :meth:`FinishedMap.keeps` says yes of.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def strips(self, rows: int) -> Iterator[tuple[Window, npt.NDArray[np.uint8]]]:
        """The store on the model's grid, from the top: windows of the full width and their values.

        Raises:
            OutputError: the raster cannot be read.
        """
        path, row = self._plan.folder / PROBABILITY_NAME, 0
        try:
            for strip in read_strips(path, range(1, self._plan.layout.planes + 1), rows):
                yield Window(row, 0, *strip.shape[1:]), strip
                row += strip.shape[1]
        except OutputError as error:
            raise OutputError(f"{error}; remove {path.parent} to map the scene anew") from error
