"""Prompt layout, token estimates and parsing of answers."""
