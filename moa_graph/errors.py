"""The base of the package's own exceptions."""

from typing import ClassVar


class MoAError(Exception):
    """Base of all exceptions that `moa_graph` defines.

    Many also derive from a built-in exception, such as `ValueError`. One that a failed model
    caused also has the type of that failure, and the failure as its `__cause__`.
    """

    cause_types: ClassVar[tuple[type[Exception], ...]] = ()
    """The types that it takes from its causes."""

    def __str__(self) -> str:
        """Give its own text, whatever a type that it takes on would say."""
        return Exception.__str__(self)
