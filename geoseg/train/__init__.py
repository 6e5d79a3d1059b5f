"""Training: labeled scenes → chips → loss → weights.

* ``scenes``, ``files``, ``index``, ``split``: labeled scenes and which of their blocks are held out.
* ``chips``, ``augment``, ``feed``: what the network sees, a function of the seed and a number.
* ``losses``, ``objective``: what is minimized, in pieces that add up.
* ``loop``: the training itself. ``learner`` is one step of it, ``course`` its lengths and rates, ``progress``
  what it has come to, ``checkpoint`` how it goes on, ``validate`` how it is scored.
* ``arithmetic``, ``processes``: where it runs. ``events``, ``logs``, ``trouble``: what it tells.
"""

from __future__ import annotations

__all__: list[str] = []
