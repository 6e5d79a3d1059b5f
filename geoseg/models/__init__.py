"""Torch only: one module per network family, the registry, bundles, the predictor."""
