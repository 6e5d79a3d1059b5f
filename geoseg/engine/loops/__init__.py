"""Compiled loops, ready before they are needed.

``exercise`` calls them all, so that they are compiled once on a machine; ``preloaded`` calls those that are,
in the process that workers of this machine are forked from, whose imports begin with ``importing``.
"""
