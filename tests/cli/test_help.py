"""What newcomers read first: help with examples that can be typed, completion, and the doctor."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from support.commands import Command, run_geoseg

from geoseg.cli import cli
from geoseg.models.bundle import shipped_bundles


def commands(group: click.Group, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        path = (*before, name)
        yield from commands(command, path) if isinstance(command, click.Group) else [path]


@pytest.mark.parametrize("path", list(commands(cli)), ids=" ".join)
def test_every_command_shows_examples_that_it_takes(geoseg: Command, path: tuple[str, ...]) -> None:
    code, out, _ = geoseg(*path, "--help")
    assert code == 0
    lines = [line.strip() for line in out.partition("Examples:")[2].splitlines() if line.strip()]
    assert lines, "no example"
    for line in lines:
        found = re.search(r"geoseg ([^>)\"]*)", line)
        assert found, line
        words = shlex.split(found[1])
        command: click.Command = cli
        context = click.Context(cli, info_name="geoseg")
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
            context = click.Context(command, parent=context, info_name=command.name)
        command.make_parser(context).parse_args(args=words)  # an unknown option is an error


def completed(*words: str) -> list[str]:
    *typed, last = words
    shell = ShellComplete(cli, {}, "geoseg", "_GEOSEG_COMPLETE")
    return [item.value for item in shell.get_completions(list(typed), last)]


def test_the_shell_completes_models_and_keys() -> None:
    assert completed("models", "show", "build") == [
        name for name in shipped_bundles() if name.startswith("build")
    ]
    assert completed("run", "my.yaml", "--model", "land") == ["landcover-mininet2"]
    assert "vectorize.min_area=" in completed("run", "my.yaml", "--set", "vectorize.m")
    assert completed("run", "my.yaml", "--set", "scenes.str") == ["scenes.stretch="]
    assert completed("train", "my.yaml", "--set", "train.ste") == ["train.steps="]


@pytest.mark.slow
def test_the_doctor_shows_what_is_installed(tmp_path: Path) -> None:
    done = run_geoseg("doctor", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("geoseg", "Python", "GDAL", "torch", "cores", "memory", "GPU", str(tmp_path), "extra dev"):
        assert word in done.stdout
    assert "missing" not in done.stdout.partition("libraries")[2].partition("\n")[0]


def test_the_doctor_names_a_folder_that_cannot_be_written(
    geoseg: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["geoseg.cli.doctor"]  # the package has the command under this name
    monkeypatch.setattr(module, "_is_writable", lambda folder: folder != Path.cwd())
    code, out, err = geoseg("doctor")
    assert code == 2
    assert err.startswith(f"problem: {Path.cwd()} cannot be written; ")
    assert err.count("\n") == 1
    assert "next:" not in out
