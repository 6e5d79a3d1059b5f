"""How the process of a command ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

ENDS = """
import atexit, sys, threading, time
from geoseg.__main__ import command
atexit.register(print, "exit function")
threading.Thread(target=lambda: (time.sleep(0.3), print("thread"))).start()
sys.argv = ["geoseg", *sys.argv[1:]]
command()
"""


def ended(*arguments: str) -> tuple[int, str, str]:
    """Code, output and errors of a command that leaves a thread and an exit function."""
    done = subprocess.run(
        [sys.executable, "-c", ENDS, *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"), [(["--version"], 0, "geoseg, version"), (["run", "no.yaml"], 2, "no.yaml")]
)
def test_a_command_waits_for_its_threads_and_calls_exit_functions(
    arguments: list[str], code: int, said: str
) -> None:
    found, output, errors = ended(*arguments)
    assert found == code
    assert said in output + errors
    assert output.endswith("thread\nexit function\n")


def test_output_that_nobody_reads_ends_a_command_without_a_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "geoseg", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode in (1, 141)
    assert not errors
