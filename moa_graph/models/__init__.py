"""Models of a mixture: agents, providers, prices."""
