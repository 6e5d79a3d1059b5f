"""A finished map in its folder: its files, its manifest, and the probabilities that can be reused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from geoseg.arrays import UInt8
from geoseg.config.stac.refs import SHA256_MULTIHASH
from geoseg.engine.plan import Plan
from geoseg.errors import OutputError
from geoseg.grid.window import Window
from geoseg.io.files import sha256_of
from geoseg.io.raster.maps import read_strips

__all__ = [
    "CLASSES_NAME",
    "ITEM_NAME",
    "PREDICTION_FINGERPRINT",
    "PROBABILITY_NAME",
    "RULES_PROPERTY",
    "WARNINGS_PROPERTY",
    "FinishedMap",
    "ReusedProbabilities",
    "is_there",
]

ITEM_NAME = "item.json"
"""The manifest of a finished scene: a STAC item."""
CLASSES_NAME = "classes.tif"
PROBABILITY_NAME = "probability.tif"
RULES_PROPERTY = "geoseg:rules"
"""Property of the item: :data:`geoseg.engine.plan.RULES`; maps of the first rules lack it."""
WARNINGS_PROPERTY = "geoseg:warnings"
"""Property of the item: what the user should know, a list of sentences."""
PREDICTION_FINGERPRINT = "geoseg:prediction_fingerprint"
"""Property of the item: what decided the probabilities, where the raster holds all of them."""


@dataclass(frozen=True, slots=True)
class FinishedMap:
    """What the manifest of a map contains."""

    fingerprint: str
    """Of the plan that made it."""
    prediction_fingerprint: str | None
    """Of its probabilities; None: the raster does not hold all of them."""
    windows: tuple[int, int]
    """Windows that were predicted, and those without data, which were not."""
    sizes: dict[Path, int]
    """Each file and its bytes."""
    checksums: dict[Path, str]
    """Each file's SHA-256, as a multihash."""
    rules: int
    """:data:`geoseg.engine.plan.RULES` under which it was made."""
    warnings: tuple[str, ...]
    """What its item tells the user."""

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The manifest in a folder; None: there is none, or none that can be read."""
        try:
            item = json.loads((folder / ITEM_NAME).read_text(encoding="utf-8"))
            known = item["properties"]
            return cls(
                str(known["geoseg:fingerprint"]),
                known.get(PREDICTION_FINGERPRINT),
                (int(known["geoseg:windows"]), int(known["geoseg:windows_without_data"])),
                {folder / Path(a["href"]).name: int(a["file:size"]) for a in item["assets"].values()},
                {folder / Path(a["href"]).name: str(a["file:checksum"]) for a in item["assets"].values()},
                int(known.get(RULES_PROPERTY, 1)),
                tuple(map(str, known.get(WARNINGS_PROPERTY, ()))),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @property
    def whole(self) -> bool:
        """Whether all files are there, by their sizes: what was verified when it was written is trusted."""
        return all(is_there(path, size) for path, size in self.sizes.items())

    def can_reuse(self, plan: Plan) -> bool:
        """Whether the probabilities that a plan would predict are in the raster of this map."""
        path = plan.folder / PROBABILITY_NAME
        return (
            plan.is_reusable
            and self.prediction_fingerprint == plan.prediction_fingerprint
            and path in self.sizes
            and is_there(path, self.sizes[path])
        )

    def check_probabilities(self) -> None:
        """Compare the probability raster with its checksum: GDAL reads many a damaged file without an error.

        Raises:
            OutputError: it is another, or cannot be read.
        """
        for path, checksum in self.checksums.items():
            if path.name != PROBABILITY_NAME:
                continue
            try:
                is_same = checksum == SHA256_MULTIHASH + sha256_of(path)
            except OSError as error:
                raise OutputError(f"{path} cannot be read ({error.strerror})") from error
            if not is_same:
                raise OutputError(
                    f"{path} is not what was written (its sha256 differs from {ITEM_NAME}); remove "
                    f"{path.parent} to map the scene again"
                )


def is_there(path: Path, size: int) -> bool:
    """Whether a file is there and of this size."""
    return path.is_file() and path.stat().st_size == size


class ReusedProbabilities:
    """Encoded probabilities as the raster of a finished map holds them, if it can be reused."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def strips(self, rows: int) -> Iterator[tuple[Window, UInt8]]:
        """Windows of the model's grid over its full width, from the top, and their values."""
        path, row = self._plan.folder / PROBABILITY_NAME, 0
        try:
            for strip in read_strips(path, range(1, self._plan.encoding.count + 1), rows):
                yield Window(row, 0, *strip.shape[1:]), strip
                row += strip.shape[1]
        except OutputError as error:
            raise OutputError(f"{error}; remove {path.parent} to map the scene again") from error
