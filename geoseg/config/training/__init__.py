"""What a training file says: data, chips, loss, presets, procedure."""
