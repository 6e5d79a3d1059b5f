"""Reference labels on any grid, to train with and to score against.

Begin with :mod:`~geoseg.io.labels.reader`: class ids of a window, from polygons
(:mod:`~geoseg.io.labels.layers`) or a raster (:mod:`~geoseg.io.labels.rasters`), 255: not labeled.
It may use ``grid`` and ``config``, and :mod:`geoseg.io.raster.gdal` to open files.
"""
