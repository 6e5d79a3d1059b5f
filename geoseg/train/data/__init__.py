"""Labeled scenes as chips."""
