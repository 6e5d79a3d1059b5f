"""Weights in safetensors and in foreign files."""
