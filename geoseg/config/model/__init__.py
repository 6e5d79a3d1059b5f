"""The contract of a model bundle and the metadata formats that carry it."""
