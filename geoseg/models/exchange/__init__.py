"""Bundles in and out: bare weights to a bundle, a bundle to ONNX or ``torch.export``, and its check.

One module per command of ``geoseg models``: ``import_weights``, ``export``, ``verify``. The packages of the
extra ``export`` are imported when something is exported.
"""
