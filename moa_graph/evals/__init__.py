"""Evaluation of mixtures: benchmarks, judges, scores and costs."""
