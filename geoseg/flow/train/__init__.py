"""Train a network from a training file."""
