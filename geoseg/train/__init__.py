"""Training: labelled scenes → chips → loss → weights.

``scenes`` holds labelled scenes and the split by blocks on the ground, ``augment`` and ``chips`` cut chips
from them, ``losses`` is cross-entropy and the Jaccard/Dice/Tversky family, ``validate`` scores the held-out
blocks and ``loop`` is the loop itself: seeded, resumable, the same bits again on the same machine.
"""

from __future__ import annotations

__all__: list[str] = []
