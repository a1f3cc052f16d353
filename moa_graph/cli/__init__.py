"""The command `moa`."""

import logging
import os
import sys

from moa_graph.cli.umask import private_umask


def main() -> None:
    """Run the command; every failure is one line on standard error."""
    try:
        _run_app()
    except BrokenPipeError:  # whoever read our output has gone; nothing is left to say
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
    logging.getLogger().addHandler(logging.NullHandler())  # libraries' warnings are not for people
    with private_umask():
        sys.exit(app(standalone_mode=False))


def _report_error(error: Exception) -> int:
    """Say what went wrong in one line, and give the exit code."""
    from moa_graph.cli.errors import EXIT_FAILED, CommandError
    from moa_graph.cli.terminal.plain_text import print_warning
    from moa_graph.redaction import redact, redacted_message

    exit_code = int(getattr(error, "exit_code", EXIT_FAILED))
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{error}\n")
        return exit_code
    if hasattr(error, "format_message"):  # typer's own, about the words of the command
        message = f"{error.format_message()}{_hint_at_question(error)}"
    elif isinstance(error, (CommandError, ValueError, ImportError)):
        message = redact(str(error))
    else:
        message = redacted_message(error)
    print_warning(f"moa: {' '.join(message.split())}")
    return exit_code


def _hint_at_question(error: Exception) -> str:
    """Say how to write a question that the shell or the command has taken for something else."""
    context = getattr(error, "ctx", None)
    if getattr(context, "info_name", None) != "ask":
        return ""
    if type(error).__name__ == "NoSuchOption" and not getattr(error, "possibilities", None):
        return "; a question that begins with - stands behind --: moa ask -- '-v ...'"
    if "unexpected extra argument" in str(error):
        return "; a question of several words stands in quotes: moa ask 'Why is ...?'"
    return ""
