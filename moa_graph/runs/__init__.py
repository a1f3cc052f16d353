"""Stored runs: their database, records, live events and budgets."""
