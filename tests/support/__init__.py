"""Builders, strategies and oracles that several tests share."""
