"""The command `moa`."""

import sys


def main() -> None:
    """Run the command; every failure is one line on standard error."""
    try:
        from moa_graph.cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("moa_graph"):
            raise
        sys.exit(f"moa: {error.name} is not installed; pip install 'moa_graph[cli]'")
    try:
        sys.exit(app(standalone_mode=False))
    except Exception as error:  # noqa: BLE001  # whatever it is, no traceback
        sys.exit(_report(error))


def _report(error: Exception) -> int:
    """Say what went wrong in one line, and give the exit code."""
    from moa_graph.cli.errors import FAILED, CommandError

    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{error}\n")
        return int(getattr(error, "exit_code", FAILED))
    if hasattr(error, "format_message"):  # typer's own, about the words of the command
        message = error.format_message()
    elif isinstance(error, (CommandError, ValueError, ImportError)):
        message = str(error)
    else:
        message = f"{type(error).__name__}: {error}"
    sys.stderr.write(f"moa: {' '.join(message.split())}\n")
    return int(getattr(error, "exit_code", FAILED))
