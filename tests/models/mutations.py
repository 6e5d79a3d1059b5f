"""``make mutations``: do the tests find each change to the networks' arithmetic listed in ``mutations.txt``?

Each is made in a copy of the package, where the tests of outputs, plain networks and initial weights are then
run for the networks concerned. Those of which no test fails are listed, and the exit code is 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = Path("geoseg/models/networks")
TESTS = ["test_forward_passes.py", "test_plain_networks.py", "test_initial_weights.py"]


class Mutation(NamedTuple):
    module: str
    select: str  # pytest's -k: of which networks the tests are run
    says: str
    old: str  # occurs once in the module
    new: str

    def made_in(self, text: str) -> str:
        """The module's text with the change in it."""
        if text.count(self.old) != 1:
            raise SystemExit(f"mutations.txt: {self.module}: {self.says}: {self.old!r} is not there once")
        return text.replace(self.old, self.new)


def listed() -> Iterator[Mutation]:
    lines = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    heads = [number for number, line in enumerate(lines) if line[:1].isalpha()]
    for head, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        module, select, says = lines[head].split(" | ")
        old, new = ("\n".join(line[2:] for line in lines[head:end] if line[0] == sign) for sign in "-+")
        yield Mutation(module, select, says, old, new)


def found(mutation: Mutation) -> bool:
    """Whether a test fails of the change."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        unneeded = shutil.ignore_patterns("bundles", "share", "__pycache__")
        for name in ("geoseg", "tests"):
            shutil.copytree(ROOT / name, root / name, ignore=unneeded)
        for name in ("geoseg/bundles", "examples", "pyproject.toml"):
            (root / name).symlink_to(ROOT / name)
        path = root / NETWORKS / f"{mutation.module}.py"
        path.write_text(mutation.made_in(path.read_text(encoding="utf-8")), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, "-k", mutation.select, *(f"tests/models/{name}" for name in TESTS)],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{mutation.module}: {mutation.says}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 1


if __name__ == "__main__":
    chosen = [mutation for mutation in listed() if not sys.argv[1:] or mutation.module in sys.argv[1:]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(zip(chosen, pool.map(found, chosen), strict=True))
    unseen = [f"{mutation.module}: {mutation.says}" for mutation, seen in results if not seen]
    print(f"{len(results) - len(unseen)} of {len(results)} changes are found")  # noqa: T201 - a command
    sys.exit("not found: " + "; ".join(unseen) if unseen else 0)
