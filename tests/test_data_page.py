"""The page on what geoseg does with data: every rule names the test that holds it, and the test is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from geoseg.config.workflow import Scenes

_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def rules(page: Path) -> list[str]:
    """The rows of the page's tables, without their heads."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return [
        line
        for line in lines
        if line.startswith("| ") and line.count(" | ") >= 3 and "| situation" not in line
    ]


def test_every_rule_names_a_test_that_is_there(root: Path) -> None:
    rows = rules(root / "docs" / "data.md")
    assert len(rows) > 60
    for row in rows:
        named = _TEST.findall(row)
        assert named, f"no test: {row}"
        for file, name in named:
            path = root / file
            assert path.is_file(), f"{file} of {row}"
            if name:
                assert f"def {name}(" in path.read_text(encoding="utf-8"), f"{name} of {row}"


@pytest.mark.parametrize("key", sorted(Scenes.model_fields.keys() - {"ids"}))
def test_the_page_has_every_key_that_says_how_a_scene_is_read(key: str, root: Path) -> None:
    assert f"`scenes.{key}`" in (root / "docs" / "data.md").read_text(encoding="utf-8")
