"""From strips of probabilities to polygons."""
