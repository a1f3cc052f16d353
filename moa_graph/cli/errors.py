"""What goes wrong at the command line."""

from moa_graph.errors import MoAError

EXIT_FAILED = 1
EXIT_BUDGET_EXHAUSTED = 3  # `--max-cost` left work undone
EXIT_INTERRUPTED = 130


class CommandError(MoAError):
    """A failure that its text explains in full."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
