"""STAC catalogs and items on local disk, and folders that stand for one.

``read`` gives the scenes of a catalog, and turns hrefs into local paths: nothing is fetched. ``folder`` makes
and updates the catalog of a folder, of the images that ``files`` finds and the labels that ``labels`` adds;
``write`` makes items, of images and of finished maps. What an item means is in :mod:`geoseg.config.stac`.
Begin with :func:`geoseg.io.stac.folder.open_catalog`.
"""
