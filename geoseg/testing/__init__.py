"""What tests and examples need and the tool does not: generated scenes whose truth is known."""
