"""Arithmetic of pixels on the ground: no file, no tensor, nothing but arrays and numbers.

Where pixels lie (``window``, ``geobox``, ``orientation``, ``crs``, ``ground``, ``footprint``, ``resample``,
``pixel_map``),
how a scene is cut into overlapping windows and stitched again without an artifact (``tiling``, ``blend``,
``stitch``), and how probabilities, no data and ignored labels are encoded (``encoding``); and arrays of
``polygons``. It uses numpy, affine, pyproj and shapely.

Begin with :mod:`geoseg.grid.window` and :mod:`geoseg.grid.geobox`; stitching begins in
:mod:`geoseg.grid.tiling`.
"""
