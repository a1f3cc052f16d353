"""The command `moa`."""

import logging
import os
import sys

from moa_graph.cli.umask import private_umask


def main() -> None:
    """Run the command; every failure is one line on standard error."""
    try:
        _run_app()
    except BrokenPipeError:  # the reader of the pipe has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("moa: interrupted\n")
        sys.exit(130)
    except Exception as error:  # noqa: BLE001  # whatever it is, no traceback
        sys.exit(_report_error(error))


def _run_app() -> None:
    from moa_graph.cli.standard_streams import prepare_standard_streams

    prepare_standard_streams()
    try:
        from moa_graph.cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("moa_graph"):
            raise
        sys.exit(f"moa: {error.name} is not installed; pip install 'moa_graph[cli]'")
    logging.getLogger().addHandler(logging.NullHandler())  # not for users
    with private_umask():
        sys.exit(app(standalone_mode=False))


def _report_error(error: Exception) -> int:
    """Print the error in one line, and return the exit code."""
    from moa_graph.cli.errors import EXIT_FAILED, CommandError
    from moa_graph.cli.terminal.plain_text import print_warning
    from moa_graph.redaction import redact, redacted_message

    exit_code = int(getattr(error, "exit_code", EXIT_FAILED))
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{error}\n")
        return exit_code
    if hasattr(error, "format_message"):  # usage errors of typer
        told = error.format_message().replace(": Value error, ", ": ", 1)  # pydantic's prefix
        message = f"{told}{_hint_at_usage(error)}"
    elif isinstance(error, (CommandError, ValueError, ImportError)):
        message = redact(str(error))
    else:
        message = redacted_message(error)
    print_warning(f"moa: {' '.join(message.split())}")
    return exit_code


def _hint_at_usage(error: Exception) -> str:
    """Return a hint for a missing value, or a question that the command has misparsed."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "MissingParameter" and context is not None:
        return f" See: {context.command_path} --help"
    if getattr(context, "info_name", None) != "ask":
        return ""
    if type(error).__name__ == "NoSuchOption" and not getattr(error, "possibilities", None):
        return "; put a question that begins with - after --: moa ask -- '-v ...'"
    if "unexpected extra argument" in str(error):
        return "; put a question of several words in quotes: moa ask 'Why is ...?'"
    return ""
