"""The only file access."""
