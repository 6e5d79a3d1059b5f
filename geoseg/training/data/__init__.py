"""Labeled scenes and the chips that are cut from them.

``scenes`` has the interface of a labeled scene, ``file_scene`` reads one from files through ``cache``;
``holdout`` says which blocks validate, ``index`` where each class lies. ``chips`` cuts chips with
``augment``, ``loader`` cuts batches ahead of the training. Uses grid and io. Begin with ``scenes``, then
``chips``.
"""
