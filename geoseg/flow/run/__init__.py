"""Map every scene of a workflow."""
