"""Score maps against reference labels."""
