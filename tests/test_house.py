"""The laws of the house: functions, folders, names, words, light imports, the top level."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import geoseg

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(geoseg.__path__, "geoseg.")
    if name != "geoseg.__main__" and not name.startswith("geoseg.bundles")
]
LONGEST_FUNCTION = 62
LARGEST_FOLDER = 15
HEAVY = ["torch", "rasterio", "geopandas", "dask", "distributed", "scipy", "xarray", "pandas", "pyproj"]


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist(name: str) -> None:
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None)
    if names is None:
        assert hasattr(module, "__path__"), f"{name} has no __all__"
        return
    assert all(hasattr(module, n) for n in names)


def test_functions_read_in_one_sitting(root: Path) -> None:
    long = {
        f"{path.relative_to(root)}:{node.lineno} {node.name}": lines
        for path in (root / "geoseg").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    }
    assert not long


def test_no_folder_is_a_heap(root: Path) -> None:
    folders = Counter(path.parent for path in (root / "geoseg").rglob("*.py") if path.name != "__init__.py")
    del folders[root / "geoseg/models/networks"]  # a module per family, however many there are
    assert {str(path): count for path, count in folders.items() if count > LARGEST_FOLDER} == {}


def test_every_module_is_used(root: Path) -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in (root / "geoseg").rglob("*.py")}
    for path in sources:
        if path.name in {"__init__.py", "__main__.py"}:
            continue
        *folders, name = path.relative_to(root).with_suffix("").parts
        package = re.escape(".".join(folders))
        used = rf"{package}\.{name}\b|from {package} import .*\b{name}\b"
        others = (text for other, text in sources.items() if other != path)
        assert any(re.search(used, text) for text in others), f"{path} is imported by nobody"


def test_names_of_modules_say_what_they_hold(root: Path) -> None:
    """An underscore says private inside a module; a folder, not a prefix, says what belongs together."""
    modules = [path for path in (root / "geoseg").rglob("*.py") if not path.name.startswith("__")]
    assert [path.name for path in modules if path.name.startswith("_")] == ["_version.py"]
    starts = Counter((path.parent, path.stem.split("_")[0]) for path in modules)
    assert {f"{folder}/{start}_*": count for (folder, start), count in starts.items() if count > 2} == {}


def test_each_package_says_what_it_holds_and_where_to_begin(root: Path) -> None:
    for path in (root / "geoseg").rglob("__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        text = ast.get_docstring(tree) or ""
        assert len(text.splitlines()) >= 3, f"{path}: a docstring of a few lines"
        if path.parent.name in {"geoseg", "cli"}:
            continue  # the Python interface; the command line
        assert len(text.splitlines()) <= 10, f"{path}: at most ten lines"
        assert len(tree.body) == 1, f"{path}: a package re-exports nothing"


def _glossary(root: Path) -> list[list[str]]:
    text = (root / "docs/architecture.md").read_text(encoding="utf-8")
    table = text.split("## Glossary")[1].split("## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line
    ]
    return rows[2:]


def test_the_glossary_names_what_is_there(root: Path) -> None:
    terms = [row[0] for row in _glossary(root)]
    assert len(set(terms)) == len(terms) > 15
    for row in _glossary(root):
        for name in re.findall("`([^`]+)`", row[2]):
            module, _, attribute = name.partition(":")
            assert hasattr(importlib.import_module(f"geoseg.{module}"), attribute), name


def _public_names(root: Path) -> Iterator[tuple[str, str]]:
    """Where, and name: of modules, their classes and functions, and the fields and methods of classes."""
    for path in (root / "geoseg").rglob("*.py"):
        yield str(path), path.stem
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                yield f"{path}:{node.lineno}", node.name
            for inner in node.body if isinstance(node, ast.ClassDef) else []:
                name = inner.target if isinstance(inner, ast.AnnAssign) else inner
                found = getattr(name, "id", getattr(name, "name", "_"))
                if not found.startswith("_"):
                    yield f"{path}:{inner.lineno}", found


def test_no_public_name_has_a_word_that_the_glossary_gave_up(root: Path) -> None:
    words = {word for row in _glossary(root) for word in re.findall(r"\w+", row[3])}
    assert "receipt" in words
    snake = [
        (place, re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()) for place, name in _public_names(root)
    ]
    wrong = [
        f"{place}: {name}"
        for place, name in snake
        for word in words
        if re.search(rf"(^|_){word}s?(_|$)", name)
    ]
    assert not wrong


@pytest.mark.parametrize("statement", ["import geoseg", "import geoseg.cli"])
def test_nothing_heavy_is_imported_before_it_is_needed(statement: str) -> None:
    probe = f"import sys; {statement}; print([m for m in {HEAVY} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_top_level_is_what_it_should_be(tracked: list[str]) -> None:
    allowed = {
        *["pyproject.toml", "geoseg", "workflows", "catalogs", "tests", "examples", "README.md"],
        *[".ci", ".github", ".gitignore", ".pre-commit-config.yaml", "benchmarks", "docs", "Makefile"],
        *["CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "SECURITY.md"],
    }
    assert {name.split("/")[0] for name in tracked} <= allowed


def test_every_suppressed_rule_says_why(root: Path) -> None:
    bare = [
        f"{path.relative_to(root)}:{number}"
        for path in (root / "geoseg").rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"# (noqa(: [A-Z0-9, ]+)?|type: ignore(\[[a-z-, ]+\])?)\s*$", line)
    ]
    assert not bare


def test_no_module_hides_an_unfinished_body(root: Path) -> None:
    for path in (root / "geoseg").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name | ast.Call):
                called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
                assert getattr(called, "id", "") != "NotImplementedError", path
