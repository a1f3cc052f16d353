"""A mixture as data: TOML files, presets, and deployment on a LangGraph server."""
