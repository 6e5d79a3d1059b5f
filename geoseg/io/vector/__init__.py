"""Read and write layers of polygons."""
