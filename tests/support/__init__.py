"""Builders, strategies and oracles that several tests share.

- ``rasters``: :func:`write_raster`, strips of scenes; ``vectors``: :func:`write_layer`, burned polygons;
- ``stac``: items and catalogs, a validator; ``bundles``: bundles spoilt on purpose;
- ``coverages``: scenes of any classes (a strategy) and their outlines, built the slow way;
- ``gradients``: receptive fields by gradient; ``memory_reader``, ``array_scene``: pixels without a file;
- ``training_toys``: trainings of seconds; ``commands``: the command as a process, scripts as modules;
- ``surroundings``: what a test lacks, which fails it in CI;
- ``system_python``: QGIS and GDAL's validators, with ``qgis_probe`` and ``qgis_checker`` for them.
"""
