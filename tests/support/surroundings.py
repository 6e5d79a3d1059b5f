"""What a test needs of the machine that it runs on."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["lacking"]


def lacking(why: str, *, required: bool = bool(os.environ.get("CI"))) -> NoReturn:
    """Skip a test for want of something; fail where it has to be there, as in CI."""
    (pytest.fail if required else pytest.skip)(why)
    raise AssertionError("pytest raises")
