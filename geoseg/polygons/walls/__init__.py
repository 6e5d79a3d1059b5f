"""Fit straight walls to outlines."""
