"""Benchmarks with exact answers, scored without a judge."""
