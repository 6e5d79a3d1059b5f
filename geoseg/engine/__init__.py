"""One scene: plan, predict its window rows, assemble its map; executors that move these tasks."""
