"""Tables of equal-length arrays, a dataclass of them for each kind of thing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from geoseg.arrays import Array

__all__ = ["Table"]


@dataclass(frozen=True, slots=True, eq=False)
class Table(ABC):
    """What such tables have in common: every field is an array with a row for each thing."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    @classmethod
    @abstractmethod
    def none(cls) -> Self:
        """A table without rows."""

    @classmethod
    def join(cls, parts: Iterable[Self]) -> Self:
        """The rows of several tables, one after the other."""
        each = [cls.none(), *parts]
        return cls(*(np.concatenate([getattr(part, f.name) for part in each]) for f in fields(cls)))

    def choose(self, chosen: Array | slice) -> Self:
        """The rows of a mask, of indices or of a slice."""
        return type(self)(*(getattr(self, field.name)[chosen] for field in fields(self)))
