"""From rows of stored probabilities to polygons, in pixel coordinates, without the scene in memory.

Arithmetic on arrays and shapely geometries alone: imports ``grid``, opens no file. Begin with
``trace.exact.trace_regions`` (regions of equal class, strip by strip), then the three ways on from there:
exact outlines, ``objects.objects.find_objects`` (one polygon for each building) and
``coverage.coverage.find_coverage`` (land cover without gaps). ``shapes.Shapes`` is what all of them yield,
``attributes`` its columns in a layer. ``geodesic`` measures on the ellipsoid, ``mosaic`` joins layers of
scenes that overlap, ``simplify`` draws them with fewer vertices.
"""
