"""Generated scenes with exact truth, for the demonstration, the tests and the benchmarks."""
