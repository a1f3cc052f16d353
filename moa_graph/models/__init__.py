"""The models that a mixture calls: agents, providers, prices."""
