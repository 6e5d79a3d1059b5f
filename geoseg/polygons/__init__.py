"""From class pixels to polygons: exact outlines and their attributes. No file, no graph, no tensor."""
