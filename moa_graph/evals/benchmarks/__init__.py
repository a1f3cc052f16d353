"""Benchmarks of `moa eval`."""
