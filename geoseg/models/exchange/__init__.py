"""Export, import and verify models."""
