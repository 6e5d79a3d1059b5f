"""Values with units, as a person writes them: ``8 m2``, ``0.5 px``, ``2 GB``.

Each type is a frozen value that reads itself from text and prints itself back in one canonical spelling
(``parse(str(x)) == x``). Pydantic models take them as fields; their JSON schema accepts the same text.
A bare number is refused: the unit is what a reader of the file needs.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from geoseg.words import did_you_mean, listed

__all__ = ["Area", "Length", "Pixels", "Quantity", "Size"]

_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_EXACT_INTEGERS = 2**53
_QUANTITY = re.compile(rf"\s*(?P<number>[+-]?{_NUMBER})\s*(?P<unit>[^\W\d_][\w²]*)?\s*")


def _number_text(value: float) -> str:
    """The shortest text that reads back as the same number; no trailing ``.0``."""
    return str(int(value)) if value.is_integer() and value < _EXACT_INTEGERS else repr(value)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, finite and not negative, with one of a few units; anything else is a ValueError."""

    value: float
    """The number, finite and not negative, in ``unit``."""
    unit: str
    """One of the type's units, in its canonical spelling."""

    units: ClassVar[dict[str, float]] = {}
    """Canonical unit → its size in the type's base unit."""
    synonyms: ClassVar[dict[str, str]] = {}
    """Other spellings that are read, never written."""
    examples: ClassVar[tuple[str, str]] = ("", "")
    """Two values that an error message shows."""

    def __post_init__(self) -> None:
        if self.unit not in self.units:
            raise ValueError(f"unknown unit {self.unit!r}; use {' or '.join(self.units)}")
        if not math.isfinite(self.value) or self.value < 0:
            raise ValueError(f"{self.value} {self.unit} must be finite and not negative")
        object.__setattr__(self, "value", float(self.value))  # `Area(8, "m2") == Area(8.0, "m2")`, one text

    def __str__(self) -> str:
        return f"{_number_text(self.value)} {self.unit}"

    @classmethod
    def parse(cls, given: object) -> Self:
        """The value that a text such as ``8 m2`` names; an instance comes back as it is.

        Raises:
            ValueError: the text is not a number with one of the type's units; names those that it has.
        """
        if isinstance(given, cls):
            return given
        such_as = f"such as {cls.examples[0]} or {cls.examples[1]}"
        usual = dict.fromkeys(example.rpartition(" ")[2] for example in cls.examples)
        if isinstance(given, int | float) and not isinstance(given, bool):
            with_unit = " or ".join(f"{given} {unit}" for unit in usual)
            raise ValueError(f"{given} needs a unit, such as {with_unit}")  # noqa: TRY004 for pydantic
        found = _QUANTITY.fullmatch(given) if isinstance(given, str) else None
        if found is None:
            shown = "null" if given is None else repr(given)
            raise ValueError(f"{shown} is not a number with a unit, {such_as}")
        number, unit = found["number"], found["unit"]
        if unit is None:
            with_unit = " or ".join(f"{number} {unit}" for unit in usual)
            raise ValueError(f"{number} needs a unit, such as {with_unit}")
        unit = cls.synonyms.get(unit, unit)
        if unit not in cls.units:
            hint = did_you_mean(unit, cls.units)
            raise ValueError(f"{given!r} has an unknown unit; units here: {listed(cls.units)}{hint}")
        return cls(float(number), unit)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        del schema, handler
        return cls.json_schema()

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """JSON schema of the text form: it accepts whatever :meth:`parse` reads from text."""
        spellings = "|".join(re.escape(unit) for unit in (*cls.units, *cls.synonyms))
        return {
            "type": "string",
            "pattern": rf"^\s*\+?{_NUMBER}\s*({spellings})\s*$",
            "examples": list(cls.examples),
        }


@dataclass(frozen=True, slots=True)
class Area(Quantity):
    """An area on the ground (``8 m2``) or in pixels (``90 px``).

    >>> Area.parse("8m²")
    Area(value=8.0, unit='m2')
    >>> str(Area.parse("8.50 m2"))
    '8.5 m2'
    """

    units: ClassVar[dict[str, float]] = {"m2": 1.0, "px": 1.0}
    synonyms: ClassVar[dict[str, str]] = {"m²": "m2"}
    examples: ClassVar[tuple[str, str]] = ("8 m2", "90 px")

    def pixels(self, pixel_area: float) -> float:
        """The area as a number of pixels (not rounded), given the area of one pixel on the ground (m²)."""
        return self.value if self.unit == "px" else self.value / pixel_area


@dataclass(frozen=True, slots=True)
class Length(Quantity):
    """A length on the ground (``1.5 m``) or in pixels (``0.5 px``)."""

    units: ClassVar[dict[str, float]] = {"px": 1.0, "m": 1.0}
    examples: ClassVar[tuple[str, str]] = ("0.5 px", "1.5 m")

    def pixels(self, resolution: float) -> float:
        """The length in pixels (not rounded), given the size of one pixel on the ground (m)."""
        return self.value if self.unit == "px" else self.value / resolution


@dataclass(frozen=True, slots=True)
class Pixels(Quantity):
    """A whole number of the network's pixels: ``512 px``; any other is a ValueError."""

    units: ClassVar[dict[str, float]] = {"px": 1.0}
    examples: ClassVar[tuple[str, str]] = ("256 px", "1024 px")

    def __post_init__(self) -> None:
        Quantity.__post_init__(self)
        if not self.value.is_integer():
            raise ValueError(f"{self} must be a whole number of pixels")

    @property
    def count(self) -> int:
        """The number of pixels."""
        return int(self.value)


@dataclass(frozen=True, slots=True)
class Size(Quantity):
    """An amount of memory or disk: ``2 GB`` is 2·10⁹ bytes, ``2 GiB`` is 2·2³⁰ bytes.

    >>> Size.parse("4 GiB").bytes
    4294967296
    """

    units: ClassVar[dict[str, float]] = {
        "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
        "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
    }  # fmt: skip
    synonyms: ClassVar[dict[str, str]] = {"KB": "kB"}
    examples: ClassVar[tuple[str, str]] = ("2 GB", "4 GiB")

    @property
    def bytes(self) -> int:
        """The number of whole bytes."""
        return int(self.value * self.units[self.unit])
