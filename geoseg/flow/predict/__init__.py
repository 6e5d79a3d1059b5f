"""Predict an array in memory, lazily where it is lazy.

:mod:`~geoseg.flow.predict.predict` is ``geoseg.predict``: begin there. It cuts the array into rows of
windows, runs the engine over an :class:`~geoseg.io.raster.reader.ArrayReader` and
joins the results. :mod:`~geoseg.flow.predict.array` finds grid and nodata of an xarray image. It opens no
file but the model's.
"""
