"""What a network takes, counted without allocating it: memory per pixel, and operations.

Plans size their windows and workers by ``memory``; ``operations`` also has the counting rules of the
papers. Uses the networks of ``geoseg.models.networks``.
"""
