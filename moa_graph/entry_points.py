"""Load the entry points of installed packages."""

from importlib.metadata import EntryPoint
from typing import Any


def load_entry_point(point: EntryPoint, expected_type: type[Any]) -> Any:
    """Load an entry point: an instance of a type, whose `name` equals the name of the entry point.

    Raises:
        ValueError: If it cannot be loaded, or is not such an instance.
    """
    location = f"{expected_type.__name__.lower()} {point.name!r} ({point.value})"
    try:
        added = point.load()
    except Exception as error:
        raise ValueError(f"{location} cannot be loaded: {type(error).__name__}: {error}") from error
    if isinstance(added, expected_type) and added.name == point.name:
        return added
    description = f"name={added.name!r}" if isinstance(added, expected_type) else repr(added)
    raise ValueError(
        f"{location}: expected an instance of {expected_type.__name__} whose `name` is "
        f"{point.name!r}, got {description}"
    )
