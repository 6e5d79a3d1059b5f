"""What pydantic found wrong, in words a user can act on."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from geoseg.words import did_you_mean, listed

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
    "dict_type": "must be a section of keys and values",
}

_RENAMED: Mapping[str, str] = MappingProxyType({"colour": "color", "recipe": "preset"})
"""Former name of a key → its name now."""


def key_text(path: KeyPath) -> str:
    """A key as an error names it: ``scenes.ids[2]``.

    >>> key_text(("scenes", "ids", 2))
    'scenes.ids[2]'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models behind ``Model``, ``Model | None`` or a union of models that their kind tells apart."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        for part in typing.get_args(annotation):
            yield from _sections(part)


def _entries(annotation: Any) -> Any:
    """What a list or mapping holds; None for anything else."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return next(filter(None, map(_entries, parts)), None)
    if origin is typing.Annotated:
        return _entries(parts[0])
    return {tuple: parts[:1], list: parts[:1], dict: parts[1:]}.get(origin, (None,))[0]


def _kinds(section: type[BaseModel]) -> tuple[Any, ...]:
    field = section.model_fields.get("kind")
    return () if field is None else typing.get_args(field.annotation)


class _Place(NamedTuple):
    """Where in a file pydantic found a mistake."""

    path: KeyPath
    """Keys and positions as the file has them."""
    holder: type[BaseModel]
    """The section that the last key is in."""
    annotation: Any
    """What is declared there."""


def _place(model: type[BaseModel], location: KeyPath) -> _Place:
    """Pydantic's location without the kinds by which it names members of a union."""
    path: KeyPath = ()
    holder = model
    annotation: Any = model
    for part in location:
        sections = list(_sections(annotation))
        if len(sections) > 1:
            annotation = next((one for one in sections if part in _kinds(one)), None)
        elif sections:
            path = (*path, part)
            holder = sections[0]
            field = holder.model_fields.get(str(part))
            annotation = None if field is None else field.annotation
        elif part != "[key]":
            path = (*path, part)
            annotation = _entries(annotation)
    return _Place(path, holder, annotation)


def _all_keys(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, str]]:
    """(last name, full key) of every key of the model, those within lists aside."""
    for name, field in model.model_fields.items():
        yield name, above + name
        for below in _sections(field.annotation):
            yield from _all_keys(below, f"{above}{name}.")


def _unknown_key(model: type[BaseModel], place: _Place) -> str:
    name, known = str(place.path[-1]), place.holder.model_fields
    if _RENAMED.get(name) in known:
        return f"is now called {_RENAMED[name]}; write {_RENAMED[name]}: instead"
    hint = did_you_mean(name, known)
    elsewhere = [full for last, full in _all_keys(model) if last == name]
    if key_text(place.path) in elsewhere:
        return f"is not a key of this kind; keys here: {listed(known)}"
    if elsewhere:
        return f"unknown key here; did you mean {elsewhere[0]!r}?"
    return f"unknown key{hint}" if hint else f"unknown key; keys here: {listed(known)}"


def _no_section(place: _Place, given: object) -> str:
    sections = list(_sections(place.annotation))
    keys = listed(dict.fromkeys(key for section in sections for key in section.model_fields))
    if given is None:
        return f"is empty; give it keys ({keys}) or leave it out"
    return f"must be a section with the keys {keys}; {_got(given)}"


def _no_kind(place: _Place, given: object) -> str:
    kinds = [kind for section in _sections(place.annotation) for kind in _kinds(section)]
    found = given.get("kind") if isinstance(given, dict) else None
    if found is None:
        return f"needs a kind: {listed(kinds)}"
    hint = did_you_mean(found, kinds) if isinstance(found, str) else ""
    return f"there is no kind {found!r:.80}; kinds are {listed(kinds)}{hint}"


def _no_choice(expected: str, given: object) -> str:
    hint = did_you_mean(given, re.findall(r"'([^']+)'", expected)) if isinstance(given, str) else ""
    return f"must be {expected}, {_got(given)}{hint}"


def _got(given: object) -> str:
    return "but it is empty" if given is None else f"got {given!r:.80}"


def _sentence(model: type[BaseModel], place: _Place, error: ErrorDetails) -> str:
    given, context = error["input"], error.get("ctx", {})
    got = _got(given)
    match error["type"]:
        case "extra_forbidden":
            text = _unknown_key(model, place)
        case "missing":
            field = place.holder.model_fields[str(place.path[-1])]
            text = f"is missing: {' '.join((field.description or '').split())}"
        case "value_error":
            text = str(context["error"])
        case "model_type" | "model_attributes_type":
            text = _no_section(place, given)
        case "union_tag_invalid" | "union_tag_not_found":
            text = _no_kind(place, given)
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
    """Every mistake as (key, what is wrong and what to do), in the order of the outermost model."""
    found: list[tuple[KeyPath, str]] = []
    for detail in error.errors(include_url=False):
        place = _place(model, detail["loc"])
        if detail["type"] == "missing" and isinstance(place.path[-1], int):
            # A list of fixed length; its first missing entry speaks for the rest.
            if not any(path == place.path[:-1] for path, _ in found):
                found.append(
                    (place.path[:-1], f"has only {place.path[-1]} of its entries, {_got(detail['input'])}")
                )
            continue
        found.append((place.path, _sentence(model, place, detail)))
    return found
