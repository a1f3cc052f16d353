"""Measure a mixture: the paper's benchmarks and analyses."""
