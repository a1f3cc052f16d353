"""Exact scorers: right or wrong, without a model."""
