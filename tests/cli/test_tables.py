"""Tables as lines: nothing is lost at any width."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.cli.tables import table_text
from geoseg.score.report.tables import Table

TABLE = Table(
    "Scores",
    ("scene", "px scored", "mIoU", "remark", "IoU of a class"),
    (
        (
            "a-scene-with-a-name-as-long-as-archives-like",
            "1,234,567",
            "0.123 [0.100, 0.200]",
            "no label at all",
            "0.5 [0.4, 0.6]",
        ),
        ("über [bold]", "12", "–", ":smile:", "–"),
    ),
    left=(0, 3),
)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("width", [None, 200, 60, 20, 1])
def test_no_character_is_lost_and_no_number_is_broken(width: int | None) -> None:
    text = plain(table_text(TABLE, width))
    cells = [TABLE.head, *TABLE.rows]
    for row in cells:
        for column, cell in enumerate(row):
            assert column in TABLE.left or cell in text
    written = "".join(text.replace("─", "").split())
    assert sorted(written) == sorted((TABLE.title + "".join(map("".join, cells))).replace(" ", ""))


@given(st.lists(st.tuples(st.text("ab[]:漢", min_size=1), st.integers(0, 10**9)), min_size=1, max_size=5))
def test_a_table_off_a_terminal_has_a_line_per_row(rows: list[tuple[str, int]]) -> None:
    table = Table("", ("name", "count"), tuple((name, str(count)) for name, count in rows))
    lines = table_text(table).splitlines()
    assert [line.split()[0] for line in lines[1:]] == [name for name, _ in rows]
    assert [line.split()[1] for line in lines[1:]] == [str(count) for _, count in rows]
    assert all(line == line.rstrip() for line in lines)
