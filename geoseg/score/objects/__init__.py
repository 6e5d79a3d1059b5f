"""Measures of polygons: which mapped object matches which of the reference, and how well it is drawn.

``matching`` pairs objects, ``shapes`` measures pairs (IoU, PoLiS, angles), ``tally`` keeps the objects of a
class and takes precision, recall and average precision of them. Uses pixels for calibration and grid. Begin
with :mod:`geoseg.score.objects.matching`.
"""
