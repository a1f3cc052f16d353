"""The base of the package's own exceptions."""


class MoAError(Exception):
    """Base of all exceptions that `moa_graph` defines.

    Many also derive from a built-in exception, such as `ValueError` or `RuntimeError`.
    """
