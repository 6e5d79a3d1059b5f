"""What computes a network: torch, OpenVINO or onnxruntime, each behind one interface.

A backend takes scaled images and gives logits; :mod:`geoseg.models.predictor` scales and pads for all of
them. The libraries are imported when a backend is opened.
"""
