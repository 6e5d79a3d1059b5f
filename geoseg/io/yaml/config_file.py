"""Files that a person writes: YAML text to a validated model, with every mistake at once."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from geoseg.config.fields import is_url
from geoseg.config.mistakes import KeyPath, key_text, mistakes
from geoseg.config.section import Section
from geoseg.config.workflow import NAME_LENGTH
from geoseg.errors import ConfigError
from geoseg.io.yaml.strict_yaml import MAX_BYTES, Document, Mistake, YamlError, parse_yaml
from geoseg.words import did_you_mean

__all__ = [
    "FileKind", "absolute", "is_path", "merge_overrides", "parse_overrides", "read_file", "read_overrides",
    "where",
]  # fmt: skip

_OVERRIDE = "--set"
_STAC_TYPES = {"Feature", "FeatureCollection", "Catalog", "Collection"}
AnyFile = TypeVar("AnyFile", bound=Section)


@dataclass(frozen=True, slots=True)
class FileKind(Generic[AnyFile]):
    """What a file holds, and how to speak of it."""

    model: type[AnyFile]
    word: str
    """Such as ``workflow``."""
    needs: str
    """What the shortest such file has, in words."""
    example: str
    """A line of such a file."""
    paths: AbstractSet[str]
    """Keys of paths (``*``: any entry of a list): those of ``--set`` count from the working directory."""
    names: AbstractSet[str] = frozenset()
    """Those of them that may be a name: they are paths where they have a / in them."""
    command: str = ""
    """What takes such a file, with FILE in its place."""
    template: str = ""
    """What writes a file to begin with; empty: nothing does."""


@dataclass(frozen=True, slots=True)
class ReadFile(Generic[AnyFile]):
    """A file's content and where each key was written."""

    content: AnyFile
    """The model; ``name`` is the file's unless given."""
    source: Path
    origins: Mapping[str, str]
    """Key → where it was given: ``austin.yaml:12`` or ``--set``."""


def read_file(
    path: str | Path,
    kind: FileKind[AnyFile],
    overrides: Mapping[str, Any] | None = None,
    *,
    kinds: Callable[[], Iterable[FileKind[Any]]] = tuple,
) -> ReadFile[AnyFile]:
    """Read and validate a file: YAML, UTF-8.

    Args:
        overrides: key (``tiling.halo``) → YAML text, as ``--set`` gives it, or a value that is not text.
        kinds: what the file may be instead, asked for where it has a key that is not of its kind; then the
            error names the command that takes it.

    Raises:
        ConfigError: every mistake of file and overrides, one line each.
    """
    path = Path(path)
    text = _read(path, kind)
    try:
        document = parse_yaml(text)
    except YamlError as error:
        raise ConfigError(_joined(_located(path, error.mistakes))) from error
    if document.value is None:
        raise ConfigError(f"{path}: is empty; a {kind.word} needs at least {kind.needs}")
    if not isinstance(document.value, dict):
        raise ConfigError(f"{path}:1: a {kind.word} is a list of keys, such as `{kind.example}`")

    _check_kind(path, document.value, kind, kinds)
    origins: dict[KeyPath, str] = {(): str(path)}
    origins.update({key: f"{path}:{line}" for key, line in document.lines.items()})
    found = _located(path, document.mistakes)
    data = document.value
    found += _override_all(data, origins, overrides, kind)
    data.setdefault("name", path.stem[:NAME_LENGTH])
    content = _validated(data, origins, found, kind)
    folder = Path(os.path.abspath(path)).parent  # noqa: PTH100 resolve() would follow links away from the file
    return ReadFile(content, folder / path.name, _by_text(origins))


def _check_kind(
    path: Path, data: Mapping[str, Any], kind: FileKind[Any], kinds: Callable[[], Iterable[FileKind[Any]]]
) -> None:
    """Refuse a file that has more keys of another kind than of its own, and a catalog."""
    if "stac_version" in data or data.get("type") in _STAC_TYPES:
        raise ConfigError(
            f"{path}: is a STAC catalog, not a {kind.word}, which would name it: `catalog: {path}`"
        )
    if data.keys() <= kind.model.model_fields.keys():
        return
    may_be = (kind, *kinds())
    likeness = {one.word: len(data.keys() & one.model.model_fields.keys()) for one in may_be}
    best = max(may_be, key=lambda one: likeness[one.word])
    if likeness[best.word] > likeness[kind.word]:
        raise ConfigError(
            f"{path}: is a {best.word} file, not a {kind.word}: {best.command.replace('FILE', str(path))}"
        )


def merge_overrides(
    content: AnyFile, overrides: Mapping[str, Any] | None, kind: FileKind[AnyFile]
) -> ReadFile[AnyFile]:
    """A model made in Python with overrides, as if it had been read from a file of the working directory."""
    origins: dict[KeyPath, str] = {(): kind.word}
    if overrides:
        data = content.model_dump(mode="json", exclude_defaults=True)
        found = _override_all(data, origins, overrides, kind)
        content = _validated(data, origins, found, kind)
    return ReadFile(content, Path.cwd() / kind.word, _by_text(origins))


def read_overrides(overrides: Mapping[str, Any], kind: FileKind[AnyFile]) -> AnyFile:
    """What ``--set`` alone says, where a command takes no file: every key of the kind has a default."""
    data: dict[str, Any] = {}
    origins: dict[KeyPath, str] = {(): _OVERRIDE}
    found = _override_all(data, origins, overrides, kind)
    return _validated(data, origins, found, kind)


def _validated(
    data: dict[str, Any],
    origins: Mapping[KeyPath, str],
    found: list[tuple[str, str, str]],
    kind: FileKind[AnyFile],
) -> AnyFile:
    """The model of these values, unless they or what was found before are wrong."""
    try:
        content = kind.model.model_validate(data)
    except ValidationError as error:
        wrong = [(_nearest(origins, at), key_text(at), why) for at, why in mistakes(error, kind.model)]
        raise ConfigError(_joined([*found, *wrong])) from error
    if found:
        raise ConfigError(_joined(found))
    return content


def where(origins: Mapping[str, str], key: str) -> str:
    """Where a key, or else the section around it, was given; else the file."""
    while key:
        if key in origins:
            return origins[key]
        key = key[: max(key.rfind("."), key.rfind("["), 0)]
    return origins[""]


def parse_overrides(given: Iterable[str]) -> dict[str, str]:
    """``key=value`` texts of ``--set`` by key; the last of a key counts. A ConfigError without ``=``.

    >>> parse_overrides(["catalog=x.json", "tiling.halo=64 px"])
    {'catalog': 'x.json', 'tiling.halo': '64 px'}
    """
    pairs = [text.partition("=") for text in given]
    wrong = [key for key, equals, _ in pairs if not equals or not key.strip()]
    if wrong:
        raise ConfigError(f"--set {wrong[0]!r}: needs key=value, such as --set tiling.halo='64 px'")
    return {key.strip(): value for key, _, value in pairs}


def _read(path: Path, kind: FileKind[Any]) -> str:
    word = kind.word
    no_text = f"is not a {word} file (YAML text)"
    if "catalog" in kind.paths:
        no_text += f", which would name it: `catalog: {path}`"
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; it {no_text}")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        beside = [other.name for other in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, beside)
        if not hint and kind.template:
            hint = f"; to write one: {kind.template}"
        raise ConfigError(f"{path}: no such file{hint}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; give a {word} file (YAML)") from error
    if b"\0" in data:
        raise ConfigError(f"{path}: {no_text}")
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: is longer than {MAX_BYTES} bytes, so it is not a {word}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8 text; save the file as UTF-8") from error


def _as_text(key: str, value: object) -> str:
    if isinstance(value, str | Path):
        return str(value)
    try:
        return json.dumps(value)  # JSON is YAML
    except TypeError as error:
        raise ConfigError(f"{key}: must be what a file can say, got {type(value).__name__}") from error


def _override_all(
    data: dict[str, Any],
    origins: dict[KeyPath, str],
    overrides: Mapping[str, Any] | None,
    kind: FileKind[Any],
) -> list[tuple[str, str, str]]:
    """Put every ``--set`` into the file's values; returns what is wrong with them."""
    found: list[tuple[str, str, str]] = []
    for key, value in (overrides or {}).items():
        found += _override(data, origins, key, _as_text(key, value), kind)
    return found


def _override(
    data: dict[str, Any], origins: dict[KeyPath, str], key: str, text: str, kind: FileKind[Any]
) -> list[tuple[str, str, str]]:
    """Put one ``--set`` into the file's values; returns what is wrong with it."""
    parts: tuple[Any, ...] = _key_path(data, key)
    try:
        document = parse_yaml(text)
    except YamlError as error:
        return [(_OVERRIDE, key, f"{text!r}: {mistake.text}") for mistake in error.mistakes]
    section: Any = data
    for i, part in enumerate(parts, 1):
        if isinstance(section, list) and not (isinstance(part, int) and part < len(section)):
            at, count = key_text(parts[: i - 1]), len(section)
            known = (
                f"{at}[0] to {at}[{count - 1}]" if count > 1 else f"{at}[0] alone" if count else "no entry"
            )
            return [(_OVERRIDE, key, f"there is no entry {part} of {at}; it has {known}")]
        if i == len(parts):
            break
        below = section[part] if isinstance(section, list) else section.get(part)
        if not isinstance(below, dict | list):  # absent, null, or a value that the override replaces
            below = section[part] = {}
            origins[parts[:i]] = _OVERRIDE
        section = below
    section[parts[-1]] = _from_here(document, parts, kind)
    for old in [old for old in origins if old[: len(parts)] == parts]:
        del origins[old]
    origins[parts] = _OVERRIDE
    origins.update({(*parts, *below): _OVERRIDE for below in document.lines})
    return [(_OVERRIDE, f"{key}.{mistake.key}", mistake.text) for mistake in document.mistakes]


def _key_path(data: Mapping[str, Any], key: str) -> KeyPath:
    """The keys of ``data[0].bands`` or ``data.0.bands``; a number is a position where the file has a list."""
    parts: list[str | int] = []
    found: Any = data
    for text in re.sub(r"\[\s*([0-9]+)\s*\]", r".\1", key).split("."):
        part: str | int = text.strip()
        if isinstance(found, list) and isinstance(part, str) and part.isdecimal():
            part = int(part)
            found = found[part] if part < len(found) else None
        else:
            found = found.get(part) if isinstance(found, dict) else None
        parts.append(part)
    return tuple(parts)


def _from_here(document: Document, parts: KeyPath, kind: FileKind[Any]) -> Any:
    """The value of an override; a path in it is relative to the working directory."""
    value, key = document.value, ".".join("*" if isinstance(part, int) else part for part in parts)
    if not isinstance(value, str) or key not in kind.paths or not value.strip():
        return value
    if (key in kind.names and not is_path(value)) or is_url(value):
        return value
    return str(absolute(value, Path.cwd()))


def is_path(name_or_path: str) -> bool:
    """Whether it is a path and no shipped model's name."""
    return "/" in name_or_path or os.sep in name_or_path


def absolute(path: str | Path, base: Path) -> Path:
    """A path as written in a file of this folder, made absolute; ``~`` is the user's home."""
    text = str(path)
    if text == "~" or text.startswith("~/"):
        return Path(text).expanduser()
    return Path(os.path.abspath(base / text))  # noqa: PTH100 a link stays the name that the user gave


def _by_text(origins: Mapping[KeyPath, str]) -> dict[str, str]:
    return {key_text(key): origin for key, origin in origins.items()}


def _nearest(origins: Mapping[KeyPath, str], key: KeyPath) -> str:
    while key not in origins:
        key = key[:-1]
    return origins[key]


def _located(path: Path, found: Iterable[Mistake]) -> list[tuple[str, str, str]]:
    """Mistakes as (where, key, what is wrong)."""
    return [(str(path) if one.line is None else f"{path}:{one.line}", one.key, one.text) for one in found]


def _joined(found: Iterable[tuple[str, str, str]]) -> str:
    def order(entry: tuple[str, str, str]) -> tuple[bool, int]:
        line = entry[0].rpartition(":")[2]
        return entry[0] == _OVERRIDE, int(line) if line.isdigit() else 0

    return "\n".join(
        f"{where}: {key}: {text}" if key else f"{where}: {text}"
        for where, key, text in sorted(found, key=order)
    )
