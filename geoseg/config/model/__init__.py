"""The contract of a model bundle, and the metadata formats that carry it.

``contract`` has the values (bands, scaling, classes, halo, sources, calibration);
``mlm`` writes them as a STAC item with the machine learning model extension and reads them back;
``deepness`` writes the keys of a QGIS plugin. Begin with ``contract``.
"""
