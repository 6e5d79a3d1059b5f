"""Objects that the edges of scenes have cut become one.

Begin with ``pieces``, which decides what belongs together; ``regions`` finds what a piece is in all scenes,
on ``probabilities`` of several scenes laid on one grid.
"""
