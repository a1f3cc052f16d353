"""Mixtures as data: TOML files, presets, and graphs for LangGraph's server."""
