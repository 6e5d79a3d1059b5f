"""What files contain, as checked values: nothing here opens a file.

``workflow`` and ``vectorize`` are the keys of a workflow, ``training`` those of a training file, ``model``
the contract of a bundle, ``model_card`` the description of weights from elsewhere, ``stac`` what an item
offers, ``band_names`` what bands are called. Every section derives from ``section.Section``; ``fields``,
``units`` and ``layer_name`` are the types of their values, and ``mistakes`` turns what pydantic found into
sentences with the key. It may use ``grid`` alone. Begin with :mod:`geoseg.config.workflow`, where each key
has its default; :mod:`geoseg.io.yaml` reads the files.
"""
