"""The process of the command ``geoseg``, and of ``python -m geoseg``."""

from __future__ import annotations

import atexit
import os
import sys
import threading

from geoseg.cli import main

__all__ = ["command"]


def command() -> None:
    """Run the command line, and end the process.

    What Python does at its end is done: threads are waited for, exit functions called, output is written. Not
    done is what takes up to half a second of a core: taking down every object, before the system takes the
    memory back anyway.
    """
    try:
        main()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            raise
        code = int(ended.code or 0)
    else:
        code = 0
    # As processes of multiprocessing end.
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - nothing public does it
    atexit._run_exitfuncs()  # noqa: SLF001 - nothing public does it
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = code or 141
    os._exit(code)


if __name__ == "__main__":
    command()
