"""Rasters: scenes read, maps written and read back.

Begin with :mod:`~geoseg.io.raster.reader`: windows of pixels with one validity mask, from files
(:mod:`~geoseg.io.raster.scene_reader`) or an array, and the one rule of nodata.
:mod:`~geoseg.io.raster.scene` describes or refuses a scene by its files' headers
(:mod:`~geoseg.io.raster.header`), and :mod:`~geoseg.io.raster.bands` says which band is which.
:mod:`~geoseg.io.raster.cog` writes maps, :mod:`~geoseg.io.raster.maps` reads them back
(:mod:`~geoseg.io.raster.data_array` as xarray, lazily), and :mod:`~geoseg.io.raster.score_raster` reads
probabilities of any origin.
All of GDAL's settings and errors are in :mod:`~geoseg.io.raster.gdal`. It may use ``grid`` and ``config``.
"""
