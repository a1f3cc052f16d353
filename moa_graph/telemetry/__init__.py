"""Telemetry of runs: traces and metrics."""
