"""One scene: plan it, predict its window rows, assemble its map; and the executors that run these tasks.

Each task is a function of one small value (a plan and its window rows, or its partial results) that leaves
files on disk and returns a manifest, so that it runs in this process, in others or on a cluster with the
same bits. The room may use models, io, polygons, score, config and grid; it reads no workflow file and
knows no other scene.

Begin with :mod:`geoseg.engine.plan`, then :mod:`~geoseg.engine.tasks`: what predicts and assembles.
Memory and disk are bounded in ``tiles`` and ``bounds``; ``partials`` and ``finished`` say what can be
resumed and reused.
"""
