"""Styles and projects that QGIS opens."""
