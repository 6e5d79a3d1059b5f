"""The house's own laws: module size, public names, light imports, the tree's top level."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import geoseg

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(geoseg.__path__, "geoseg.")
    if name != "geoseg.__main__" and not name.startswith("geoseg.bundles")
]
HEAVY = ["torch", "rasterio", "geopandas", "dask", "distributed", "scipy", "xarray", "pandas", "pyproj"]


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist(name: str) -> None:
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None)
    if names is None:
        assert hasattr(module, "__path__"), f"{name} has no __all__"
        return
    assert all(hasattr(module, n) for n in names)


def test_modules_read_in_one_sitting(root: Path) -> None:
    long = {
        str(path.relative_to(root)): lines
        for path in (root / "geoseg").rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 500
    }
    assert not long


@pytest.mark.parametrize("statement", ["import geoseg", "import geoseg.cli"])
def test_nothing_heavy_is_imported_before_it_is_needed(statement: str) -> None:
    probe = f"import sys; {statement}; print([m for m in {HEAVY} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_top_level_is_what_it_should_be(root: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=root, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not tracked:
        pytest.skip("not a git checkout")
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
