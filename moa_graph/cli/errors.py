"""Errors of the command line."""

from collections.abc import Iterator
from contextlib import contextmanager

from moa_graph.errors import MoAError

EXIT_FAILED = 1
EXIT_BUDGET_EXHAUSTED = 3  # `--max-cost` stopped the work
EXIT_INTERRUPTED = 130


class CommandError(MoAError):
    """A failure that its message explains completely."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def requires_extra(extra: str) -> Iterator[None]:
    """Import the packages of an extra in this block.

    Raises:
        CommandError: If a package is missing.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package == "moa_graph":
            raise
        message = f"{package} is not installed; pip install 'moa_graph[{extra}]'"
        raise CommandError(message) from None
