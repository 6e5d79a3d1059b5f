"""Reference labels on any grid, to train with and to score against.

Begin with :mod:`~geoseg.io.labels.reader`: class ids of a window, from polygons
(:mod:`~geoseg.io.labels.layers`, of a file: :mod:`~geoseg.io.labels.vector_file`) or a raster
(:mod:`~geoseg.io.labels.rasters`), 255: not labeled. It may use ``grid``, ``config``, ``io.raster`` and
``io.vector``.
"""
