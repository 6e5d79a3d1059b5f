"""What this machine computes with: the instruction set of its CPU, as oneDNN names it.

OpenVINO, torch and onnxruntime choose their loops by it, so that it decides a network's last bits, and what a
precision costs.
"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Self

__all__ = ["INSTRUCTION_SETS", "Processor", "cpu_flags"]

_SETS: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    ("SSE41", frozenset({"sse4_1"})),
    ("AVX", frozenset({"avx"})),
    ("AVX2", frozenset({"avx2", "fma"})),
    ("AVX2_VNNI", frozenset({"avx_vnni"})),
    ("AVX512_CORE", frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq"})),
    ("AVX512_CORE_VNNI", frozenset({"avx512_vnni"})),
    ("AVX512_CORE_BF16", frozenset({"avx512_bf16"})),
    ("AVX512_CORE_FP16", frozenset({"avx512_fp16"})),
    ("AVX512_CORE_AMX", frozenset({"amx_tile", "amx_bf16", "amx_int8"})),
    ("AVX512_CORE_AMX_FP16", frozenset({"amx_fp16"})),
)
"""oneDNN's names, each with the flags that it needs beyond those before it (AVX2_VNNI aside)."""
INSTRUCTION_SETS: Final = tuple(name for name, _ in _SETS)
"""The sets of x86, each more than the one before."""
_LIMIT: Final = "ONEDNN_MAX_CPU_ISA"
"""Variable by which oneDNN is told to use no more than a set."""


@dataclass(frozen=True, slots=True)
class Processor:
    """A CPU, as far as it decides what a network computes."""

    instruction_set: str
    """One of :data:`INSTRUCTION_SETS`; on other machines than x86 their kind, such as ``aarch64``."""
    vendor: str
    """As the CPU calls itself, such as ``AuthenticAMD``; empty: unknown."""

    @classmethod
    def here(cls) -> Self:
        """That of this process, no more than ``ONEDNN_MAX_CPU_ISA`` allows."""
        flags = cpu_flags()
        found = platform.machine()
        for name, needed in _SETS:
            if needed <= flags:
                found = name
            elif name != "AVX2_VNNI":
                break
        limit = os.environ.get(_LIMIT, "").upper()
        if found in INSTRUCTION_SETS and limit in INSTRUCTION_SETS:
            found = min(found, limit, key=INSTRUCTION_SETS.index)
        return cls(found, _read(r"vendor_id"))

    def has(self, instruction_set: str) -> bool:
        """Whether it has at least a set."""
        mine = self.instruction_set
        return mine in INSTRUCTION_SETS and INSTRUCTION_SETS.index(mine) >= INSTRUCTION_SETS.index(
            instruction_set
        )


def cpu_flags() -> frozenset[str]:
    """Features of an x86 CPU as Linux names them; empty where unknown."""
    return frozenset(_read("flags").split())


@lru_cache(maxsize=8)
def _read(key: str) -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(rf"^{key}\s*:\s*(.*)$", text, re.MULTILINE)
    return found[1] if found else ""
