"""Tables of equal-length arrays, a dataclass of them for each kind of thing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Self, get_args, get_type_hints

import numpy as np

from geoseg.arrays import Array, Bool, Int64

__all__ = ["RegionTable", "Table"]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Every field is an array with a row for each thing."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    @classmethod
    def zeros(cls, count: int) -> Self:
        """A table of so many rows of zeros."""
        return cls(*(np.zeros(count, dtype) for dtype in _dtypes(cls)))  # type: ignore[arg-type]  # classes are hashable

    @classmethod
    def none(cls) -> Self:
        """A table without rows."""
        return cls.zeros(0)

    @classmethod
    def join(cls, parts: Iterable[Self]) -> Self:
        """The rows of several tables, one after the other."""
        each = [cls.none(), *parts]
        return cls(*(np.concatenate([getattr(part, f.name) for part in each]) for f in fields(cls)))

    def choose(self, chosen: Array | slice) -> Self:
        """The rows of a mask, of indices or of a slice."""
        return type(self)(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass(frozen=True, slots=True, eq=False)
class RegionTable(Table):
    """Things that belong to regions."""

    region: Int64
    """Region of each, by number."""

    def renumber(self, number: Int64) -> Self:
        """The same with region ``r`` called ``number[r]``."""
        return replace(self, region=number[self.region])

    def keep(self, chosen: Bool, number: Int64) -> Self:
        """Those of the chosen regions, region ``r`` called ``number[r]``."""
        return self.choose(chosen[self.region]).renumber(number)


@cache
def _dtypes(table: type[Table]) -> list[np.dtype[Any]]:
    """Types of the arrays, as the fields declare them."""
    hints = get_type_hints(table)
    return [np.dtype(get_args(get_args(hints[field.name])[1])[0]) for field in fields(table)]
