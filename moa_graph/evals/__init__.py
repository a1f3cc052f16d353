"""Measuring a mixture: benchmarks, judges, scores, and what they cost."""
