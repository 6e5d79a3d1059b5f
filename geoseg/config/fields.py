"""Kinds of fields in a workflow. Each has one validator, so that a mistake is one line with a hint."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, StrictFloat, StrictStr, WithJsonSchema

from geoseg.config.units import Quantity
from geoseg.words import did_you_mean

__all__ = [
    "Auto",
    "AutoOrCount",
    "Band",
    "PathText",
    "Stretch",
    "at_least",
    "distinct",
    "is_url",
    "not_empty",
    "word_or_quantity",
]

Auto = Literal["auto"]
"""To be resolved once, on the driver, and then written into the plan."""
_BAND_NAME_LENGTH = 64


def word_or_quantity(kind: type[Quantity], *words: str) -> tuple[Any, ...]:
    """Metadata of a field that is one of a few words or a quantity, for ``Annotated``."""

    def read(given: object) -> object:
        if isinstance(given, str) and given in words:
            return given
        if isinstance(given, str) and not any(letter.isdigit() for letter in given):
            hint = did_you_mean(given, words)
            raise ValueError(
                f"{given!r} is neither {' nor '.join(words)} nor such as {kind.examples[0]}{hint}"
            )
        return kind.parse(given)

    schema = {"anyOf": [{"enum": list(words)}, kind.json_schema()]}
    return BeforeValidator(read), PlainSerializer(str, when_used="json"), WithJsonSchema(schema)


def _auto_or_count(given: object) -> object:
    if given == "auto":
        return given
    if isinstance(given, bool) or not isinstance(given, int):
        hint = did_you_mean(given, ["auto"]) if isinstance(given, str) else ""
        raise ValueError(f"{given!r} is neither auto nor a whole number{hint}")  # noqa: TRY004 for pydantic
    if given < 1:
        raise ValueError(f"must be auto or at least 1, got {given}")
    return given


def _band(given: object) -> object:
    if isinstance(given, int) and not isinstance(given, bool) and given >= 1:
        return given
    if isinstance(given, str) and 0 < len(given) <= _BAND_NAME_LENGTH:
        return given
    raise ValueError(
        f"{given!r} is not a band: give its number in the file, from 1, or its name, such as red"
    )


def not_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """A list with at least one entry; a ValueError where it has none."""
    if not values:
        raise ValueError("is an empty list; name at least one, or leave the key out")
    return values


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """A list with at least one entry and none twice; a ValueError says which rule it breaks."""
    not_empty(values)
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"names {value!r} twice")
        seen.add(value)
    return values


def at_least(fewest: int, most: int) -> AfterValidator:
    """Metadata of a list whose entries are sections: its length is looked at when the entries are right."""

    def counted(values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not fewest <= len(values) <= most:
            raise ValueError(f"must have {fewest} to {most} entries, got {len(values)}")
        return values

    return AfterValidator(counted)


def _rising(stretch: tuple[float, float]) -> tuple[float, float]:
    if not -float("inf") < stretch[0] < stretch[1] < float("inf"):
        raise ValueError(f"must be [low, high] with low below high, got [{stretch[0]}, {stretch[1]}]")
    return stretch


def is_url(text: str) -> bool:
    """Whether it is an address, such as ``https://…``, and no path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def _path(given: str) -> str:
    if not given.strip():
        raise ValueError("is empty; give a path")
    if re.search(r"[\x00-\x1f\x7f]", given):
        raise ValueError(f"{given!r} holds a control character, so it is not a path")
    if is_url(given):
        raise ValueError(f"{given!r} is a URL; download it and give its local path")
    return given


_COUNT_SCHEMA = WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}]})
AutoOrCount = Annotated[Auto | int, BeforeValidator(_auto_or_count), _COUNT_SCHEMA]
"""``auto``, or a number of at least 1."""
_BAND_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "minLength": 1, "maxLength": _BAND_NAME_LENGTH},
    ]
}
Band = Annotated[int | str, BeforeValidator(_band), WithJsonSchema(_BAND_SCHEMA)]
"""A band's number in its file, from 1, or its name."""
Stretch = Annotated[tuple[StrictFloat, StrictFloat], AfterValidator(_rising)]
"""Values, after scale and offset, that mean black and white."""
PathText = Annotated[StrictStr, AfterValidator(_path)]
"""A local path, as written."""
