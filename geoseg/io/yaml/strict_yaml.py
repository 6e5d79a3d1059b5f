"""YAML without surprises, and the line of every key.

The data model is YAML 1.2's core schema: ``no``, ``on`` and ``22:30`` are text, only ``true``, ``false``,
``null`` and numbers are not. Tags are refused, keys may not repeat, and size, depth and aliases are bounded,
so that a file of a few hundred bytes cannot grow into gigabytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from geoseg.config.mistakes import KeyPath, key_text

__all__ = ["MAX_BYTES", "Document", "Mistake", "YamlError", "dump_yaml", "parse_yaml", "plain_scalar"]

MAX_BYTES = 1_000_000
"""Longest file that is read."""
MAX_DEPTH = 20
"""Deepest nesting."""
MAX_ALIASES = 50
"""Most uses of an anchor."""
MAX_NODES = 100_000
"""Most values, counted after aliases are followed."""

_SCALARS: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"null|Null|NULL|~|"), lambda _: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    (re.compile(r"[-+]?[0-9]{1,40}"), int),  # longer ones stay text: no number of ours has 40 digits
    (re.compile(r"0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(\.[0-9]{1,400}|[0-9]{1,400}(\.[0-9]{0,400})?)([eE][-+]?[0-9]{1,9})?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"), lambda text: float(text.replace(".", "", 1))),
)


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong in a text: where, which key, and what."""

    line: int | None
    """Line in the text, from 1, where it is known."""
    key: str
    """The key, or the empty string where it is about the text as a whole."""
    text: str


class YamlError(Exception):
    """The text is not YAML that we read; ``mistakes`` says why."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("; ".join(mistake.text for mistake in mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a text, and where each of them is."""

    value: Any
    """Dictionaries, lists, text, numbers, booleans and None."""
    lines: dict[KeyPath, int]
    """Line of each key and list entry, from 1."""
    mistakes: list[Mistake] = field(default_factory=list)
    """What is wrong although the values can be told (keys that repeat: the first one counts)."""


def plain_scalar(text: str) -> Any:
    """What an unquoted word means under YAML 1.2's core schema.

    >>> [plain_scalar(word) for word in ("no", "22:30", "1e3", "0x10", "true", "~", "8 m2")]
    ['no', '22:30', 1000.0, 16, True, None, '8 m2']
    """
    for pattern, value in _SCALARS:
        if pattern.fullmatch(text):
            return value(text)
    return text


def parse_yaml(text: str) -> Document:
    """The values of a YAML text of one document; empty text is the value None.

    Raises:
        YamlError: no YAML, tags, several documents, or too long, deep or many-fold.
    """
    if len(text) > MAX_BYTES:
        raise YamlError([Mistake(None, "", f"is longer than {MAX_BYTES} characters")])
    try:
        refused = list(_refused(text))
        node = None if refused else yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        why = " ".join(filter(None, (error.problem, error.context)))
        if "'\\t'" in why:
            why = "a tab cannot indent a line; use spaces"
        raise YamlError([Mistake(line, "", f"is not YAML: {why}")]) from error
    except yaml.YAMLError as error:
        why = str(error).splitlines()[0]
        raise YamlError([Mistake(None, "", f"is not YAML: {why}")]) from error
    if refused:
        raise YamlError(refused)
    reader = _Reader()
    value = None if node is None else reader.read(node, ())
    return Document(value, reader.lines, reader.mistakes)


def _refused(text: str) -> Iterator[Mistake]:
    """What may not be in the text, found in the stream of events: nothing is built yet."""
    depth, aliases, documents = 0, 0, 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        assert event.start_mark is not None, "PyYAML's parser marks every event"
        line = event.start_mark.line + 1
        tag = getattr(event, "tag", None)  # only scalars and collections have one
        if tag is not None:
            yield Mistake(line, "", f"has the tag {tag}; tags are not read, leave it out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                yield Mistake(line, "", f"is nested deeper than {MAX_DEPTH} levels")
                return
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
            if aliases > MAX_ALIASES:
                yield Mistake(line, "", f"uses more than {MAX_ALIASES} aliases (*name)")
                return
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                yield Mistake(line, "", "has a second document after ---; one file holds one workflow")
                return


class _Reader:
    """Nodes to values, with the line of each."""

    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.mistakes: list[Mistake] = []
        self._nodes = 0
        self._open: list[yaml.Node] = []

    def read(self, node: yaml.Node, path: KeyPath) -> Any:
        self._nodes += 1
        line = node.start_mark.line + 1
        if self._nodes > MAX_NODES:
            raise YamlError([Mistake(line, "", f"holds more than {MAX_NODES} values, counting aliases")])
        if any(node is one for one in self._open):
            raise YamlError([Mistake(line, key_text(path), "contains itself through an alias")])
        if isinstance(node, yaml.ScalarNode):
            return plain_scalar(node.value) if node.style is None else node.value
        self._open.append(node)
        value = self._mapping(node, path) if isinstance(node, yaml.MappingNode) else self._list(node, path)
        self._open.pop()
        return value

    def _list(self, node: yaml.Node, path: KeyPath) -> list[Any]:
        values = []
        for i, child in enumerate(node.value):
            self.lines[*path, i] = child.start_mark.line + 1
            values.append(self.read(child, (*path, i)))
        return values

    def _mapping(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, child in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.mistakes.append(Mistake(line, key_text(path), "has a key that is not a word"))
                continue
            key = (*path, key_node.value)
            if key in self.lines:
                first = self.lines[key]
                self.mistakes.append(Mistake(line, key_text(key), f"is given twice, first in line {first}"))
                continue
            self.lines[key] = line
            values[key_node.value] = self.read(child, key)
        return values


class _Dumper(yaml.SafeDumper):
    """Writes YAML that both YAML 1.1 and :func:`parse_yaml` read as the same values."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


_UNICODE_BREAK = re.compile("[\x85\u2028\u2029\ufeff]")


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if isinstance(plain_scalar(text), str) else "'"
    if _UNICODE_BREAK.search(text):
        style = '"'  # the other styles write these as they are, and reading folds them into spaces
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def dump_yaml(value: Any) -> str:
    """YAML of plain values, keys in their own order; ``parse_yaml(dump_yaml(x)).value == x``."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))
