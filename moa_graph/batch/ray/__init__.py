"""A batch that is spread over a Ray cluster."""
