"""Map every scene of a workflow: prepare, plan, execute, write outputs, score.

:mod:`~geoseg.flow.run.run` tells the story in this order and is where to begin. ``prepare`` finds every
mistake that can be found before any work, ``driver`` keeps the books on tasks and scenes, ``outputs``
writes what lies beside the scenes, where ``join`` makes one object of pieces on the edges of scenes;
``events`` are what a run reports. The work on one scene is
:mod:`geoseg.engine`'s.
"""
