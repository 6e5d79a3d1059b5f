"""YAML files that a person writes, to checked values with the line of every mistake.

``strict_yaml`` reads and writes text (YAML 1.2, no tags, bounded); ``config_file`` makes a validated
section of any file and of ``--set``; ``files`` loads workflows, trainings and model cards and resolves
their paths. What the keys mean is in :mod:`geoseg.config`. Begin with ``files``.
"""
