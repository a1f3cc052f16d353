"""One run as an HTML page."""
