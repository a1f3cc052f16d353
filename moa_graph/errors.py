"""`MoAError`, the base class of the package's exceptions."""

from typing import ClassVar


class MoAError(Exception):
    """Base class of all exceptions that `moa_graph` defines.

    Many also derive from a built-in exception, such as `ValueError`. An exception caused by a
    failed model also has the type of that failure, which is its `__cause__`.
    """

    cause_types: ClassVar[tuple[type[Exception], ...]] = ()
    """Exception types of the causes."""

    def __str__(self) -> str:
        """Return the message of this error; the type of a cause may define another `__str__`."""
        return Exception.__str__(self)
