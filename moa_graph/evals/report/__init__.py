"""A comparison of systems as an HTML page with figures."""
