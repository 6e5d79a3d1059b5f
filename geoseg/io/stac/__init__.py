"""STAC catalogs and items on local disk.

``read`` gives the scenes of a catalog, and turns hrefs into local paths: nothing is fetched. ``write``
makes the catalog of a folder and the item of a finished map. What an item means is in
:mod:`geoseg.config.stac`. Begin with :func:`geoseg.io.stac.read.load_catalog`.
"""
