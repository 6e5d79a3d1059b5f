"""Training: labeled scenes → chips → loss → weights.

``data`` cuts chips from labeled scenes, each a function of the seed and its number. ``loop`` is the
training: ``learner`` is one step of it (and the teacher that it imitates), ``losses`` what is minimized,
``optim`` optimizers, lengths and rates, ``ema`` the averaged weights, ``validate`` the score on held-out
blocks, ``progress`` what is kept and when to stop, ``checkpoint`` how a stopped training continues.
``precision`` and ``distributed`` are where it runs; ``events`` and ``logs`` what it reports. Uses models,
score and io, no command. Begin with ``loop``.
"""
