"""One polygon per object: split, fit, free of overlaps."""
