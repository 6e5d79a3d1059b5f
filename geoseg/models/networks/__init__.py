"""Segmentation networks: one module per family, all of them torch modules that know their receptive field.

``network`` has their interface, ``registry`` builds them by name with checked arguments. ``encoders`` is
shared by ``dualaspp`` and ``liteunet``; ``receptive_field`` follows the operators of networks written
elsewhere (``smp``). Uses torch and pydantic, no file. Begin with ``network``.
"""
