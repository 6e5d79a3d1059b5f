"""The only package that opens rasters, layers and weights, and the only one that writes them.

``raster`` reads scenes and maps and writes maps; ``labels`` reads reference data; ``vector`` reads and writes
polygons; ``stac`` catalogs and items; ``qgis`` styles and projects; ``yaml`` the files that people write;
``weights`` the tensors of models. ``files`` writes any file whole or not at all, ``crs`` has the one spelling
of a CRS, ``ogr`` imports pyogrio. It may use what is arithmetic (``grid``, ``polygons``, ``config``,
``score``), nothing that predicts or trains. Begin with :mod:`geoseg.io.raster.reader` for pixels and
:mod:`geoseg.io.raster.gdal` for what may be opened and how errors read.
"""
