"""The version of the package, for modules that `moa_graph` itself imports."""

__version__ = "0.2.0"
