"""How good a map is: arithmetic on arrays, without files.

``pixels`` and ``objects`` count and measure blocks of pixels and pairs of polygons; ``tally`` keeps what
was counted of a scene, per square cell of ground; ``bootstrap`` draws intervals from those cells;
``report`` makes reports and comparisons of them, as values and as tables of text.

Every measure is a function of sums, so that blocks and scenes add up to the whole bit for bit. Uses grid
and the modules below it. Begin with :mod:`geoseg.score.tally`, then :mod:`geoseg.score.report.report`.
"""
