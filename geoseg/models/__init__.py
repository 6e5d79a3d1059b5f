"""Networks, the bundles that hold their weights and contract, and prediction with them.

A bundle (``bundle``) names a network of ``networks`` and its weights; ``saving`` writes one, with a graph
(``graph``) that agrees with torch (``agreement``); ``predictor`` computes logits of windows with it, and
measures the halo that it needs; ``runtime`` fixes device, precision and threads.
``cost`` counts memory and operations, ``zoo`` lists all networks, ``papers`` holds them against their
papers' tables, and ``exchange`` imports, exports and verifies bundles. Uses torch; files are opened by
``geoseg.io`` alone. Begin with ``bundle``, then ``predictor``.
"""
