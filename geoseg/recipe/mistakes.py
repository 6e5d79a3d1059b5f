"""What pydantic found wrong, in words a user can act on."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from geoseg.recipe.words import did_you_mean, listed

__all__ = ["KeyPath", "key_text", "mistakes"]

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of a file."""

_PLAIN = {
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list, such as [a, b]",
}


def key_text(path: KeyPath) -> str:
    """A key as an error names it: ``scenes.ids[2]``.

    >>> key_text(("scenes", "ids", 2))
    'scenes.ids[2]'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _section(annotation: Any) -> type[BaseModel] | None:
    """The model behind ``Model`` or ``Model | None``."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next(filter(None, map(_section, typing.get_args(annotation))), None)
    return None


def _model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel]:
    for part in path:
        below = _section(model.model_fields[part].annotation) if isinstance(part, str) else None
        assert below is not None, f"{key_text(path)} is no section"
        model = below
    return model


def _all_keys(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, str]]:
    """(last name, full key) of every key of the model."""
    for name, field in model.model_fields.items():
        yield name, above + name
        below = _section(field.annotation)
        if below is not None:
            yield from _all_keys(below, f"{above}{name}.")


def _unknown_key(model: type[BaseModel], path: KeyPath) -> str:
    name, known = str(path[-1]), _model_at(model, path[:-1]).model_fields
    hint = did_you_mean(name, known)
    elsewhere = [full for last, full in _all_keys(model) if last == name]
    if elsewhere:
        return f"unknown key here; did you mean {elsewhere[0]!r}?"
    return f"unknown key{hint}" if hint else f"unknown key; keys here: {listed(known)}"


def _missing(model: type[BaseModel], path: KeyPath) -> str:
    field = _model_at(model, path[:-1]).model_fields[str(path[-1])]
    return f"is missing: {' '.join((field.description or '').split())}"


def _no_section(model: type[BaseModel], path: KeyPath, given: object) -> str:
    keys = listed(_model_at(model, path).model_fields)
    if given is None:
        return f"is empty; give it keys ({keys}) or leave it out"
    return f"must be a section with the keys {keys}; {_got(given)}"


def _no_choice(expected: str, given: object) -> str:
    hint = did_you_mean(given, re.findall(r"'([^']+)'", expected)) if isinstance(given, str) else ""
    return f"must be {expected}, {_got(given)}{hint}"


def _got(given: object) -> str:
    return "but it is empty" if given is None else f"got {given!r:.80}"


def _sentence(model: type[BaseModel], path: KeyPath, error: ErrorDetails) -> str:
    given, context = error["input"], error.get("ctx", {})
    got = _got(given)
    match error["type"]:
        case "extra_forbidden":
            text = _unknown_key(model, path)
        case "missing":
            text = _missing(model, path)
        case "value_error":
            text = str(context["error"])
        case "model_type":
            text = _no_section(model, path, given)
        case "literal_error":
            text = _no_choice(context["expected"], given)
        case "string_type" if isinstance(given, bool | int | float):
            text = f'must be text; write it in quotes: "{given}"'
        case kind if kind in _PLAIN:
            text = f"{_PLAIN[kind]}, {got}"
        case _:  # bounds and lengths: pydantic's own words, such as "Input should be less than …"
            text = f"{error['msg'].removeprefix('Input ').replace('should', 'must', 1)}, {got}"
    return text


def mistakes(error: ValidationError, model: type[BaseModel]) -> list[tuple[KeyPath, str]]:
    """Every mistake as (key, what is wrong and what to do), in the model's order.

    Args:
        error: what validating ``model`` raised.
        model: the outermost model.
    """
    found = []
    for detail in error.errors(include_url=False):
        path = detail["loc"]
        found.append((path, _sentence(model, path, detail)))
    return found
