"""The Python interface: what ``import geoseg`` offers, in the types of the ecosystem.

``run`` maps a workflow and gives a :class:`~geoseg.api.run.Run`, whose scenes give GeoDataFrames and xarray
grids; ``vectorize`` vectorizes a raster, an array or a dataset; ``functions`` holds the calls that only pass
on: evaluate, train, catalog. May use everything, of ``cli`` only ``progress``; nothing but
``geoseg/__init__.py`` imports it. Begin reading at ``run``.
"""
