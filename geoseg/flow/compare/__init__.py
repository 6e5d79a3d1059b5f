"""Map the same labeled scenes with several models, and compare their scores, size and speed.

``compare`` maps by ``run`` and scores by ``evaluate``; ``throughput`` keeps how fast each model mapped.
Begin with :func:`geoseg.flow.compare.compare.evaluate_models`.
"""
