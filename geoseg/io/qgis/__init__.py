"""Styles and projects that QGIS 3.22 and later open, written without QGIS.

``style`` makes the QML of polygons, classes and probabilities; ``scales`` changes such a style with
distance; ``project`` packs layers and styles into ``run.qgz``. Tests open them in the real QGIS
(``tests/qgis``). Begin with ``style``.
"""
