"""Layers of several scenes as one."""
