"""FLASK."""
