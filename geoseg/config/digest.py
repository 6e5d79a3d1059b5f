"""Fingerprints of what a result is made from."""

from __future__ import annotations

import hashlib
import json
from typing import Any

__all__ = ["digest"]


def digest(content: Any) -> str:
    """Sha256 of a JSON value, in hexadecimal digits; the order of keys does not count.

    >>> digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
