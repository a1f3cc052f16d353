"""Deprecated commands and options, accepted until 0.3 and hidden from help texts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typer

from moa_graph.cli.help_text import HelpGroup

COMMANDS = {"eval plan": "eval estimate"}
"""New names of commands by old name."""
FLAGS = {
    "fork": {"--at": "--from"},
    "batch": {"--strict": "--validate-first"},
    "eval judge": {"--own-prompt": "--builtin-prompt"},
}
"""By command: new options by old option."""
FLAGS_OF_ARGUMENTS = {"draw": {"--thread": "THREAD", "-t": "THREAD"}}
"""By command: arguments by the option that they replace."""
_NO_NAMES: Mapping[str, str] = {}


class CommandGroup(HelpGroup):
    """A group of commands that also accepts their old spellings."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command for the first word."""
        group = ctx.info_name if ctx.parent else None
        return super().resolve_command(
            ctx, _translate_words(group, args, warn=not ctx.resilient_parsing)
        )


def _translate_words(group: str | None, words: Sequence[str], *, warn: bool) -> list[str]:
    """Return the words of a command in the present spelling.

    Args:
        group: The group of the command, if it is not `moa` itself.
        words: The command and its options.
        warn: Whether to print the new spelling on standard error.
    """
    prefix = f"{group} " if group else ""
    command = f"{prefix}{words[0]}"
    if new_command := COMMANDS.get(command):
        _print_notice(command, new_command, warn=warn)
        command = new_command
    return [command.removeprefix(prefix), *_translate_options(command, words[1:], warn=warn)]


def _translate_options(command: str, words: Sequence[str], *, warn: bool) -> Iterator[str]:
    flags, arguments = FLAGS.get(command, _NO_NAMES), FLAGS_OF_ARGUMENTS.get(command, _NO_NAMES)
    end = list(words).index("--") if "--" in words else len(words)
    for index, word in enumerate(words):
        option, is_joined, value = _split_option(word)
        if index >= end or option not in {*flags, *arguments}:
            yield word
        elif new_option := flags.get(option):
            _print_notice(option, new_option, warn=warn)
            yield f"{new_option}{is_joined}{value}"
        elif is_joined:
            _print_notice(option, arguments[option], warn=warn)
            yield value
        elif index + 1 < end:  # the next word is the argument
            _print_notice(option, arguments[option], warn=warn)
        else:
            yield word


def _split_option(word: str) -> tuple[str, str, str]:
    """Split `--option=value` and `-ovalue`."""
    if word.startswith("-") and not word.startswith("--"):
        return word[:2], word[2:] and "=", word[2:]
    return word.partition("=")


def _print_notice(old: str, new: str, *, warn: bool) -> None:
    if warn:
        typer.echo(f"moa: {old} is deprecated; use {new}", err=True)
