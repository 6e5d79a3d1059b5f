"""Strict YAML with line numbers, and the files written in it."""
