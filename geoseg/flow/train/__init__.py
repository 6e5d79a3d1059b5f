"""``geoseg train``: a training file to a bundle.

``train`` tells the story: ``prepare`` (all that can be checked before any work), ``data`` (scenes and
labels), the loop of ``geoseg.training``, ``contract`` (the bundle's contract, halo and scores), ``figures``.
``initial_weights`` makes the network that the training begins with. Begin with ``train``.
"""
