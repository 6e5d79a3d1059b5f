"""Folder names from scene ids."""

from __future__ import annotations

import hashlib
import re
import unicodedata

__all__ = ["SLUG_LENGTH", "scene_slug"]

SLUG_LENGTH = 80
"""Longest slug, in characters (all of them ASCII)."""

_DIGITS = 16  # 64 bits: a million ids meet with probability 3e-8
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LOOKS_ALTERED = re.compile(rf".*-[0-9a-f]{{{_DIGITS}}}", re.IGNORECASE)
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)  # Windows' devices


def scene_slug(scene_id: str) -> str:
    """The name of a scene's folder: readable, portable, and never a path.

    An id that is already a portable file name stays as it is. Any other one becomes its letters and digits
    with a hash of the whole id behind them. An id that only looks like such a result is hashed too, so
    distinct ids have distinct slugs: 1 to :data:`SLUG_LENGTH` characters of ``[A-Za-z0-9._-]`` that start
    with a letter or digit, do not end with a dot, and name no device on Windows.

    >>> scene_slug("austin1")
    'austin1'
    >>> scene_slug("../etc/passwd")
    'etc-passwd-7fef78f53440346c'
    """
    if (
        _SAFE.fullmatch(scene_id)
        and len(scene_id) <= SLUG_LENGTH
        and not scene_id.endswith(".")
        and not _LOOKS_ALTERED.fullmatch(scene_id)
        and not _RESERVED.fullmatch(scene_id)
    ):
        return scene_id
    digest = hashlib.sha256(scene_id.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    plain = unicodedata.normalize("NFKD", scene_id).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9_]+", "-", plain).strip("-_")[: SLUG_LENGTH - _DIGITS - 1].rstrip("-_")
    return f"{words or 'scene'}-{digest}"
