"""The command in a process of its own, and scripts of the examples."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

__all__ = ["Command", "load_script", "run_geoseg"]

Command = Callable[..., tuple[int, str, str]]
"""The fixture ``geoseg``: exit code, output and errors of a command's arguments."""


def run_geoseg(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "geoseg", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def load_script(path: Path) -> ModuleType:
    """A script as a module of its name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
