"""Layers of polygons, written and read in GeoPackage, FlatGeobuf and GeoParquet.

``writer`` writes a layer from batches of ``features`` and checks it before it gets its name; ``geopackage``
and ``geoparquet`` know the formats; ``reader`` reads a layer in pieces; ``merge`` makes one layer of
several scenes', which ``placement`` takes to one CRS. Geometry is computed in :mod:`geoseg.polygons`; names
of layers are checked by :mod:`geoseg.config.layer_name`. Begin with
:func:`geoseg.io.vector.writer.write_features`.
"""
